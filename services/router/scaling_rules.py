"""The core's scaling rules from the process's settings."""

from collections.abc import Iterable
from datetime import UTC, datetime

from services.common.clock import Clock
from services.common.errors import BadSetting
from services.common.scaling import TierScaling
from services.router.core.scaling.rules import Floor, ScalingConfig, TierRules


def scaling_config(
    prefill: TierScaling,
    decode: TierScaling,
    *,
    acts: bool,
    rebalances: bool,
    interval_ms: float,
    clock: Clock,
) -> ScalingConfig:
    """Rules of both tiers; raises BadSetting."""
    return ScalingConfig(
        prefill=tier_rules(prefill, "prefill"),
        decode=tier_rules(decode, "decode"),
        acts=acts,
        rebalances=rebalances,
        interval_ms=interval_ms,
        unix_ms_at_zero=datetime.now(UTC).timestamp() * 1000.0 - clock.now_ms(),
    )


def tier_rules(settings: TierScaling, tier: str) -> TierRules:
    """One tier's; raises BadSetting."""
    try:
        return TierRules(
            replicas_min=settings.replicas_min,
            replicas_max=settings.replicas_max,
            spares=settings.spares,
            target_wait_ms=settings.target_wait_ms,
            target_occupancy=settings.target_occupancy,
            step_ms_target=settings.step_ms_target,
            up_step_max=settings.up_step_max,
            down_step_max=settings.down_step_max,
            down_interval_ms=settings.down_interval_ms,
            down_cooldown_ms=settings.down_cooldown_ms,
            cold_start_ms=settings.cold_start_ms,
            rate_window_ms=settings.rate_window_ms,
            floors=floors(settings.floor),
        )
    except ValueError as error:
        raise BadSetting(f"{tier}: {error}") from error


def floors(written: Iterable[str]) -> tuple[Floor, ...]:
    """From their texts; raises ValueError."""
    return tuple(Floor.parse(text) for text in written)
