"""What the core can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.limits import DEFAULTS, Limits


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Bounds and policy parameters."""

    limits: Limits = field(default_factory=lambda: DEFAULTS)
    local_prompt_tokens_max: int = 64
    """Prompts up to this many tokens take the local path: a handoff would cost more than it saves."""
    expected_output_tokens: int = 256
    """KV room is reserved for this many generated tokens, or for `max_tokens` when that is less."""
    ageing_ms: int = 5_000
    """Who has waited this long is placed next, whatever its class, tenant or length."""
    unmeasured_overcommit: float = 4.0
    """Until the rate of freed KV blocks is known, so many times the fleet's blocks may be asked for."""
    canary_interval_ms: int = 0
    """Time between two trials of the correctness sentinel; 0 is off."""
    role_dwell_ms_min: int = 60_000
    """A worker keeps a role for this long before it may change it."""
    role_flips_per_hour_max: int = 12
    """Role changes of the whole fleet within an hour."""
    retry_budget_burst: int = 2_000
    """Retries that may be made at once; one large worker's requests should fit."""
    retry_budget_per_request: float = 0.2
    """Retries that each admitted request earns the whole mesh."""
    seed: int = 0
    """Seed of the chance in shedding and sampling."""
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of tenants in the service; 1.0 for those not named."""
    prefill_batches_ahead: int = 2
    """A prefill worker is given up to this many full batches of tokens at once; the rest waits here."""
    prefill_timeout_ms: int = 60_000
    """A prefill job without an offer after this has failed."""
    adoption_grace_ms: int = 2_000
    """A decode worker that has not adopted this long after the ticket's end has lost the handoff."""
    stall_timeout_ms: int = 60_000
    """A worker with jobs that has sent nothing for them for this long is stuck."""
