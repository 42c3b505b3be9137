"""TLS of the public APIs."""

from dataclasses import dataclass

from services.common.credentials.mesh import Security
from services.common.credentials.pem_files import read_pem
from services.common.settings import setting


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
