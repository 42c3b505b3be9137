"""The error classes; the tree is drawn in the package's docstring."""

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """gRPC's canonical status codes, named here so that only `rpc` needs gRPC."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class MeshError(Exception):
    """Base of all errors of the mesh.

    `retry_after_ms` is None where retrying is pointless or the time is unknown; `field` names the
    request field at fault.
    """

    reason: ClassVar[str] = "internal"
    code: ClassVar[Code] = Code.INTERNAL
    http_status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, field: str = "", retry_after_ms: int | None = None) -> None:
        super().__init__(message or type(self).reason.replace("_", " "))
        self.field = field
        self.retry_after_ms = retry_after_ms

    @property
    def message(self) -> str:
        """The error in words, for people."""
        return str(self.args[0])


class Invalid(MeshError):
    """The caller's fault."""

    reason = "invalid"
    code = Code.INVALID_ARGUMENT
    http_status = 400


class InvalidField(Invalid):
    """A field is missing, of the wrong type or out of range."""

    reason = "invalid_field"


class PromptTooLong(Invalid):
    """Prompt and answer do not fit the model."""

    reason = "context_length_exceeded"


class RequestOverQuota(Invalid):
    """The request needs more tokens than the tenant's quota ever holds."""

    reason = "request_over_quota"


class AnswerTooLarge(Invalid):
    """The answer outgrew what is kept of one that is sent whole."""

    reason = "answer_too_large"


class BodyTooLarge(Invalid):
    """The HTTP body is over its bound."""

    reason = "body_too_large"
    http_status = 413


class HeadersTooLarge(Invalid):
    """The HTTP request line and headers are over their bound."""

    reason = "headers_too_large"
    http_status = 431


class RequestTooSlow(Invalid):
    """The HTTP request did not arrive in its time."""

    reason = "request_too_slow"
    http_status = 408


class MalformedHttp(Invalid):
    """Not HTTP."""

    reason = "malformed_http"


class HttpVersionUnsupported(Invalid):
    """A version of HTTP other than 1.0 and 1.1."""

    reason = "http_version_unsupported"
    code = Code.UNIMPLEMENTED
    http_status = 505


class UnsupportedCoding(Invalid):
    """A Transfer-Encoding other than chunked."""

    reason = "unsupported_transfer_coding"
    code = Code.UNIMPLEMENTED
    http_status = 501


class UnsupportedMediaType(Invalid):
    """The HTTP body is encoded, or comes from a browser and is not declared as JSON."""

    reason = "unsupported_media_type"
    http_status = 415


class ModelNotFound(Invalid):
    """No such model."""

    reason = "model_not_found"
    code = Code.NOT_FOUND
    http_status = 404


class ResponseNotFound(Invalid):
    """No stored response has this id any more."""

    reason = "response_not_found"
    code = Code.NOT_FOUND
    http_status = 404


class RouteNotFound(Invalid):
    """No such URL."""

    reason = "route_not_found"
    code = Code.UNIMPLEMENTED
    http_status = 404


class MethodNotAllowed(Invalid):
    """The URL exists, for another method."""

    reason = "method_not_allowed"
    code = Code.UNIMPLEMENTED
    http_status = 405


class Unauthenticated(Invalid):
    """No credential, or one that is not valid."""

    reason = "invalid_api_key"
    code = Code.UNAUTHENTICATED
    http_status = 401


class NotAllowed(Invalid):
    """The credential is valid and does not allow this."""

    reason = "not_allowed"
    code = Code.PERMISSION_DENIED
    http_status = 403


class IdempotencyKeyReused(Invalid):
    """The idempotency key was used with another body."""

    reason = "idempotency_key_reused"
    code = Code.ALREADY_EXISTS
    http_status = 409


class AnswerNotKept(Invalid):
    """The answer to this idempotency key cannot be given again: too large, or gone with its gateway."""

    reason = "answer_not_kept"
    code = Code.ABORTED
    http_status = 409


class DuplicateRequest(Invalid):
    """The stream number or request id is in use."""

    reason = "duplicate_request"
    code = Code.ALREADY_EXISTS
    http_status = 409


class WorkerNotFound(Invalid):
    """No worker of that name is attached."""

    reason = "worker_not_found"
    code = Code.NOT_FOUND
    http_status = 404


class OperationRefused(Invalid):
    """An operator's order that would harm, or comes too soon."""

    reason = "operation_refused"
    code = Code.FAILED_PRECONDITION
    http_status = 409


class QuarantinedPrompt(Invalid):
    """Workers died with this prompt on them."""

    reason = "quarantined_prompt"
    code = Code.FAILED_PRECONDITION
    http_status = 422


class RequestFailed(Invalid):
    """Engines fail this request and go on with others."""

    reason = "request_failed"


class Refused(MeshError):
    """Not taken; retrying later can help."""

    reason = "refused"
    code = Code.RESOURCE_EXHAUSTED
    http_status = 503


class QuotaExceeded(Refused):
    """The tenant's quota does not allow this much now."""

    reason = "rate_limit_exceeded"
    code = Code.RESOURCE_EXHAUSTED
    http_status = 429


