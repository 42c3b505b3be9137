from pdmesh.types.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_KIND_UNSPECIFIED: _ClassVar[JobKind]
    JOB_KIND_PREFILL: _ClassVar[JobKind]
    JOB_KIND_ADOPT: _ClassVar[JobKind]
    JOB_KIND_LOCAL: _ClassVar[JobKind]
    JOB_KIND_EMBED: _ClassVar[JobKind]

class FailureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_KIND_UNSPECIFIED: _ClassVar[FailureKind]
    FAILURE_KIND_INVALID: _ClassVar[FailureKind]
    FAILURE_KIND_HANDOFF: _ClassVar[FailureKind]
    FAILURE_KIND_ENGINE: _ClassVar[FailureKind]
    FAILURE_KIND_LEAVING: _ClassVar[FailureKind]
    FAILURE_KIND_FULL: _ClassVar[FailureKind]
JOB_KIND_UNSPECIFIED: JobKind
JOB_KIND_PREFILL: JobKind
JOB_KIND_ADOPT: JobKind
JOB_KIND_LOCAL: JobKind
JOB_KIND_EMBED: JobKind
FAILURE_KIND_UNSPECIFIED: FailureKind
FAILURE_KIND_INVALID: FailureKind
FAILURE_KIND_HANDOFF: FailureKind
FAILURE_KIND_ENGINE: FailureKind
FAILURE_KIND_LEAVING: FailureKind
FAILURE_KIND_FULL: FailureKind

