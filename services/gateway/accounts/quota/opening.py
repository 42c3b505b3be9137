"""Putting the quotas of one gateway together."""

import uuid
from random import Random

from prometheus_client import CollectorRegistry

from services.common.clock import Clock
from services.gateway.accounts.quota.accounts import LEASE_MS, Accounts
from services.gateway.accounts.quota.metrics import QuotaMetrics
from services.gateway.accounts.quota.quotas import Quotas
from services.gateway.accounts.quota.reconciler import Reconciler

STORE_TIMEOUT_S = 0.5
"""For each round. What is held stays usable meanwhile, and `accounts.FENCE_MS` is longer."""
CONNECTIONS_MAX = 2


def open_quotas(
    store: str, gateway_id: str, clock: Clock, registry: CollectorRegistry, *, fails_closed: bool = False
) -> Quotas:
    """Quotas, to be run and closed; shared through the Redis at `store`, this gateway's alone without one.

    A Redis that does not answer is no error, only an address that is none: `StoreUnavailable`.
    """
    metrics = QuotaMetrics(registry)
    metrics.store_up.set(1)
    if not store:
        return Quotas(Accounts(share=1.0), metrics, clock)
    from services.common.store.budgets import Budgets
    from services.common.store.client import RedisClient  # 100 ms of imports that one host does not need

    client = RedisClient(store, timeout_s=STORE_TIMEOUT_S, connections_max=CONNECTIONS_MAX)
    accounts = Accounts(share=None)
    # Two gateways of one name would take each other's leases, and a new one its predecessor's.
    own_id = f"{gateway_id}:{uuid.uuid4().hex[:8]}"
    reconciler = Reconciler(own_id, accounts, Budgets(client, LEASE_MS), metrics, clock, Random())
    return Quotas(accounts, metrics, clock, reconciler, fails_closed=fails_closed)
