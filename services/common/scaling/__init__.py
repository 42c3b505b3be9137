"""What the scaling of one tier can be told, the same for the router and for `pdmesh up`."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from services.common.settings import setting


@dataclass(frozen=True, slots=True)
class TierScaling:
    """Bounds, targets and patience of one tier."""

    replicas_min: int = setting(1, "least workers that serve", least=0)
    replicas_max: int = setting(8, "most workers that serve", least=0)
    spares: int = setting(0, "loaded workers kept beside them without work", least=0)
    target_wait_ms: float = setting(500.0, "a request should wait for a worker no longer", least=1)
    target_occupancy: float = setting(0.8, "share of a worker that is used usually", least=0.05, most=1)
    step_ms_target: float = setting(0.0, "a decode step should take no longer; 0 is no matter", least=0)
    up_step_max: int = setting(4, "workers added within 15 s, or as many as there are", least=1)
    down_step_max: int = setting(1, "workers taken away within the interval below", least=1)
    down_interval_ms: float = setting(60_000.0, "interval of the steps down", least=0)
    down_cooldown_ms: float = setting(300_000.0, "what was needed this lately is not taken away", least=0)
    cold_start_ms: float = setting(60_000.0, "time that a worker takes to come, until measured", least=0)
    rate_window_ms: float = setting(5_000.0, "arrivals are averaged over this time", least=1)
    floor: tuple[str, ...] = setting(
        (), "least workers at certain times, REPLICAS @ MINUTE HOUR DAY MONTH WEEKDAY in UTC; repeatable"
    )

    def flags(self, prefix: str) -> Iterator[str]:
        """The flags that differ from their defaults, for a process that is to be told the same."""
        for field in fields(self):
            value, flag = getattr(self, field.name), f"--{prefix}-{field.name.replace('_', '-')}"
            if value != field.default:
                for each in value if isinstance(value, tuple) else (value,):
                    yield from (flag, str(each))
