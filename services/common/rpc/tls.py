"""gRPC's credentials, from certificate files."""

import logging
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
    renewal = _Renewal(security)  # before the files are read, so that no change is missed
    return grpc.dynamic_ssl_server_credentials(
        _configuration(security), renewal, require_client_authentication=security.demands_certs
    )


def _configuration(security: Security) -> Any:
    pair = (read_pem(security.tls_key, "mesh-tls-key"), read_pem(security.tls_cert, "mesh-tls-cert"))
    ca = read_pem(security.tls_ca, "mesh-tls-ca") if security.demands_certs else None
    return grpc.ssl_server_certificate_configuration([pair], ca)


class _Renewal:
    """Called by gRPC before every handshake, on a thread of its own."""

    def __init__(self, security: Security) -> None:
        self._security = security
        self._seen = self._signature()

    def __call__(self) -> Any:
        """The new configuration; None while the files are what they were, or are broken."""
        try:
            now = self._signature()
            if now == self._seen:
                return None
            self._seen = now
            return _configuration(self._security)
        except (OSError, BadSetting) as error:
            _log.error("certificate NOT renewed, the old one stays in use: %s", error)
            return None

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        return signature(self._security.tls_cert, self._security.tls_key, self._security.tls_ca)
