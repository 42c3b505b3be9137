"""API keys, tokens, the mesh's own secret and certificates: how they are made, kept and compared."""

from services.common.credentials.api_key import KEY_PREFIX, KeyRecord, key_id, new_key
from services.common.credentials.jwt_settings import JwtSettings
from services.common.credentials.mesh import METADATA_KEY, OPEN, MeshSettings, Security
from services.common.credentials.tls_settings import TlsSettings

__all__ = [
    "KEY_PREFIX",
    "METADATA_KEY",
    "OPEN",
    "JwtSettings",
    "KeyRecord",
    "MeshSettings",
    "Security",
    "TlsSettings",
    "key_id",
    "new_key",
]
