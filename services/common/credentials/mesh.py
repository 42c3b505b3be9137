"""How the processes of a mesh know each other: certificates, and a secret that all of them share."""

import hmac
from dataclasses import dataclass
from pathlib import Path

from services.common.credentials.pem_files import read_pem
from services.common.errors import BadSetting
from services.common.settings import setting

SECRET_CHARS_MIN = 16
METADATA_KEY = "x-pdmesh-mesh"
"""Where a call carries the secret."""


@dataclass(frozen=True, slots=True)
class Security:
    """What one process needs, to listen and to call. Empty paths are no TLS, no secrets no credential."""

    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_name: str = ""
    demands_certs: bool = False
    secrets: tuple[str, ...] = ()
    """The first is sent, each of them is taken: that is how a secret is changed without a pause."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call between processes carries."""
        return ((METADATA_KEY, self.secrets[0]),) if self.secrets else ()

    def accepts(self, presented: str) -> bool:
        """Whether a caller's secret is one of ours; takes the same time wherever it differs."""
        sent = presented.encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(sent, secret.encode()) for secret in self.secrets]
        return any(matches) or not self.secrets


OPEN = Security()
"""No TLS, and everybody who can reach a port may call."""


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """Settings of `Security`; of the gRPC between gateway, router, workers and operators."""

    tls_cert: str = setting("", "certificate of this process inside the mesh, PEM")
    tls_key: str = setting("", "its private key, PEM")
    tls_ca: str = setting("", "CA of the mesh's certificates, PEM; calls to other processes use TLS then")
    tls_name: str = setting("", "name that their certificates bear; the address's own where not set")
    mtls: bool = setting(False, "demand a certificate of --mesh-tls-ca from every caller")
    secret: str = setting("", "secret that processes show each other; rather by its variable or a file")
    secret_file: str = setting("", "file with that secret; more lines are older ones that are still taken")

    def __post_init__(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("--mesh-tls-cert and --mesh-tls-key belong together")
        if self.mtls and not (self.tls_cert and self.tls_ca):
            raise ValueError("--mesh-mtls needs --mesh-tls-cert, --mesh-tls-key and --mesh-tls-ca")
        if self.secret and self.secret_file:
            raise ValueError("--mesh-secret and --mesh-secret-file: one of them")

    def security(self) -> Security:
        """With the files checked and the secrets read; raises `BadSetting`."""
        for name in ("tls_cert", "tls_key", "tls_ca"):
            if path := getattr(self, name):
                read_pem(path, f"mesh-{name.replace('_', '-')}")
        return Security(self.tls_cert, self.tls_key, self.tls_ca, self.tls_name, self.mtls, self._secrets())

    def _secrets(self) -> tuple[str, ...]:
        source = "--mesh-secret-file" if self.secret_file else "--mesh-secret"
        secrets = tuple(_lines(self.secret_file)) if self.secret_file else (self.secret,) * bool(self.secret)
        if self.secret_file and not secrets:
            raise BadSetting(f"{source}: {self.secret_file} is empty")
        for secret in secrets:
            if len(secret) < SECRET_CHARS_MIN or not (secret.isascii() and secret.isprintable()):
                raise BadSetting(f"{source}: a secret has at least {SECRET_CHARS_MIN} plain characters")
        return secrets


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"--mesh-secret-file: {path}: {getattr(error, 'strerror', 'is no text')}") from None
