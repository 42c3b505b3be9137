"""Prometheus metrics of quotas."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ROUND_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class QuotaMetrics:
    """What quotas did."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refusals = Counter(
            "pdmesh_gateway_quota_refusals",
            "Requests refused for their tenant's quota: tokens, requests, concurrent, budget_day, "
            "budget_month, size, or store when it was away",
            ["limit"],
            registry=registry,
        )
        self._warnings = Counter(
            "pdmesh_gateway_budget_warnings",
            "Times that a tenant has spent most of its budget for a day or a month",
            ["period"],
            registry=registry,
        )
        self.store_up = Gauge(
            "pdmesh_gateway_quota_store_up",
            "1 while quotas are shared with other gateways, 0 while the store is away; 1 where there is none",
            registry=registry,
        )
        self.round_seconds = Histogram(
            "pdmesh_gateway_quota_round_seconds",
            "Round trip to the store for leases",
            buckets=ROUND_S,
            registry=registry,
        )
        self.accounts = Gauge(
            "pdmesh_gateway_quota_accounts", "Tenants with a quota in memory", registry=registry
        )

    def warned(self, period: str) -> None:
        """Count one warning."""
        self._warnings.labels(period).inc()

    def refused(self, limit: str) -> None:
        """Count one refusal."""
        self._refusals.labels(limit).inc()
