"""Tenants: who calls, by which credential, and what they may do."""

from services.gateway.tenants.caller import (
    ANONYMOUS,
    CONTROL_TOKENS,
    PLAIN,
    TAKEN,
    UNLIMITED,
    Caller,
    TenantQuota,
)

__all__ = ["ANONYMOUS", "CONTROL_TOKENS", "PLAIN", "TAKEN", "UNLIMITED", "Caller", "TenantQuota"]
