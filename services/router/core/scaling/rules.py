"""What the scaling of one tier can be told."""

from dataclasses import dataclass, field, fields

from services.router.core.scaling.cron import Cron


@dataclass(frozen=True, slots=True)
class Floor:
    """At least so many workers in the minutes that match."""

    replicas: int
    when: Cron

    @classmethod
    def parse(cls, text: str) -> "Floor":
        """From `4 @ * 8-17 * * mon-fri`; raises ValueError."""
        number, found, when = text.partition("@")
        if not found or not number.strip().isdecimal():
            raise ValueError(f"'{text}' is not REPLICAS @ MINUTE HOUR DAY MONTH WEEKDAY")
        return cls(int(number), Cron.parse(when))


@dataclass(frozen=True, slots=True)
class TierRules:
    """One tier's bounds, targets and patience. Raises ValueError for what makes no sense."""

    replicas_min: int = 1
    replicas_max: int = 64
    spares: int = 0
    """Workers beyond those wanted that are loaded and get no work."""
    target_wait_ms: float = 500.0
    """A request should wait for this tier no longer."""
    target_occupancy: float = 0.8
    """Share of a worker's decode seats, or of its prefill time, that is used when all is well."""
    step_ms_target: float = 0.0
    """A decode step should take no longer; 0 is no matter."""
    tolerance: float = 0.1
    """By this share the need may miss the number of workers on either side before that changes."""
    up_step_max: int = 4
    """Workers added within one `up_interval_ms`; at least as many as there are may always be added."""
    up_interval_ms: float = 15_000.0
    down_step_max: int = 1
    """Workers taken away within one `down_interval_ms`."""
    down_interval_ms: float = 60_000.0
    down_cooldown_ms: float = 300_000.0
    """Nothing is taken away that was needed within this time."""
    cold_start_ms: float = 60_000.0
    """From asking for a worker to having it; where a number is measured, that counts."""
    rate_window_ms: float = 5_000.0
    """Arrivals are averaged over this time, and over ten times as long to tell a trend from noise."""
    forecast_ms_max: float = 120_000.0
    """A trend is followed no further into the future, however long a cold start takes."""
    floors: tuple[Floor, ...] = field(default=())

    def __post_init__(self) -> None:
        if not 0 <= self.replicas_min <= self.replicas_max:
            raise ValueError(f"{self.replicas_min} to {self.replicas_max} is no range of replicas")
        if not 0.0 < self.target_occupancy <= 1.0 or not 0.0 <= self.tolerance < 1.0:
            raise ValueError("a target occupancy is above 0 and up to 1, a tolerance from 0 and below 1")
        for name in ("target_wait_ms", "rate_window_ms", "up_step_max", "down_step_max"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is above 0 and finite")
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not 0 <= value < float("inf"):
                raise ValueError(f"{each.name} is from 0 and finite")


@dataclass(frozen=True, slots=True)
class ScalingConfig:
    """Scaling of all pools."""

    prefill: TierRules = field(default_factory=TierRules)
    decode: TierRules = field(default_factory=TierRules)
    acts: bool = False
    """Whether spares are activated, surplus workers drained and roles flipped, or it is only told what should
    be."""
    rebalances: bool = True
    """Whether, when it acts, an idle tier's worker may change over to a starving tier."""
    interval_ms: float = 500.0
    """Time between two decisions."""
    starve_ms: float = 5_000.0
    """A tier that has lacked workers for this long starves; one that has had too many for this long idles."""
    unix_ms_at_zero: float = 0.0
    """Unix time when the core's clock was zero, for floors."""
