"""Credentials of gRPC and of lanes, from certificate files."""

import logging
import ssl
from collections.abc import Callable
from typing import Any

import grpc

from services.common.credentials import Security
from services.common.credentials.pem_files import read_pem, signature
from services.common.errors import BadSetting

_log = logging.getLogger("pdmesh.rpc")


def channel_credentials(security: Security) -> grpc.ChannelCredentials:
    """For a channel to a process of the mesh; raises `BadSetting`."""
    key = read_pem(security.tls_key, "mesh-tls-key") if security.tls_key else None
    chain = read_pem(security.tls_cert, "mesh-tls-cert") if security.tls_cert else None
    return grpc.ssl_channel_credentials(read_pem(security.tls_ca, "mesh-tls-ca"), key, chain)


def server_credentials(security: Security) -> grpc.ServerCredentials:
    """For a port; a replaced certificate holds from the next connection on. Raises `BadSetting`."""
    renewal = _Renewal(security, _configuration)  # before the files are read, so that no change is missed
    return grpc.dynamic_ssl_server_credentials(
        _configuration(security), renewal, require_client_authentication=security.demands_certs
    )


def _configuration(security: Security) -> Any:
    pair = (read_pem(security.tls_key, "mesh-tls-key"), read_pem(security.tls_cert, "mesh-tls-cert"))
    ca = read_pem(security.tls_ca, "mesh-tls-ca") if security.demands_certs else None
    return grpc.ssl_server_certificate_configuration([pair], ca)


class _Renewal:
    """Called before every handshake; by gRPC on a thread of its own."""

    def __init__(self, security: Security, make: Callable[[Security], Any]) -> None:
        self._security, self._make = security, make
        self._seen = self._signature()

    def __call__(self) -> Any:
        """What is made of the files' new content; None while they are what they were, or are broken."""
        try:
            now = self._signature()
            if now == self._seen:
                return None
            self._seen = now
            return self._make(self._security)
        except (OSError, BadSetting) as error:
            _log.error("certificate NOT renewed, the old one stays in use: %s", error)
            return None

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        return signature(self._security.tls_cert, self._security.tls_key, self._security.tls_ca)


def client_context(security: Security) -> ssl.SSLContext | None:
    """For a connection to a process of the mesh; None without a CA. Raises `BadSetting`."""
    if not security.tls_ca:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, security, shows=bool(security.tls_cert), demands=True)
    return context


def server_context(security: Security) -> ssl.SSLContext | None:
    """For a port; None without a certificate. A replaced one holds from the next connection on.

    Raises `BadSetting`.
    """
    if not security.tls_cert:
        return None
    renewal = _Renewal(security, _server_context)  # before the files are read, so that no change is missed
    first = current = _server_context(security)

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        nonlocal current
        current = renewal() or current
        connection.context = current

    first.sni_callback = choose
    return first


def check_certificates(security: Security) -> None:
    """Read and match all of them, for a process that is not to start yet; raises `BadSetting`."""
    client_context(security)
    server_context(security)


def _server_context(security: Security) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, security, shows=True, demands=security.demands_certs)
    if security.demands_certs:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _load(context: ssl.SSLContext, security: Security, *, shows: bool, demands: bool) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if shows:
            read_pem(security.tls_key, "mesh-tls-key")  # tells which file is missing; OpenSSL does not
            read_pem(security.tls_cert, "mesh-tls-cert")
            context.load_cert_chain(security.tls_cert, security.tls_key)
        if demands:
            context.load_verify_locations(cadata=read_pem(security.tls_ca, "mesh-tls-ca").decode())
    except ssl.SSLError as error:
        raise BadSetting(f"--mesh-tls-cert, --mesh-tls-key, --mesh-tls-ca: {error.reason or error}") from None