class BudgetSpent(Refused):
    """What is left of the tenant's budget of money does not pay for this until its day or month is over."""

    reason = "insufficient_quota"
    code = Code.RESOURCE_EXHAUSTED
    http_status = 429


class QuotaUnknown(Refused):
    """The tenant has a quota, and the store that knows it does not answer."""

    reason = "quota_unknown"
    code = Code.UNAVAILABLE


class UsageUnavailable(Refused):
    """The store that counts usage does not answer."""

    reason = "usage_unavailable"
    code = Code.UNAVAILABLE


class QueueFull(Refused):
    """The wait queue is at its bound."""

    reason = "queue_full"


class QueueWaitExceeded(Refused):
    """The request waited for its whole allowance without being placed."""

    reason = "queue_wait_exceeded"


class KvMemoryFull(Refused):
    """KV room for the request would not come in time."""

    reason = "kv_memory_full"


class DeadlineUnmeetable(Refused):
    """The request's deadline would pass while it waits."""

    reason = "deadline_unmeetable"


class Shed(Refused):
    """Refused at random, because the queue is nearly full."""

    reason = "shed"


class TooManyStreams(Refused):
    """One gateway has too many requests in flight."""

    reason = "too_many_streams"


class NoWorkers(Refused):
    """No worker serves the model at the moment."""

    reason = "no_workers"
    code = Code.UNAVAILABLE


class RouterUnavailable(Refused):
    """The gateway has no router."""

    reason = "router_unavailable"
    code = Code.UNAVAILABLE


class ResponsesUnavailable(Refused):
    """The store of responses does not answer."""

    reason = "responses_unavailable"
    code = Code.UNAVAILABLE


class IdempotencyUnavailable(Refused):
    """The store that idempotency keys need does not answer."""

    reason = "idempotency_unavailable"
    code = Code.UNAVAILABLE


class KeysUnavailable(Refused):
    """The key that a token is signed with is not known yet, and is being fetched."""

    reason = "keys_unavailable"
    code = Code.UNAVAILABLE


class RetrievalFailed(Refused):
    """The request requires passages, and they could not be looked up."""

    reason = "retrieval_failed"
    code = Code.UNAVAILABLE


class TooManyConnections(Refused):
    """The gateway's connections or streams are at their bound."""

    reason = "too_many_connections"


class BodiesFull(Refused):
    """All request bodies that a gateway holds are at their bound, or this tenant's share of them is."""

    reason = "bodies_full"


class RenderingFull(Refused):
    """All prompts that a gateway renders are at their bound, or this tenant's share of them is."""

    reason = "rendering_full"


class Ended(MeshError):
    """Taken, and ended without a whole answer."""

    reason = "ended"
    code = Code.ABORTED
    http_status = 502


class DeadlinePassed(Ended):
    """The request's own deadline."""

    reason = "deadline_passed"
    code = Code.DEADLINE_EXCEEDED
    http_status = 504


class Cancelled(Ended):
    """The caller went away."""

    reason = "cancelled"
    code = Code.CANCELLED
    http_status = 499


class SlowReader(Cancelled):
    """The client did not read fast enough, and its buffer is full."""

    reason = "slow_reader"


class AnswerLost(Ended):
    """The gateway that was writing the answer is gone."""

    reason = "answer_lost"


class RetriesExhausted(Ended):
    """Workers failed more often than the retry bound allows."""

    reason = "retries_exhausted"
    code = Code.UNAVAILABLE


class NotResumable(Ended):
    """A worker died, and going on elsewhere would not be exact for these sampling parameters."""

    reason = "not_resumable"


class PathUnavailable(Ended):
    """The caller demanded disaggregation, and it was not possible."""

    reason = "path_unavailable"
    code = Code.FAILED_PRECONDITION
    http_status = 503


class Startup(MeshError):
    """A process cannot start: one line on stderr and exit code 2."""

    reason = "startup_failed"
    code = Code.FAILED_PRECONDITION


class BadSetting(Startup):
    """A flag, variable or configuration key is unknown or has an impossible value."""

    reason = "bad_setting"


class ModelMissing(Startup):
    """The model's directory or one of its files is not there."""

    reason = "model_missing"


class PortInUse(Startup):
    """The port to listen on is taken."""

    reason = "port_in_use"


class StoreUnavailable(Startup):
    """Redis is configured and does not answer."""

    reason = "store_unavailable"


class ComponentMissing(Startup):
    """A library that the chosen engine needs is not installed."""

    reason = "component_missing"


class EngineStartFailed(Startup):
    """The engine refused its configuration or could not load the model."""

    reason = "engine_start_failed"


class CrashLoop(Startup):
    """A process of the mesh died too often to be started again."""

    reason = "crash_loop"


class RegistrationRefused(Startup):
    """The router refused this worker, its fingerprint does not fit the fleet."""

    reason = "registration_refused"


class EngineUnhealthy(MeshError):
    """The engine did not generate what it should."""

    reason = "engine_unhealthy"
    code = Code.UNAVAILABLE
    http_status = 503


class ProtocolViolation(MeshError):
    """A peer broke the wire's rules; its session ends."""

    reason = "protocol_violation"
    code = Code.FAILED_PRECONDITION


class Internal(MeshError):
    """A fault of ours."""

    reason = "internal"
