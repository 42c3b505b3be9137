"""What a worker says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum

from services.common.domain.embedding import EmbeddingModel


class Role(IntEnum):
    """What a worker does in the life of a request."""

    PREFILL = 1
    DECODE = 2
    BOTH = 3

    def can_prefill_for_others(self) -> bool:
        """Whether it offers handoffs."""
        return self is not Role.DECODE

    def can_decode(self) -> bool:
        """Whether it generates (and can prefill for itself)."""
        return self is not Role.PREFILL


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must agree between two workers that hand KV over."""

    model: str
    model_digest: str
    """Digest of the model's config, so that two builds of one name differ."""
    dtype: str
    kv_dtype: str
    block_size_tokens: int
    tensor_parallel_size: int
    engine: str
    engine_version: str
    connector: str
    hardware: str = ""
    """CPU instruction set or GPU architecture, where it shapes the KV layout."""

    def differences(self, other: "Fingerprint") -> list[str]:
        """Each field that differs, as `name: mine != theirs`; empty when the two can hand over."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return [f"{name}: {mine} != {theirs}" for name, mine, theirs in pairs if mine != theirs]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a worker can hold at once."""

    kv_blocks: int
    kv_block_size_bytes: int
    max_running_requests: int
    max_batched_tokens: int
    max_model_len_tokens: int


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a worker holds at the moment."""

    running_requests: int = 0
    waiting_requests: int = 0
    kv_blocks_free: int = 0
    kv_blocks_total: int = 0
    step_ms: float = 0.0
    """Mean engine step of the last report interval."""
    queued_prefill_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker's first words to a router."""

    worker_id: str
    role: Role
    fingerprint: Fingerprint
    capacity: Capacity
    version: str = ""
    address: str = ""
    """Where the worker's own gRPC port listens."""
    handoff_address: str = ""
    """HOST:PORT at which others take this worker's KV over."""
    role_is_fixed: bool = False
    """True: the engine cannot take another role than this one."""
    standby: bool = False
    """True: no work before an operator or the scaler activates it."""
    can_replay: bool = False
    """True: a job's delivered tokens are replayed as generated ones where its sampling tells them from
    the prompt, so that penalties, seeds and guided decoding go on exactly."""
    is_shared: bool = False
    """True: it serves other routers too, and takes no more than it grants."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """LoRA adapters that it runs: name -> digest, so that two that differ under one name are found out."""
    limits_thinking: bool = False
    """True: it keeps a request's `thinking_tokens_max`."""
    vocabulary_size: int = 0
    """Token ids that the model can read lie below it; 0 where that is unknown."""
    embedding_model: EmbeddingModel | None = None
    """Set for a worker that gives vectors and generates nothing. It only ever prefills."""
