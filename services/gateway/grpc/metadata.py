"""What travels beside the messages of a call."""

from collections.abc import Mapping

import grpc.aio

from services.common.domain import Receipt, ServiceClass
from services.common.errors import InvalidField
from services.common.limits import Limits
from services.common.rpc.convert import receipt_to_wire
from services.gateway.call.call import Call, class_of
from services.gateway.call.generation import Generation
from services.gateway.call.request_id import check_request_id, new_request_id
from services.gateway.grpc.bodies import Request
from services.gateway.grpc.log_line import LogLine
from services.gateway.tenants import Caller

DEADLINE_MS_MAX = 24 * 3_600_000
"""A longer deadline is none."""
SESSION_KEY_CHARS_MAX = 256

Metadata = tuple[tuple[str, str | bytes], ...]


def headers_of(context: grpc.aio.ServicerContext) -> Mapping[str, str]:
    """The caller's metadata as headers; the binary ones are none."""
    given = context.invocation_metadata() or ()
    return {key: value for key, value in given if isinstance(value, str)}


def call_of(
    request: Request,
    generation: Generation,
    caller: Caller,
    context: grpc.aio.ServicerContext,
    line: LogLine,
) -> Call:
    """The call of a request and what travels beside it; raises `InvalidField`."""
    options = request.options
    if len(options.session_key) > SESSION_KEY_CHARS_MAX:
        raise InvalidField(f"session_key: at most {SESSION_KEY_CHARS_MAX} characters", field="session_key")
    return Call(
        request_id=str(line.notes["request_id"]),
        generation=generation,
        received_ms=line.received_ms,
        caller=caller,
        session_key=options.session_key,
        deadline_ms=_deadline_ms(context),
        service_class=class_of(caller, _service_class(options.service_class)),
        priority=options.priority,
        notes=line.notes,
        on_reserved=line.count,
    )


def name_of(request: Request, limits: Limits) -> str:
    """The request's name, as its caller gave it or made up; raises `InvalidField`."""
    given = request.options.request_id
    if given:
        check_request_id(given, limits.request_id_chars_max, "request_id")
    return given or new_request_id()


def _deadline_ms(context: grpc.aio.ServicerContext) -> int | None:
    """What is left of the caller's deadline; gRPC itself ends the call with it."""
    left_s = context.time_remaining()
    if left_s is None or left_s * 1000.0 > DEADLINE_MS_MAX:
        return None
    return max(1, int(left_s * 1000.0))


def _service_class(number: int) -> ServiceClass | None:
    """A service class; an unset or unknown one is the caller's own."""
    return ServiceClass(number) if number in set(ServiceClass) else None


def trailing(receipt: Receipt) -> Metadata:
    """The first choice's receipt, for clients that want it whole and for people who look."""
    path = receipt.path.name.lower() if receipt.path is not None else ""
    return (
        ("pdmesh-receipt-bin", receipt_to_wire(receipt).SerializeToString()),
        ("pdmesh-request-id", receipt.request_id),
        ("pdmesh-path", path),
        ("pdmesh-path-reason", receipt.path_reason),
        ("pdmesh-prefill-worker", receipt.prefill_worker),
        ("pdmesh-decode-worker", receipt.decode_worker),
        ("pdmesh-cached-tokens", str(receipt.cached_tokens)),
        ("pdmesh-queue-ms", f"{receipt.queue_ms:.3f}"),
        ("pdmesh-prefill-ms", f"{receipt.prefill_ms:.3f}"),
        ("pdmesh-handoff-ms", f"{receipt.handoff_ms:.3f}"),
        ("pdmesh-decode-ms", f"{receipt.decode_ms:.3f}"),
    )
