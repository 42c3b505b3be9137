"""API keys and secrets: how they are made, kept and compared."""

from services.common.credentials.api_key import KEY_PREFIX, KeyRecord, key_id, new_key

__all__ = ["KEY_PREFIX", "KeyRecord", "key_id", "new_key"]
