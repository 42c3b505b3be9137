"""Tenants: who calls, by which credential, and what they may do."""

from services.gateway.tenants.caller import ANONYMOUS, UNLIMITED, Caller, TenantQuota

__all__ = ["ANONYMOUS", "UNLIMITED", "Caller", "TenantQuota"]
