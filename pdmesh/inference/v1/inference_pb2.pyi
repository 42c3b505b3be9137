from google.protobuf import struct_pb2 as _struct_pb2
from pdmesh.inference.v1 import answer_pb2 as _answer_pb2
from pdmesh.inference.v1 import prompt_pb2 as _prompt_pb2
from pdmesh.inference.v1 import sampling_pb2 as _sampling_pb2
from pdmesh.types.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CallOptions(_message.Message):
    __slots__ = ("request_id", "idempotency_key", "session_key", "service_class", "priority", "strict_disaggregation")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_CLASS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    STRICT_DISAGGREGATION_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    idempotency_key: str
    session_key: str
    service_class: _types_pb2.ServiceClass
    priority: int
    strict_disaggregation: bool
    def __init__(self, request_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., session_key: _Optional[str] = ..., service_class: _Optional[_Union[_types_pb2.ServiceClass, str]] = ..., priority: _Optional[int] = ..., strict_disaggregation: _Optional[bool] = ...) -> None: ...

class Delivered(_message.Message):
    __slots__ = ("index", "token_ids")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    index: int
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, index: _Optional[int] = ..., token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ChatRequest(_message.Message):
    __slots__ = ("model", "messages", "sampling", "options", "delivered", "tools", "tool_choice", "parallel_tool_calls", "template_variables", "retrieval")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_VARIABLES_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.Message]
    sampling: _sampling_pb2.Sampling
    options: CallOptions
    delivered: _containers.RepeatedCompositeFieldContainer[Delivered]
    tools: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.Tool]
    tool_choice: _prompt_pb2.ToolChoice
    parallel_tool_calls: bool
    template_variables: _struct_pb2.Struct
    retrieval: _prompt_pb2.Retrieval
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_prompt_pb2.Message, _Mapping]]] = ..., sampling: _Optional[_Union[_sampling_pb2.Sampling, _Mapping]] = ..., options: _Optional[_Union[CallOptions, _Mapping]] = ..., delivered: _Optional[_Iterable[_Union[Delivered, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[_prompt_pb2.Tool, _Mapping]]] = ..., tool_choice: _Optional[_Union[_prompt_pb2.ToolChoice, _Mapping]] = ..., parallel_tool_calls: _Optional[bool] = ..., template_variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., retrieval: _Optional[_Union[_prompt_pb2.Retrieval, _Mapping]] = ...) -> None: ...

class ChatResponse(_message.Message):
    __slots__ = ("deltas", "placement", "summary")
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[_answer_pb2.Delta]
    placement: _answer_pb2.Placement
    summary: _answer_pb2.Summary
    def __init__(self, deltas: _Optional[_Iterable[_Union[_answer_pb2.Delta, _Mapping]]] = ..., placement: _Optional[_Union[_answer_pb2.Placement, _Mapping]] = ..., summary: _Optional[_Union[_answer_pb2.Summary, _Mapping]] = ...) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ("model", "prompt", "sampling", "options", "delivered", "echo", "retrieval")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    RETRIEVAL_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt: str
    sampling: _sampling_pb2.Sampling
    options: CallOptions
    delivered: _containers.RepeatedCompositeFieldContainer[Delivered]
    echo: bool
    retrieval: _prompt_pb2.Retrieval
    def __init__(self, model: _Optional[str] = ..., prompt: _Optional[str] = ..., sampling: _Optional[_Union[_sampling_pb2.Sampling, _Mapping]] = ..., options: _Optional[_Union[CallOptions, _Mapping]] = ..., delivered: _Optional[_Iterable[_Union[Delivered, _Mapping]]] = ..., echo: _Optional[bool] = ..., retrieval: _Optional[_Union[_prompt_pb2.Retrieval, _Mapping]] = ...) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ("deltas", "placement", "summary")
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[_answer_pb2.Delta]
    placement: _answer_pb2.Placement
    summary: _answer_pb2.Summary
    def __init__(self, deltas: _Optional[_Iterable[_Union[_answer_pb2.Delta, _Mapping]]] = ..., placement: _Optional[_Union[_answer_pb2.Placement, _Mapping]] = ..., summary: _Optional[_Union[_answer_pb2.Summary, _Mapping]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "prompt_token_ids", "sampling", "options", "delivered")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    model: str
    prompt_token_ids: _containers.RepeatedScalarFieldContainer[int]
    sampling: _sampling_pb2.Sampling
    options: CallOptions
    delivered: _containers.RepeatedCompositeFieldContainer[Delivered]
    def __init__(self, model: _Optional[str] = ..., prompt_token_ids: _Optional[_Iterable[int]] = ..., sampling: _Optional[_Union[_sampling_pb2.Sampling, _Mapping]] = ..., options: _Optional[_Union[CallOptions, _Mapping]] = ..., delivered: _Optional[_Iterable[_Union[Delivered, _Mapping]]] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("deltas", "placement", "summary")
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[_answer_pb2.Delta]
    placement: _answer_pb2.Placement
    summary: _answer_pb2.Summary
    def __init__(self, deltas: _Optional[_Iterable[_Union[_answer_pb2.Delta, _Mapping]]] = ..., placement: _Optional[_Union[_answer_pb2.Placement, _Mapping]] = ..., summary: _Optional[_Union[_answer_pb2.Summary, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "max_model_len")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    max_model_len: int
    def __init__(self, name: _Optional[str] = ..., max_model_len: _Optional[int] = ...) -> None: ...

class TokenizeRequest(_message.Message):
    __slots__ = ("model", "text", "messages", "tools", "template_variables")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_VARIABLES_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    messages: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.Message]
    tools: _containers.RepeatedCompositeFieldContainer[_prompt_pb2.Tool]
    template_variables: _struct_pb2.Struct
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[_prompt_pb2.Message, _Mapping]]] = ..., tools: _Optional[_Iterable[_Union[_prompt_pb2.Tool, _Mapping]]] = ..., template_variables: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class TokenizeResponse(_message.Message):
    __slots__ = ("token_ids", "max_model_len")
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_LEN_FIELD_NUMBER: _ClassVar[int]
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    max_model_len: int
    def __init__(self, token_ids: _Optional[_Iterable[int]] = ..., max_model_len: _Optional[int] = ...) -> None: ...

class DetokenizeRequest(_message.Message):
    __slots__ = ("model", "token_ids")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOKEN_IDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    token_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, model: _Optional[str] = ..., token_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class DetokenizeResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
