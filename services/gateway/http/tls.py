"""TLS of the REST API."""

import asyncio
import logging
import ssl

from services.common.credentials import TlsSettings
from services.common.credentials.pem_files import signature
from services.common.errors import BadSetting

INTERVAL_S = 1.0
"""How often the certificate's files are looked at."""

_log = logging.getLogger("pdmesh.tls")


class Tls:
    """The REST API's TLS; `run` has a replaced certificate used from the next connection on."""

    def __init__(self, settings: TlsSettings, interval_s: float = INTERVAL_S) -> None:
        """Raises `BadSetting`."""
        self._settings, self._interval_s = settings, interval_s
        self._trouble = ""
        self.context: ssl.SSLContext | None = None
        """For the listener; None is plain text."""
        if settings.cert:
            self._seen = self._signature()
            self.context = _context(settings)

    async def run(self) -> None:
        """Follow the files until cancelled; returns at once without TLS."""
        while self.context is not None:
            await asyncio.sleep(self._interval_s)
            trouble = ""
            try:
                self._renew(self.context)
            except (OSError, BadSetting) as error:
                trouble = str(error)
            if trouble and trouble != self._trouble:  # once per trouble, not once per look
                _log.error("certificate NOT renewed, the old one stays in use: %s", trouble)
            self._trouble = trouble

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
