"""Every error of the mesh: one tree, one table to gRPC and HTTP.

    MeshError
    ├── Invalid                  the caller's fault, retrying is pointless
    │   ├── InvalidField         400  a field is missing, of the wrong type or out of range
    │   ├── PromptTooLong        400  prompt + max_tokens do not fit the model
    │   ├── RequestOverQuota     400  more tokens than the tenant's quota ever holds
    │   ├── AnswerTooLarge       400  to be sent whole; a stream has no such bound
    │   ├── BodyTooLarge         413
    │   ├── HeadersTooLarge      431
    │   ├── RequestTooSlow       408
    │   ├── MalformedHttp        400
    │   ├── HttpVersionUnsupported 505  neither 1.0 nor 1.1
    │   ├── UnsupportedCoding    501  a Transfer-Encoding other than chunked
    │   ├── UnsupportedMediaType 415  an encoded body, or a browser's that is not declared as JSON
    │   ├── ModelNotFound        404
    │   ├── ResponseNotFound     404  no stored response has the id any more
    │   ├── RouteNotFound        404
    │   ├── MethodNotAllowed     405
    │   ├── WorkerNotFound       404
    │   ├── OperationRefused     409
    │   ├── RequestFailed        400  engines fail it and go on with others
    │   ├── QuarantinedPrompt    422  workers died with this prompt on them
    │   ├── Unauthenticated      401
    │   ├── NotAllowed           403  the credential does not allow it
    │   ├── IdempotencyKeyReused 409  with another body
    │   ├── AnswerNotKept        409  it cannot be given again for its idempotency key
    │   └── DuplicateRequest     409  the stream number or request id is in use
    ├── Refused                  not taken; retry after `retry_after_ms`
    │   ├── QuotaExceeded        429  the tenant's quota
    │   ├── BudgetSpent          429  the tenant's money for the day or month
    │   ├── QuotaUnknown         503  the store that knows the tenant's quota is away
    │   ├── UsageUnavailable     503  the store that counts usage is away
    │   ├── QueueFull            503
    │   ├── QueueWaitExceeded    503
    │   ├── KvMemoryFull         503
    │   ├── DeadlineUnmeetable   503
    │   ├── Shed                 503
    │   ├── TooManyStreams       503
    │   ├── NoWorkers            503  no worker serves the model now
    │   ├── RouterUnavailable    503
    │   ├── ResponsesUnavailable 503  the store of responses is away
    │   ├── IdempotencyUnavailable 503  its store does not answer, and it may not be done without
    │   ├── KeysUnavailable      503  of a token's signature, being fetched
    │   ├── RetrievalFailed      503  passages were required and could not be looked up
    │   ├── BodiesFull           503  request bodies held at the gateway
    │   ├── RenderingFull        503  prompts in rendering at the gateway
    │   └── TooManyConnections   503
    ├── Ended                    taken, and ended without an answer
    │   ├── DeadlinePassed       504
    │   ├── Cancelled            499
    │   ├── SlowReader           499  the client did not read fast enough
    │   ├── AnswerLost           502  the gateway that was writing it is gone
    │   ├── RetriesExhausted     502  workers failed too often
    │   ├── NotResumable         502  the worker died and going on elsewhere would not be exact
    │   └── PathUnavailable      503  disaggregation was demanded and not possible
    ├── Startup                  a process cannot start; exit code 2, one line
    │   ├── BadSetting, ModelMissing, PortInUse, StoreUnavailable, ComponentMissing
    │   ├── EngineStartFailed
    │   ├── CrashLoop            a process of the mesh died too often to be started again
    │   └── RegistrationRefused  fingerprints that do not fit the fleet
    ├── EngineUnhealthy
    ├── ProtocolViolation        a peer broke the wire's rules; its session ends
    └── Internal                 500  a fault of ours

The gRPC side of the table is `services.common.rpc.status`; the HTTP side is `http_status` here and
the gateway's `errors` module, which writes OpenAI's error body.
"""

from services.common.errors.reasons import by_reason
from services.common.errors.tree import (
    AnswerLost,
    AnswerNotKept,
    AnswerTooLarge,
    BadSetting,
    BodiesFull,
    BodyTooLarge,
    BudgetSpent,
    Cancelled,
    Code,
    ComponentMissing,
    CrashLoop,
    DeadlinePassed,
    DeadlineUnmeetable,
    DuplicateRequest,
    Ended,
    EngineStartFailed,
    EngineUnhealthy,
    HeadersTooLarge,
    HttpVersionUnsupported,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    Internal,
    Invalid,
    InvalidField,
    KeysUnavailable,
    KvMemoryFull,
    MalformedHttp,
    MeshError,
    MethodNotAllowed,
    ModelMissing,
    ModelNotFound,
    NotAllowed,
    NotResumable,
    NoWorkers,
    OperationRefused,
    PathUnavailable,
    PortInUse,
    PromptTooLong,
    ProtocolViolation,
    QuarantinedPrompt,
    QueueFull,
    QueueWaitExceeded,
    QuotaExceeded,
    QuotaUnknown,
    Refused,
    RegistrationRefused,
    RenderingFull,
    RequestFailed,
    RequestOverQuota,
    RequestTooSlow,
    ResponseNotFound,
    ResponsesUnavailable,
    RetriesExhausted,
    RetrievalFailed,
    RouteNotFound,
    RouterUnavailable,
    Shed,
    SlowReader,
    Startup,
    StoreUnavailable,
    TooManyConnections,
    TooManyStreams,
    Unauthenticated,
    UnsupportedCoding,
    UnsupportedMediaType,
    UsageUnavailable,
    WorkerNotFound,
)

__all__ = [
    "AnswerLost",
    "AnswerNotKept",
    "AnswerTooLarge",
    "BadSetting",
    "BodiesFull",
    "BodyTooLarge",
    "BudgetSpent",
    "Cancelled",
    "Code",
    "ComponentMissing",
    "CrashLoop",
    "DeadlinePassed",
    "DeadlineUnmeetable",
    "DuplicateRequest",
    "Ended",
    "EngineStartFailed",
    "EngineUnhealthy",
    "HeadersTooLarge",
    "HttpVersionUnsupported",
    "IdempotencyKeyReused",
    "IdempotencyUnavailable",
    "Internal",
    "Invalid",
    "InvalidField",
    "KeysUnavailable",
    "KvMemoryFull",
    "MalformedHttp",
    "MeshError",
    "MethodNotAllowed",
    "ModelMissing",
    "ModelNotFound",
    "NoWorkers",
    "NotAllowed",
    "NotResumable",
    "OperationRefused",
    "PathUnavailable",
    "PortInUse",
    "PromptTooLong",
    "ProtocolViolation",
    "QuarantinedPrompt",
    "QueueFull",
    "QueueWaitExceeded",
    "QuotaExceeded",
    "QuotaUnknown",
    "Refused",
    "RegistrationRefused",
    "RenderingFull",
    "RequestFailed",
    "RequestOverQuota",
    "RequestTooSlow",
    "ResponseNotFound",
    "ResponsesUnavailable",
    "RetriesExhausted",
    "RetrievalFailed",
    "RouteNotFound",
    "RouterUnavailable",
    "Shed",
    "SlowReader",
    "Startup",
    "StoreUnavailable",
    "TooManyConnections",
    "TooManyStreams",
    "Unauthenticated",
    "UnsupportedCoding",
    "UnsupportedMediaType",
    "UsageUnavailable",
    "WorkerNotFound",
    "by_reason",
]
