"""What is measured of tenants and credentials."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The metrics, on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tenants = Gauge("pdmesh_gateway_tenants", "Tenants in force.", registry=registry)
        self.tenants_stale = Gauge(
            "pdmesh_gateway_tenants_stale",
            "1 while the tenants file is broken or away, and older values hold.",
            registry=registry,
        )
        self.refused = Counter(
            "pdmesh_gateway_refused_credentials_total",
            "Requests refused for their credential, by reason.",
            ("reason",),
            registry=registry,
        )
        self.key_set_failures = Counter(
            "pdmesh_gateway_key_set_failures_total",
            "Times that the JWKS document could not be had.",
            registry=registry,
        )
