"""Quotas of tenants: token buckets in process, leased from Redis where several gateways share them.

Each gateway spends only what it holds of a limit. What it holds it leases from the store ahead of demand,
and what it does not need it gives back, in one message every 100 ms. So all gateways together never pass the
limit, and a request is let in or refused without asking anybody; only a tenant's first in a while, and one
larger than what is held, wait for one round trip. Without a store, or while it is away, each has its share.
"""

from services.gateway.accounts.quota.quotas import Quotas
from services.gateway.accounts.quota.refusal import OverLimit
from services.gateway.accounts.quota.reservation import Reservation

__all__ = ["OverLimit", "Quotas", "Reservation"]
