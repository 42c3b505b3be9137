"""TLS of the gateway's public ports."""

import asyncio
import logging
import ssl
from dataclasses import dataclass

from services.common.credentials import Security
from services.common.credentials.pem_files import read_pem, signature
from services.common.errors import BadSetting
from services.common.settings import setting

INTERVAL_S = 1.0
"""How often the certificate's files are looked at."""

_log = logging.getLogger("pdmesh.tls")


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Certificate of the REST API and of the public gRPC API; without one both are plain text."""

    cert: str = setting("", "certificate of the public APIs, PEM with its chain; they are TLS then")
    key: str = setting("", "its private key, PEM")
    client_ca: str = setting("", "CA of clients' certificates, PEM; a client without one is refused then")

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            raise ValueError("--tls-cert and --tls-key belong together")
        if self.client_ca and not self.cert:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")

    def security(self) -> Security:
        """The same for a gRPC port; raises `BadSetting` for files that are not there."""
        for name in ("cert", "key", "client_ca"):
            if path := getattr(self, name):
                read_pem(path, f"tls-{name.replace('_', '-')}")
        return Security(self.cert, self.key, self.client_ca, demands_certs=bool(self.client_ca))


class Tls:
    """The REST API's TLS; `run` has a replaced certificate used from the next connection on."""

    def __init__(self, settings: TlsSettings, interval_s: float = INTERVAL_S) -> None:
        """Raises `BadSetting`."""
        self._settings, self._interval_s = settings, interval_s
        self.context: ssl.SSLContext | None = None
        """For the listener; None is plain text."""
        if settings.cert:
            self._seen = self._signature()
            self.context = _context(settings)

    async def run(self) -> None:
        """Follow the files until cancelled; returns at once without TLS."""
        while self.context is not None:
            await asyncio.sleep(self._interval_s)
            try:
                self._renew(self.context)
            except (OSError, BadSetting) as error:
                _log.error("certificate NOT renewed, the old one stays in use: %s", error)

    def _renew(self, context: ssl.SSLContext) -> None:
        now = self._signature()
        if now == self._seen:
            return
        self._seen = now
        _context(self._settings)  # a pair that does not fit must not reach the live one
        context.load_cert_chain(self._settings.cert, self._settings.key)
        _log.info("certificate renewed from %s", self._settings.cert)

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        try:
            return signature(self._settings.cert, self._settings.key)
        except OSError as error:
            raise BadSetting(f"--tls-cert: {error.filename}: {error.strerror}") from None


def _context(settings: TlsSettings) -> ssl.SSLContext:
    settings.security()  # tells which file is missing; OpenSSL does not
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.cert, settings.key)
        if settings.client_ca:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except ssl.SSLError as error:
        raise BadSetting(f"--tls-cert: {settings.cert} and its key: {error.reason or error}") from None
    return context
