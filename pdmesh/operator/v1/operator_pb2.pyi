from pdmesh.types.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_NOTE: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
    SEVERITY_CRITICAL: _ClassVar[Severity]
SEVERITY_UNSPECIFIED: Severity
SEVERITY_NOTE: Severity
SEVERITY_WARNING: Severity
SEVERITY_CRITICAL: Severity

class NoteGivenUpRequest(_message.Message):
    __slots__ = ("process", "why")
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    process: str
    why: str
    def __init__(self, process: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class NoteGivenUpResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeFleetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeFleetResponse(_message.Message):
    __slots__ = ("router_id", "workers", "tiers", "stranded_block_seconds", "open_handoffs", "open_requests", "quarantined_prompts", "expired_handoffs", "routers", "unreleased_handoffs", "findings", "outcomes")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    STRANDED_BLOCK_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OPEN_HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    ROUTERS_FIELD_NUMBER: _ClassVar[int]
    UNRELEASED_HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    tiers: _containers.RepeatedCompositeFieldContainer[TierStatus]
    stranded_block_seconds: float
    open_handoffs: int
    open_requests: int
    quarantined_prompts: int
    expired_handoffs: int
    routers: _containers.RepeatedCompositeFieldContainer[RouterStatus]
    unreleased_handoffs: int
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    outcomes: _containers.RepeatedCompositeFieldContainer[ModelOutcomes]
    def __init__(self, router_id: _Optional[str] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., tiers: _Optional[_Iterable[_Union[TierStatus, _Mapping]]] = ..., stranded_block_seconds: _Optional[float] = ..., open_handoffs: _Optional[int] = ..., open_requests: _Optional[int] = ..., quarantined_prompts: _Optional[int] = ..., expired_handoffs: _Optional[int] = ..., routers: _Optional[_Iterable[_Union[RouterStatus, _Mapping]]] = ..., unreleased_handoffs: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., outcomes: _Optional[_Iterable[_Union[ModelOutcomes, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("kind", "severity", "model", "text", "remedy")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    kind: str
    severity: Severity
    model: str
    text: str
    remedy: str
    def __init__(self, kind: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., model: _Optional[str] = ..., text: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class ModelOutcomes(_message.Message):
    __slots__ = ("model", "requests")
    class RequestsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    requests: _containers.ScalarMap[str, int]
    def __init__(self, model: _Optional[str] = ..., requests: _Optional[_Mapping[str, int]] = ...) -> None: ...

class RouterStatus(_message.Message):
    __slots__ = ("router_id", "open_requests", "queues")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    QUEUES_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    open_requests: int
    queues: _containers.RepeatedCompositeFieldContainer[RouterQueue]
    def __init__(self, router_id: _Optional[str] = ..., open_requests: _Optional[int] = ..., queues: _Optional[_Iterable[_Union[RouterQueue, _Mapping]]] = ...) -> None: ...

class RouterQueue(_message.Message):
    __slots__ = ("model", "role", "requests", "tokens", "oldest_wait_ms", "wait_ms_max")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_MAX_FIELD_NUMBER: _ClassVar[int]
    model: str
    role: _types_pb2.Role
    requests: int
    tokens: int
    oldest_wait_ms: float
    wait_ms_max: int
    def __init__(self, model: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ..., requests: _Optional[int] = ..., tokens: _Optional[int] = ..., oldest_wait_ms: _Optional[float] = ..., wait_ms_max: _Optional[int] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("worker_id", "model", "role", "state", "running_requests", "kv_blocks_total", "kv_blocks_reserved", "queued_prefill_tokens", "step_ms", "address", "embedding_dimensions")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    KV_BLOCKS_RESERVED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_PREFILL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STEP_MS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    model: str
    role: _types_pb2.Role
    state: str
    running_requests: int
    kv_blocks_total: int
    kv_blocks_reserved: int
    queued_prefill_tokens: int
    step_ms: float
    address: str
    embedding_dimensions: int
    def __init__(self, worker_id: _Optional[str] = ..., model: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ..., state: _Optional[str] = ..., running_requests: _Optional[int] = ..., kv_blocks_total: _Optional[int] = ..., kv_blocks_reserved: _Optional[int] = ..., queued_prefill_tokens: _Optional[int] = ..., step_ms: _Optional[float] = ..., address: _Optional[str] = ..., embedding_dimensions: _Optional[int] = ...) -> None: ...

class TierStatus(_message.Message):
    __slots__ = ("model", "role", "queued_requests", "queued_tokens", "desired_workers", "desired_spares", "serving_workers", "oldest_wait_ms", "engine_tokens", "tokens_per_s", "prefill_wait_ms")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    QUEUED_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DESIRED_WORKERS_FIELD_NUMBER: _ClassVar[int]
    DESIRED_SPARES_FIELD_NUMBER: _ClassVar[int]
    SERVING_WORKERS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    ENGINE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    PREFILL_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    model: str
    role: _types_pb2.Role
    queued_requests: int
    queued_tokens: int
    desired_workers: int
    desired_spares: int
    serving_workers: int
    oldest_wait_ms: float
    engine_tokens: int
    tokens_per_s: float
    prefill_wait_ms: float
    def __init__(self, model: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ..., queued_requests: _Optional[int] = ..., queued_tokens: _Optional[int] = ..., desired_workers: _Optional[int] = ..., desired_spares: _Optional[int] = ..., serving_workers: _Optional[int] = ..., oldest_wait_ms: _Optional[float] = ..., engine_tokens: _Optional[int] = ..., tokens_per_s: _Optional[float] = ..., prefill_wait_ms: _Optional[float] = ...) -> None: ...

class DescribePairsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribePairsResponse(_message.Message):
    __slots__ = ("pairs",)
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[PairStatus]
    def __init__(self, pairs: _Optional[_Iterable[_Union[PairStatus, _Mapping]]] = ...) -> None: ...

class PairStatus(_message.Message):
    __slots__ = ("prefill_worker", "decode_worker", "differences", "connector", "handoffs", "failures", "handoff_ms", "transfer_gb_per_s", "canary", "canary_age_s", "breaker", "handoff_address", "transport", "transfer_ms", "refusal", "failure")
    PREFILL_WORKER_FIELD_NUMBER: _ClassVar[int]
    DECODE_WORKER_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    CONNECTOR_FIELD_NUMBER: _ClassVar[int]
    HANDOFFS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_MS_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_GB_PER_S_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    CANARY_AGE_S_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_MS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    prefill_worker: str
    decode_worker: str
    differences: _containers.RepeatedScalarFieldContainer[str]
    connector: str
    handoffs: int
    failures: int
    handoff_ms: float
    transfer_gb_per_s: float
    canary: str
    canary_age_s: float
    breaker: str
    handoff_address: str
    transport: str
    transfer_ms: float
    refusal: str
    failure: str
    def __init__(self, prefill_worker: _Optional[str] = ..., decode_worker: _Optional[str] = ..., differences: _Optional[_Iterable[str]] = ..., connector: _Optional[str] = ..., handoffs: _Optional[int] = ..., failures: _Optional[int] = ..., handoff_ms: _Optional[float] = ..., transfer_gb_per_s: _Optional[float] = ..., canary: _Optional[str] = ..., canary_age_s: _Optional[float] = ..., breaker: _Optional[str] = ..., handoff_address: _Optional[str] = ..., transport: _Optional[str] = ..., transfer_ms: _Optional[float] = ..., refusal: _Optional[str] = ..., failure: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UndrainRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class UndrainResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetRoleRequest(_message.Message):
    __slots__ = ("worker_id", "role")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    role: _types_pb2.Role
    def __init__(self, worker_id: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ...) -> None: ...

class SetRoleResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StandByRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class StandByResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ActivateRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class ActivateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetLocalThresholdRequest(_message.Message):
    __slots__ = ("local_prompt_tokens_max",)
    LOCAL_PROMPT_TOKENS_MAX_FIELD_NUMBER: _ClassVar[int]
    local_prompt_tokens_max: int
    def __init__(self, local_prompt_tokens_max: _Optional[int] = ...) -> None: ...

class SetLocalThresholdResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DryRunRequest(_message.Message):
    __slots__ = ("model", "prompt_token_ids", "max_tokens", "tenant")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt_token_ids: bytes
    max_tokens: int
    tenant: str
    def __init__(self, model: _Optional[str] = ..., prompt_token_ids: _Optional[bytes] = ..., max_tokens: _Optional[int] = ..., tenant: _Optional[str] = ...) -> None: ...

class DryRunResponse(_message.Message):
    __slots__ = ("refusal_reason", "path", "path_reason", "decode_worker", "prefill_worker", "waits_for")
    REFUSAL_REASON_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PATH_REASON_FIELD_NUMBER: _ClassVar[int]
    DECODE_WORKER_FIELD_NUMBER: _ClassVar[int]
    PREFILL_WORKER_FIELD_NUMBER: _ClassVar[int]
    WAITS_FOR_FIELD_NUMBER: _ClassVar[int]
    refusal_reason: str
    path: _types_pb2.Path
    path_reason: str
    decode_worker: str
    prefill_worker: str
    waits_for: str
    def __init__(self, refusal_reason: _Optional[str] = ..., path: _Optional[_Union[_types_pb2.Path, str]] = ..., path_reason: _Optional[str] = ..., decode_worker: _Optional[str] = ..., prefill_worker: _Optional[str] = ..., waits_for: _Optional[str] = ...) -> None: ...

class ForgiveRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ForgiveResponse(_message.Message):
    __slots__ = ("prompts", "pairs")
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    prompts: int
    pairs: int
    def __init__(self, prompts: _Optional[int] = ..., pairs: _Optional[int] = ...) -> None: ...

class DescribeScalingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeScalingResponse(_message.Message):
    __slots__ = ("tiers", "acts", "watchers", "decider")
    TIERS_FIELD_NUMBER: _ClassVar[int]
    ACTS_FIELD_NUMBER: _ClassVar[int]
    WATCHERS_FIELD_NUMBER: _ClassVar[int]
    DECIDER_FIELD_NUMBER: _ClassVar[int]
    tiers: _containers.RepeatedCompositeFieldContainer[TierScaling]
    acts: bool
    watchers: int
    decider: str
    def __init__(self, tiers: _Optional[_Iterable[_Union[TierScaling, _Mapping]]] = ..., acts: _Optional[bool] = ..., watchers: _Optional[int] = ..., decider: _Optional[str] = ...) -> None: ...

class TierScaling(_message.Message):
    __slots__ = ("model", "role", "desired_workers", "desired_spares", "serving_workers", "idle_workers", "attached_workers", "coming_workers", "needed_workers", "why", "cold_start_ms", "changed_s_ago", "least_workers", "most_workers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    DESIRED_WORKERS_FIELD_NUMBER: _ClassVar[int]
    DESIRED_SPARES_FIELD_NUMBER: _ClassVar[int]
    SERVING_WORKERS_FIELD_NUMBER: _ClassVar[int]
    IDLE_WORKERS_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_WORKERS_FIELD_NUMBER: _ClassVar[int]
    COMING_WORKERS_FIELD_NUMBER: _ClassVar[int]
    NEEDED_WORKERS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    COLD_START_MS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_S_AGO_FIELD_NUMBER: _ClassVar[int]
    LEAST_WORKERS_FIELD_NUMBER: _ClassVar[int]
    MOST_WORKERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    role: _types_pb2.Role
    desired_workers: int
    desired_spares: int
    serving_workers: int
    idle_workers: int
    attached_workers: int
    coming_workers: int
    needed_workers: float
    why: str
    cold_start_ms: float
    changed_s_ago: float
    least_workers: int
    most_workers: int
    def __init__(self, model: _Optional[str] = ..., role: _Optional[_Union[_types_pb2.Role, str]] = ..., desired_workers: _Optional[int] = ..., desired_spares: _Optional[int] = ..., serving_workers: _Optional[int] = ..., idle_workers: _Optional[int] = ..., attached_workers: _Optional[int] = ..., coming_workers: _Optional[int] = ..., needed_workers: _Optional[float] = ..., why: _Optional[str] = ..., cold_start_ms: _Optional[float] = ..., changed_s_ago: _Optional[float] = ..., least_workers: _Optional[int] = ..., most_workers: _Optional[int] = ...) -> None: ...

class WatchScalingRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchScalingResponse(_message.Message):
    __slots__ = ("tiers", "stoppable_workers", "known_workers", "follows")
    TIERS_FIELD_NUMBER: _ClassVar[int]
    STOPPABLE_WORKERS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_WORKERS_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    tiers: _containers.RepeatedCompositeFieldContainer[TierScaling]
    stoppable_workers: _containers.RepeatedScalarFieldContainer[str]
    known_workers: _containers.RepeatedScalarFieldContainer[str]
    follows: bool
    def __init__(self, tiers: _Optional[_Iterable[_Union[TierScaling, _Mapping]]] = ..., stoppable_workers: _Optional[_Iterable[str]] = ..., known_workers: _Optional[_Iterable[str]] = ..., follows: _Optional[bool] = ...) -> None: ...
