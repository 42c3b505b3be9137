"""What the core wants done, in order. The shell does it and decides nothing."""

from array import array
from dataclasses import dataclass

from services.common.domain import (
    EmbeddingModel,
    FinishReason,
    Job,
    Path,
    Receipt,
    Request,
    TokenColumns,
    Want,
)
from services.common.domain.record import record
from services.common.errors import MeshError


@record
class StartJob:
    """Send a job to a worker; `job.stream` is the worker's stream number."""

    session: int
    job: Job


@record
class AbortJob:
    """Tell a worker to end a job."""

    session: int
    stream: int


@record
class ReleaseHandoff:
    """Tell a prefill worker that nobody will adopt an offer."""

    session: int
    handoff_id: str


@dataclass(frozen=True, slots=True)
class SendWant:
    """Tell a worker that serves other routers too what is placed on it and what else would be."""

    session: int
    want: Want


@dataclass(frozen=True, slots=True)
class RefuseWorker:
    """End a worker's session with an error."""

    session: int
    error: MeshError


@record
class SendPlaced:
    """Tell a gateway where a stream runs; before its first token."""

    session: int
    stream: int
    path: Path
    path_reason: str
    prefill_worker: str
    decode_worker: str


@record
class SendTokens:
    """Send a gateway tokens of many streams."""

    session: int
    columns: TokenColumns


@record
class SendTokenEach:
    """Send a gateway one token for each of some streams, without logprobs: what most steps give."""

    session: int
    streams: "array[int]"
    token_ids: "array[int]"


@record
class EndStream:
    """Tell a gateway a stream's only outcome; `error` is set when the reason is ERROR."""

    session: int
    stream: int
    reason: FinishReason
    receipt: Receipt
    error: MeshError | None = None
    vector: "array[float] | None" = None
    """Of a request for one."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model that the fleet serves."""

    name: str
    max_model_len_tokens: int
    prefill_workers: int
    decode_workers: int
    adapters: tuple[str, ...] = ()
    """LoRA adapters with which it is served."""
    embedding_model: EmbeddingModel | None = None
    """Set for a model that gives vectors."""
    limits_thinking: bool = False
    """Whether its workers keep a request's `thinking_tokens_max`."""


@dataclass(frozen=True, slots=True)
class SendModels:
    """Tell a gateway what is served; `session` None means all gateways."""

    session: int | None
    models: tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class RecordPrompt:
    """Keep a request that killed workers, so that somebody can reproduce it."""

    request: Request
    why: str


@record
class ReportPair:
    """Tell the operator that KV cannot be handed over between two workers, and why; or "" once it can."""

    prefill_worker: str
    decode_worker: str
    why: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell operators that something gets no work, or no answers, any more; or does so again."""

    what: str
    """"worker decode-1", "handoffs prefill-1 to decode-1" or "prompt 3f0c... of tenant acme"."""
    is_shut_out: bool
    why: str


Action = (
    StartJob
    | AbortJob
    | ReleaseHandoff
    | SendWant
    | RefuseWorker
    | SendPlaced
    | SendTokens
    | SendTokenEach
    | EndStream
    | SendModels
    | RecordPrompt
    | ReportPair
    | Announce
)