class AttachRequest(_message.Message):
    __slots__ = ("sequence", "registration", "offered", "adopted", "tokens", "finished", "failed", "released", "load", "kv_events", "draining", "acknowledged", "grant")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    KV_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    registration: Registration
    offered: _containers.RepeatedCompositeFieldContainer[HandoffOffered]
    adopted: _containers.RepeatedCompositeFieldContainer[HandoffAdopted]
    tokens: _types_pb2.TokenColumns
    finished: _containers.RepeatedCompositeFieldContainer[JobFinished]
    failed: _containers.RepeatedCompositeFieldContainer[JobFailed]
    released: _containers.RepeatedCompositeFieldContainer[HandoffReleased]
    load: LoadReport
    kv_events: KvEvents
    draining: bool
    acknowledged: int
    grant: Grant
    def __init__(self, sequence: _Optional[int] = ..., registration: _Optional[_Union[Registration, _Mapping]] = ..., offered: _Optional[_Iterable[_Union[HandoffOffered, _Mapping]]] = ..., adopted: _Optional[_Iterable[_Union[HandoffAdopted, _Mapping]]] = ..., tokens: _Optional[_Union[_types_pb2.TokenColumns, _Mapping]] = ..., finished: _Optional[_Iterable[_Union[JobFinished, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[JobFailed, _Mapping]]] = ..., released: _Optional[_Iterable[_Union[HandoffReleased, _Mapping]]] = ..., load: _Optional[_Union[LoadReport, _Mapping]] = ..., kv_events: _Optional[_Union[KvEvents, _Mapping]] = ..., draining: _Optional[bool] = ..., acknowledged: _Optional[int] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("sequence", "greeting", "jobs", "aborted_streams", "released_handoffs", "acknowledged", "want")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GREETING_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    ABORTED_STREAMS_FIELD_NUMBER: _ClassVar[int]
    RELEASED_HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    greeting: FleetGreeting
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    aborted_streams: bytes
    released_handoffs: _containers.RepeatedScalarFieldContainer[str]
    acknowledged: int
    want: Want
    def __init__(self, sequence: _Optional[int] = ..., greeting: _Optional[_Union[FleetGreeting, _Mapping]] = ..., jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., aborted_streams: _Optional[bytes] = ..., released_handoffs: _Optional[_Iterable[str]] = ..., acknowledged: _Optional[int] = ..., want: _Optional[_Union[Want, _Mapping]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("number", "running_requests", "kv_blocks")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    number: int
    running_requests: int
    kv_blocks: int
    def __init__(self, number: _Optional[int] = ..., running_requests: _Optional[int] = ..., kv_blocks: _Optional[int] = ...) -> None: ...

class Want(_message.Message):
    __slots__ = ("grant_number", "running_requests", "kv_blocks", "waiting_requests", "waiting_kv_blocks")
    GRANT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    WAITING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    grant_number: int
    running_requests: int
    kv_blocks: int
    waiting_requests: int
    waiting_kv_blocks: int
    def __init__(self, grant_number: _Optional[int] = ..., running_requests: _Optional[int] = ..., kv_blocks: _Optional[int] = ..., waiting_requests: _Optional[int] = ..., waiting_kv_blocks: _Optional[int] = ...) -> None: ...

class FleetGreeting(_message.Message):
    __slots__ = ("router_id", "session_id", "load_interval_ms")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LOAD_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    session_id: str
    load_interval_ms: int
    def __init__(self, router_id: _Optional[str] = ..., session_id: _Optional[str] = ..., load_interval_ms: _Optional[int] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("worker_id", "role", "fingerprint", "capacity", "version", "address", "role_is_fixed", "standby", "can_replay", "adapters", "is_shared", "embedding_model", "limits_thinking", "handoff_address", "vocabulary_size")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ROLE_IS_FIXED_FIELD_NUMBER: _ClassVar[int]
    STANDBY_FIELD_NUMBER: _ClassVar[int]
    CAN_REPLAY_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    IS_SHARED_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMITS_THINKING_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    role: _types_pb2.Role
    fingerprint: Fingerprint
    capacity: Capacity
    version: str
    address: str
    role_is_fixed: bool
    standby: bool
    can_replay: bool
    adapters: _containers.RepeatedCompositeFieldContainer[LoraAdapter]
    is_shared: bool
    embedding_model: _types_pb2.EmbeddingModel
    limits_thinking: bool
    handoff_address: str
    vocabulary_size: int
    def __init__(self, worker_id: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ..., fingerprint: _Optional[_Union[Fingerprint, _Mapping]] = ..., capacity: _Optional[_Union[Capacity, _Mapping]] = ..., version: _Optional[str] = ..., address: _Optional[str] = ..., role_is_fixed: _Optional[bool] = ..., standby: _Optional[bool] = ..., can_replay: _Optional[bool] = ..., adapters: _Optional[_Iterable[_Union[LoraAdapter, _Mapping]]] = ..., is_shared: _Optional[bool] = ..., embedding_model: _Optional[_Union[_types_pb2.EmbeddingModel, _Mapping]] = ..., limits_thinking: _Optional[bool] = ..., handoff_address: _Optional[str] = ..., vocabulary_size: _Optional[int] = ...) -> None: ...

class LoraAdapter(_message.Message):
    __slots__ = ("name", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Fingerprint(_message.Message):
    __slots__ = ("model", "model_digest", "dtype", "kv_dtype", "block_size_tokens", "tensor_parallel_size", "engine", "engine_version", "connector", "hardware")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    KV_DTYPE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_PARALLEL_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONNECTOR_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    model: str
    model_digest: str
    dtype: str
    kv_dtype: str
    block_size_tokens: int
    tensor_parallel_size: int
    engine: str
    engine_version: str
    connector: str
    hardware: str
    def __init__(self, model: _Optional[str] = ..., model_digest: _Optional[str] = ..., dtype: _Optional[str] = ..., kv_dtype: _Optional[str] = ..., block_size_tokens: _Optional[int] = ..., tensor_parallel_size: _Optional[int] = ..., engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., connector: _Optional[str] = ..., hardware: _Optional[str] = ...) -> None: ...

class Capacity(_message.Message):
    __slots__ = ("kv_blocks", "kv_block_size_bytes", "max_running_requests", "max_batched_tokens", "max_model_len_tokens")
    KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCK_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    kv_blocks: int
    kv_block_size_bytes: int
    max_running_requests: int
    max_batched_tokens: int
    max_model_len_tokens: int
    def __init__(self, kv_blocks: _Optional[int] = ..., kv_block_size_bytes: _Optional[int] = ..., max_running_requests: _Optional[int] = ..., max_batched_tokens: _Optional[int] = ..., max_model_len_tokens: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("stream", "kind", "request_id", "prompt_token_ids", "delivered_token_ids", "sampling", "cache_salt", "priority", "handoff", "lora", "embedding")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    stream: int
    kind: JobKind
    request_id: str
    prompt_token_ids: bytes
    delivered_token_ids: bytes
    sampling: _types_pb2.Sampling
    cache_salt: str
    priority: int
    handoff: HandoffTicket
    lora: str
    embedding: _types_pb2.EmbeddingAsk
    def __init__(self, stream: _Optional[int] = ..., kind: _Optional[_Union[JobKind, str]] = ..., request_id: _Optional[str] = ..., prompt_token_ids: _Optional[bytes] = ..., delivered_token_ids: _Optional[bytes] = ..., sampling: _Optional[_Union[_types_pb2.Sampling, _Mapping]] = ..., cache_salt: _Optional[str] = ..., priority: _Optional[int] = ..., handoff: _Optional[_Union[HandoffTicket, _Mapping]] = ..., lora: _Optional[str] = ..., embedding: _Optional[_Union[_types_pb2.EmbeddingAsk, _Mapping]] = ...) -> None: ...

class HandoffTicket(_message.Message):
    __slots__ = ("handoff_id", "prefill_worker", "connector_params", "kv_tokens", "expires_in_ms")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    PREFILL_WORKER_FIELD_NUMBER: _ClassVar[int]
    CONNECTOR_PARAMS_FIELD_NUMBER: _ClassVar[int]
    KV_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_MS_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    prefill_worker: str
    connector_params: bytes
    kv_tokens: int
    expires_in_ms: int
    def __init__(self, handoff_id: _Optional[str] = ..., prefill_worker: _Optional[str] = ..., connector_params: _Optional[bytes] = ..., kv_tokens: _Optional[int] = ..., expires_in_ms: _Optional[int] = ...) -> None: ...

class HandoffOffered(_message.Message):
    __slots__ = ("stream", "handoff_id", "connector_params", "kv_tokens", "kv_blocks", "kv_size_bytes", "lease_ms", "token_ids", "cached_tokens", "logprobs")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTOR_PARAMS_FIELD_NUMBER: _ClassVar[int]
    KV_TOKENS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    KV_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    stream: int
    handoff_id: str
    connector_params: bytes
    kv_tokens: int
    kv_blocks: int
    kv_size_bytes: int
    lease_ms: int
    token_ids: bytes
    cached_tokens: int
    logprobs: _types_pb2.LogprobColumns
    def __init__(self, stream: _Optional[int] = ..., handoff_id: _Optional[str] = ..., connector_params: _Optional[bytes] = ..., kv_tokens: _Optional[int] = ..., kv_blocks: _Optional[int] = ..., kv_size_bytes: _Optional[int] = ..., lease_ms: _Optional[int] = ..., token_ids: _Optional[bytes] = ..., cached_tokens: _Optional[int] = ..., logprobs: _Optional[_Union[_types_pb2.LogprobColumns, _Mapping]] = ...) -> None: ...

class HandoffAdopted(_message.Message):
    __slots__ = ("stream", "handoff_id", "kv_size_bytes", "transfer_ms", "transport")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    KV_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    stream: int
    handoff_id: str
    kv_size_bytes: int
    transfer_ms: float
    transport: str
    def __init__(self, stream: _Optional[int] = ..., handoff_id: _Optional[str] = ..., kv_size_bytes: _Optional[int] = ..., transfer_ms: _Optional[float] = ..., transport: _Optional[str] = ...) -> None: ...

class HandoffReleased(_message.Message):
    __slots__ = ("handoff_id", "expired")
    HANDOFF_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    handoff_id: str
    expired: bool
    def __init__(self, handoff_id: _Optional[str] = ..., expired: _Optional[bool] = ...) -> None: ...

class JobFinished(_message.Message):
    __slots__ = ("stream", "reason", "cached_tokens", "vector")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    stream: int
    reason: _types_pb2.FinishReason
    cached_tokens: int
    vector: bytes
    def __init__(self, stream: _Optional[int] = ..., reason: _Optional[_Union[_types_pb2.FinishReason, str]] = ..., cached_tokens: _Optional[int] = ..., vector: _Optional[bytes] = ...) -> None: ...

class JobFailed(_message.Message):
    __slots__ = ("stream", "kind", "message", "field")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    stream: int
    kind: FailureKind
    message: str
    field: str
    def __init__(self, stream: _Optional[int] = ..., kind: _Optional[_Union[FailureKind, str]] = ..., message: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class LoadReport(_message.Message):
    __slots__ = ("running_requests", "waiting_requests", "kv_blocks_free", "kv_blocks_total", "step_ms", "queued_prefill_tokens")
    RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    WAITING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_FREE_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    STEP_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    running_requests: int
    waiting_requests: int
    kv_blocks_free: int
    kv_blocks_total: int
    step_ms: float
    queued_prefill_tokens: int
    def __init__(self, running_requests: _Optional[int] = ..., waiting_requests: _Optional[int] = ..., kv_blocks_free: _Optional[int] = ..., kv_blocks_total: _Optional[int] = ..., step_ms: _Optional[float] = ..., queued_prefill_tokens: _Optional[int] = ...) -> None: ...

class KvEvents(_message.Message):
    __slots__ = ("events", "cleared")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[KvEvent]
    cleared: bool
    def __init__(self, events: _Optional[_Iterable[_Union[KvEvent, _Mapping]]] = ..., cleared: _Optional[bool] = ...) -> None: ...

class KvEvent(_message.Message):
    __slots__ = ("stored_block_hashes", "parent_block_hash", "removed_block_hashes", "block_size_tokens", "token_ids", "cache_salt", "lora", "cleared")
    STORED_BLOCK_HASHES_FIELD_NUMBER: _ClassVar[int]
    PARENT_BLOCK_HASH_FIELD_NUMBER: _ClassVar[int]
    REMOVED_BLOCK_HASHES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_SIZE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    stored_block_hashes: _containers.RepeatedScalarFieldContainer[bytes]
    parent_block_hash: bytes
    removed_block_hashes: _containers.RepeatedScalarFieldContainer[bytes]
    block_size_tokens: int
    token_ids: bytes
    cache_salt: str
    lora: str
    cleared: bool
    def __init__(self, stored_block_hashes: _Optional[_Iterable[bytes]] = ..., parent_block_hash: _Optional[bytes] = ..., removed_block_hashes: _Optional[_Iterable[bytes]] = ..., block_size_tokens: _Optional[int] = ..., token_ids: _Optional[bytes] = ..., cache_salt: _Optional[str] = ..., lora: _Optional[str] = ..., cleared: _Optional[bool] = ...) -> None: ...
