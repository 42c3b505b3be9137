"""What a client of the REST API shows of itself, and whom it trusts."""

import ssl
from dataclasses import dataclass

from services.common.credentials.pem_files import read_pem
from services.common.errors import BadSetting
from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class Access:
    """Settings of a client of the REST API."""

    api_key: str = setting(
        "", "API key or JWT; rather by its variable or a file, for others can see a flag", is_secret=True
    )
    tls_ca: str = setting("", "CA of the API's certificate, PEM; the system's own where not set")
    tls_cert: str = setting("", "certificate to show, PEM, where the API demands one")
    tls_key: str = setting("", "its private key, PEM")

    def __post_init__(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("--tls-cert and --tls-key belong together")

    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def context(self) -> ssl.SSLContext | None:
        """For https://; None is Python's usual one. Raises `BadSetting`."""
        if not (self.tls_ca or self.tls_cert):
            return None
        for name in ("tls_ca", "tls_cert", "tls_key"):
            if path := getattr(self, name):
                read_pem(path, name.replace("_", "-"))
        try:
            context = ssl.create_default_context(cafile=self.tls_ca or None)
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key)
        except ssl.SSLError as error:
            raise BadSetting(f"--tls-cert: {self.tls_cert} and its key: {error.reason or error}") from None
        return context


NOBODY = Access()
"""Shows nothing, and trusts whom the system trusts."""


def unverified() -> ssl.SSLContext:
    """For asking our own child process whether it serves: nothing secret is sent, and nothing believed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
