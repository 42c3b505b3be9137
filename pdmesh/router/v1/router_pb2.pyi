from pdmesh.types.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("sequence", "greeting", "submissions", "cancelled_streams", "acknowledged")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GREETING_FIELD_NUMBER: _ClassVar[int]
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_STREAMS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    greeting: GatewayGreeting
    submissions: _containers.RepeatedCompositeFieldContainer[Submission]
    cancelled_streams: bytes
    acknowledged: int
    def __init__(self, sequence: _Optional[int] = ..., greeting: _Optional[_Union[GatewayGreeting, _Mapping]] = ..., submissions: _Optional[_Iterable[_Union[Submission, _Mapping]]] = ..., cancelled_streams: _Optional[bytes] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class GatewayGreeting(_message.Message):
    __slots__ = ("gateway_id", "version")
    GATEWAY_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    gateway_id: str
    version: str
    def __init__(self, gateway_id: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Submission(_message.Message):
    __slots__ = ("stream", "request_id", "model", "tenant", "service_class", "deadline_ms", "prompt_token_ids", "delivered_token_ids", "sampling", "cache_salt", "strict_disaggregation", "session_key", "lora", "priority", "tenant_weight", "embedding", "resubmitted")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    CACHE_SALT_FIELD_NUMBER: _ClassVar[int]
    STRICT_DISAGGREGATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TENANT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    RESUBMITTED_FIELD_NUMBER: _ClassVar[int]
    stream: int
    request_id: str
    model: str
    tenant: str
    service_class: _types_pb2.ServiceClass
    deadline_ms: int
    prompt_token_ids: bytes
    delivered_token_ids: bytes
    sampling: _types_pb2.Sampling
    cache_salt: str
    strict_disaggregation: bool
    session_key: str
    lora: str
    priority: int
    tenant_weight: float
    embedding: _types_pb2.EmbeddingAsk
    resubmitted: bool
    def __init__(self, stream: _Optional[int] = ..., request_id: _Optional[str] = ..., model: _Optional[str] = ..., tenant: _Optional[str] = ..., service_class: _Optional[_Union[_types_pb2.ServiceClass, str]] = ..., deadline_ms: _Optional[int] = ..., prompt_token_ids: _Optional[bytes] = ..., delivered_token_ids: _Optional[bytes] = ..., sampling: _Optional[_Union[_types_pb2.Sampling, _Mapping]] = ..., cache_salt: _Optional[str] = ..., strict_disaggregation: _Optional[bool] = ..., session_key: _Optional[str] = ..., lora: _Optional[str] = ..., priority: _Optional[int] = ..., tenant_weight: _Optional[float] = ..., embedding: _Optional[_Union[_types_pb2.EmbeddingAsk, _Mapping]] = ..., resubmitted: _Optional[bool] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("sequence", "greeting", "placed", "tokens", "ended", "models", "acknowledged", "leaving")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GREETING_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    greeting: RouterGreeting
    placed: _containers.RepeatedCompositeFieldContainer[StreamPlaced]
    tokens: _types_pb2.TokenColumns
    ended: _containers.RepeatedCompositeFieldContainer[StreamEnded]
    models: ModelList
    acknowledged: int
    leaving: bool
    def __init__(self, sequence: _Optional[int] = ..., greeting: _Optional[_Union[RouterGreeting, _Mapping]] = ..., placed: _Optional[_Iterable[_Union[StreamPlaced, _Mapping]]] = ..., tokens: _Optional[_Union[_types_pb2.TokenColumns, _Mapping]] = ..., ended: _Optional[_Iterable[_Union[StreamEnded, _Mapping]]] = ..., models: _Optional[_Union[ModelList, _Mapping]] = ..., acknowledged: _Optional[int] = ..., leaving: _Optional[bool] = ...) -> None: ...

class RouterGreeting(_message.Message):
    __slots__ = ("router_id", "version")
    ROUTER_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    router_id: str
    version: str
    def __init__(self, router_id: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelList(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "max_model_len", "prefill_workers", "decode_workers", "adapters", "embedding_model", "limits_thinking")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    PREFILL_WORKERS_FIELD_NUMBER: _ClassVar[int]
    DECODE_WORKERS_FIELD_NUMBER: _ClassVar[int]
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_MODEL_FIELD_NUMBER: _ClassVar[int]
    LIMITS_THINKING_FIELD_NUMBER: _ClassVar[int]
    name: str
    max_model_len: int
    prefill_workers: int
    decode_workers: int
    adapters: _containers.RepeatedScalarFieldContainer[str]
    embedding_model: _types_pb2.EmbeddingModel
    limits_thinking: bool
    def __init__(self, name: _Optional[str] = ..., max_model_len: _Optional[int] = ..., prefill_workers: _Optional[int] = ..., decode_workers: _Optional[int] = ..., adapters: _Optional[_Iterable[str]] = ..., embedding_model: _Optional[_Union[_types_pb2.EmbeddingModel, _Mapping]] = ..., limits_thinking: _Optional[bool] = ...) -> None: ...

class StreamPlaced(_message.Message):
    __slots__ = ("stream", "path", "path_reason", "prefill_worker", "decode_worker")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PATH_REASON_FIELD_NUMBER: _ClassVar[int]
    PREFILL_WORKER_FIELD_NUMBER: _ClassVar[int]
    DECODE_WORKER_FIELD_NUMBER: _ClassVar[int]
    stream: int
    path: _types_pb2.Path
    path_reason: str
    prefill_worker: str
    decode_worker: str
    def __init__(self, stream: _Optional[int] = ..., path: _Optional[_Union[_types_pb2.Path, str]] = ..., path_reason: _Optional[str] = ..., prefill_worker: _Optional[str] = ..., decode_worker: _Optional[str] = ...) -> None: ...

class StreamEnded(_message.Message):
    __slots__ = ("stream", "reason", "receipt", "error", "vector")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    stream: int
    reason: _types_pb2.FinishReason
    receipt: _types_pb2.Receipt
    error: _types_pb2.Error
    vector: bytes
    def __init__(self, stream: _Optional[int] = ..., reason: _Optional[_Union[_types_pb2.FinishReason, str]] = ..., receipt: _Optional[_Union[_types_pb2.Receipt, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.Error, _Mapping]] = ..., vector: _Optional[bytes] = ...) -> None: ...
