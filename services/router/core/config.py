"""What the core can be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.limits import DEFAULTS, Limits
from services.router.core.scaling.rules import ScalingConfig


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Bounds and policy parameters."""

    limits: Limits = field(default_factory=lambda: DEFAULTS)
    local_prompt_tokens_max: int = 64
    """Prompts up to this many tokens take the local path: a handoff would cost more than it saves."""
    expected_output_tokens: int = 256
    """KV room is reserved for this many generated tokens at least, or for `max_tokens` when that is less."""
    expected_output_tokens_max: int = 4_096
    """KV room is reserved for this many at most, however long a model's answers have been."""
    ageing_ms: int = 5_000
    """Who has waited this long is placed next, whatever its class, tenant or length."""
    unmeasured_overcommit: float = 4.0
    """Until the rate of freed KV blocks is known, so many times the fleet's blocks may be asked for."""
    canary_interval_ms: int = 0
    """Time between two trials of the correctness sentinel; 0 is off."""
    canary_wait_ms_max: int = 3_000
    """A request waits so long at most for the first canary of a new pair, then it takes another way."""
    canary_handoff_ms_max: int = 10_000
    """A canary's KV must be on its way within this, since nothing of a new pair is known."""
    refused_pair_retry_ms: int = 10_000
    """How long after a canary whose KV could not be handed over the next one is sent."""
    role_dwell_ms_min: int = 60_000
    """A worker keeps a role for this long before it may change it."""
    role_flips_per_hour_max: int = 12
    """Role changes of the whole fleet within an hour."""
    retry_budget_burst: int = 2_000
    """Retries that may be made at once; one large worker's requests should fit."""
    retry_budget_per_request: float = 0.2
    """Retries that each admitted request earns the whole mesh."""
    scaling: ScalingConfig = field(default_factory=ScalingConfig)
    seed: int = 0
    """Seed of the chance in shedding and sampling."""
    model_versions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Weights of the models behind each alias."""
    tenant_weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of tenants in the service; 1.0 for those not named."""
    prefill_batches_ahead: int = 2
    """A prefill worker is given up to this many full batches of tokens at once; the rest waits here."""
    free_blocks_weight: float = 1.0
    """Decode: of the share of KV blocks that are free, against the weights below."""
    step_time_weight: float = 0.25
    """Decode: of a quick engine step."""
    step_time_reference_ms: float = 50.0
    """An engine step that counts for half."""
    decode_cached_weight: float = 0.25
    """Decode, KV to be pulled: of the share of the text that is cached there."""
    local_cached_weight: float = 2.0
    """Decode, text to be run there: the same."""
    prefill_cached_weight: float = 1.0
    """Prefill: of a cached token."""
    queued_weight: float = 1.0
    """Prefill: of a token queued before it."""
    conversation_weight: float = 0.5
    """Of having served the conversation before, for workers that send no KV events."""
    adapter_weight: float = 0.5
    """Of having run the LoRA adapter."""
    prefix_blocks_max: int = 1_000_000
    """KV blocks that the prefix index knows, over all workers; past it the fullest worker's oldest go."""
    conversations_max: int = 100_000
    """Conversations whose last worker is known; past it the longest unseen go."""
    conversation_ttl_ms: int = 1_800_000
    """How long a worker is remembered for a conversation or an adapter."""
    adapters_max: int = 1_024
    """LoRA adapters whose workers are known."""
    learns_threshold: bool = False
    """Whether `local_prompt_tokens_max` is only where the threshold begins, and measured times move it."""
    learning_samples: int = 200
    """Requests that the learnt threshold remembers, roughly."""
    learning_samples_min: int = 20
    """Requests of each kind before it moves."""
    local_interference: float = 1.0
    """What the decode worker's other requests lose while it runs a text, in multiples of its time."""
    learnt_local_tokens_min: int = 16
    """The learnt threshold stays above this."""
    learnt_local_tokens_max: int = 4_096
    """The learnt threshold stays below this."""
    prefill_timeout_ms: int = 60_000
    """A prefill job without an offer after this has failed."""
    replay_ms_per_token: int = 200
    """More patience with a job for each delivered token that it replays before it brings a new one."""
    adoption_grace_ms: int = 2_000
    """A decode worker that has not adopted this long after the ticket's end has lost the handoff."""
    stall_timeout_ms: int = 60_000
    """A worker with jobs that has sent nothing for them for this long is stuck."""
