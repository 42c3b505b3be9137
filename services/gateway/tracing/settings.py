"""Where spans go, and which requests are kept."""

from dataclasses import dataclass

from services.common.settings import setting

PROTOCOLS = ("http", "grpc")


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Settings of OpenTelemetry's traces."""

    otlp_endpoint: str = setting(
        "",
        "OpenTelemetry collector of traces, as in http://127.0.0.1:4318/v1/traces, or HOST:PORT with "
        "--trace-protocol grpc; none: no traces",
    )
    protocol: str = setting("http", "how traces are sent", choices=PROTOCOLS)
    share: float = setting(
        0.01, "share of the requests without fault that are kept, from 0 to 1", least=0, most=1
    )
    slow_ms: float = setting(
        3_000.0,
        "a request that takes longer is always kept, as is every one that fails or is retried",
        least=0,
    )
