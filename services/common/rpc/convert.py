"""The domain's words as protobuf messages and back. Data only: nothing here knows a channel or a server."""

from operator import attrgetter
from typing import Any

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2
from pdmesh.types.v1 import types_pb2
from services.common.domain import (
    Capacity,
    FailureKind,
    Fingerprint,
    FinishReason,
    Grant,
    HandoffTicket,
    Job,
    JobKind,
    LoadReport,
    Path,
    Receipt,
    Registration,
    Request,
    Role,
    ServiceClass,
    Want,
)
from services.common.domain.request import TENANT_WEIGHT_MAX, TENANT_WEIGHT_MIN
from services.common.domain.tokens import from_bytes, to_bytes
from services.common.errors import MeshError, ProtocolViolation, by_reason
from services.common.rpc.embedding import ask_from_wire, ask_to_wire, model_from_wire, model_to_wire
from services.common.rpc.sampling import sampling_fields, sampling_from_wire


def wire_enum(value: int) -> Any:
    """An enum's number; `Any`, because the stubs' enum types cannot be called."""
    return int(value)


def request_to_wire(stream: int, request: Request) -> router_pb2.Submission:
    """A request under the gateway's stream number."""
    ask = request.embedding
    return router_pb2.Submission(
        stream=stream,
        request_id=request.request_id,
        model=request.model,
        tenant=request.tenant,
        service_class=wire_enum(request.service_class),
        deadline_ms=request.deadline_ms or 0,
        prompt_token_ids=to_bytes(request.prompt),
        delivered_token_ids=to_bytes(request.delivered),
        sampling=sampling_fields(request.sampling),
        cache_salt=request.cache_salt,
        strict_disaggregation=request.strict_disaggregation,
        session_key=request.session_key,
        lora=request.lora,
        priority=request.priority,
        tenant_weight=request.tenant_weight,
        embedding=None if ask is None else ask_to_wire(ask),
        resubmitted=request.resubmitted,
    )


def request_from_wire(wire: router_pb2.Submission) -> Request:
    """A request; raises ProtocolViolation on columns that are no token ids."""
    try:
        prompt, delivered = from_bytes(wire.prompt_token_ids), from_bytes(wire.delivered_token_ids)
    except ValueError as failure:
        raise ProtocolViolation(f"stream {wire.stream}: {failure}") from failure
    return Request(
        request_id=wire.request_id,
        model=wire.model,
        prompt=prompt,
        sampling=sampling_from_wire(wire.sampling),
        tenant=wire.tenant,
        service_class=_service_class(wire.service_class),
        deadline_ms=wire.deadline_ms or None,
        delivered=delivered,
        cache_salt=wire.cache_salt,
        strict_disaggregation=wire.strict_disaggregation,
        session_key=wire.session_key,
        lora=wire.lora,
        priority=wire.priority,
        tenant_weight=_weight(wire.tenant_weight),
        embedding=ask_from_wire(wire.embedding) if wire.HasField("embedding") else None,
        resubmitted=wire.resubmitted,
    )


def _weight(number: float) -> float:
    """A tenant's weight within what fair shares can reckon with; an older peer sends none."""
    return min(max(number, TENANT_WEIGHT_MIN), TENANT_WEIGHT_MAX) if number > 0.0 else 1.0


def _service_class(number: int) -> ServiceClass:
    """A service class; a newer peer's unknown one counts as the usual."""
    return _CLASSES.get(number, ServiceClass.STANDARD)


_CLASSES = {int(kind): kind for kind in ServiceClass}


def job_to_wire(job: Job) -> fleet_pb2.Job:
    """A job under the router's stream number."""
    wire = fleet_pb2.Job(
        stream=job.stream,
        kind=wire_enum(job.kind),
        request_id=job.request_id,
        prompt_token_ids=to_bytes(job.prompt),
        delivered_token_ids=to_bytes(job.delivered),
        sampling=sampling_fields(job.sampling),
        cache_salt=job.cache_salt,
        lora=job.lora,
        priority=job.priority,
    )
    if job.embedding is not None:
        wire.embedding.CopyFrom(ask_to_wire(job.embedding))
    if job.handoff is not None:
        wire.handoff.handoff_id = job.handoff.handoff_id
        wire.handoff.prefill_worker = job.handoff.prefill_worker
        wire.handoff.connector_params = job.handoff.connector_params
        wire.handoff.kv_tokens = job.handoff.kv_tokens
        wire.handoff.expires_in_ms = job.handoff.expires_in_ms
    return wire


def job_from_wire(wire: fleet_pb2.Job) -> Job:
    """A job; raises ProtocolViolation when it makes no sense."""
    try:
        kind = JobKind(wire.kind)
        prompt, delivered = from_bytes(wire.prompt_token_ids), from_bytes(wire.delivered_token_ids)
    except ValueError as failure:
        raise ProtocolViolation(f"job {wire.stream}: {failure}") from failure
    if (kind is JobKind.ADOPT) != wire.HasField("handoff"):
        raise ProtocolViolation(f"job {wire.stream}: a ticket belongs to an ADOPT job and to no other")
    if (kind is JobKind.EMBED) != wire.HasField("embedding"):
        raise ProtocolViolation(f"job {wire.stream}: it wants a vector and is no EMBED job, or the reverse")
    return Job(
        stream=wire.stream,
        kind=kind,
        request_id=wire.request_id,
        prompt=prompt,
        sampling=sampling_from_wire(wire.sampling),
        delivered=delivered,
        cache_salt=wire.cache_salt,
        lora=wire.lora,
        priority=wire.priority,
        handoff=_ticket_from_wire(wire.handoff) if wire.HasField("handoff") else None,
        embedding=ask_from_wire(wire.embedding) if wire.HasField("embedding") else None,
    )


def _ticket_from_wire(wire: fleet_pb2.HandoffTicket) -> HandoffTicket:
    return HandoffTicket(
        handoff_id=wire.handoff_id,
        prefill_worker=wire.prefill_worker,
        connector_params=wire.connector_params,
        kv_tokens=wire.kv_tokens,
        expires_in_ms=wire.expires_in_ms,
    )


def registration_to_wire(registration: Registration) -> fleet_pb2.Registration:
    """A worker's first words."""
    prints, capacity = registration.fingerprint, registration.capacity
    model = registration.embedding_model
    return fleet_pb2.Registration(
        worker_id=registration.worker_id,
        role=wire_enum(registration.role),
        fingerprint=fleet_pb2.Fingerprint(**{name: getattr(prints, name) for name in _FINGERPRINT}),
        capacity=fleet_pb2.Capacity(**{name: getattr(capacity, name) for name in _CAPACITY}),
        version=registration.version,
        address=registration.address,
        handoff_address=registration.handoff_address,
        role_is_fixed=registration.role_is_fixed,
        standby=registration.standby,
        can_replay=registration.can_replay,
        is_shared=registration.is_shared,
        limits_thinking=registration.limits_thinking,
        vocabulary_size=registration.vocabulary_size,
        embedding_model=None if model is None else model_to_wire(model),
        adapters=[
            fleet_pb2.LoraAdapter(name=name, digest=digest) for name, digest in registration.adapters.items()
        ],
    )


def registration_from_wire(wire: fleet_pb2.Registration) -> Registration:
    """A worker's first words; raises ProtocolViolation on a role that does not exist."""
    try:
        role = Role(wire.role)
    except ValueError as failure:
        raise ProtocolViolation(f"registration: {failure}") from failure
    return Registration(
        worker_id=wire.worker_id,
        role=role,
        fingerprint=Fingerprint(**{name: getattr(wire.fingerprint, name) for name in _FINGERPRINT}),
        capacity=Capacity(**{name: getattr(wire.capacity, name) for name in _CAPACITY}),
        version=wire.version,
        address=wire.address,
        handoff_address=wire.handoff_address,
        role_is_fixed=wire.role_is_fixed,
        standby=wire.standby,
        can_replay=wire.can_replay,
        is_shared=wire.is_shared,
        limits_thinking=wire.limits_thinking,
        vocabulary_size=wire.vocabulary_size,
        embedding_model=model_from_wire(wire.embedding_model) if wire.HasField("embedding_model") else None,
        adapters={adapter.name: adapter.digest for adapter in wire.adapters},
    )


def grant_to_wire(grant: Grant) -> fleet_pb2.Grant:
    """A worker's grant."""
    return fleet_pb2.Grant(**{name: getattr(grant, name) for name in _GRANT})


def grant_from_wire(wire: fleet_pb2.Grant) -> Grant:
    """A worker's grant."""
    return Grant(**{name: getattr(wire, name) for name in _GRANT})


def want_to_wire(want: Want) -> fleet_pb2.Want:
    """A router's want."""
    return fleet_pb2.Want(**{name: getattr(want, name) for name in _WANT})


def want_from_wire(wire: fleet_pb2.Want) -> Want:
    """A router's want."""
    return Want(**{name: getattr(wire, name) for name in _WANT})


_GRANT = tuple(Grant.__dataclass_fields__)
_WANT = tuple(Want.__dataclass_fields__)
_FINGERPRINT = tuple(Fingerprint.__dataclass_fields__)
_CAPACITY = tuple(Capacity.__dataclass_fields__)
_LOAD = tuple(LoadReport.__dataclass_fields__)


def load_to_wire(load: LoadReport) -> fleet_pb2.LoadReport:
    """What a worker holds."""
    return fleet_pb2.LoadReport(**{name: getattr(load, name) for name in _LOAD})


def load_from_wire(wire: fleet_pb2.LoadReport) -> LoadReport:
    """What a worker holds."""
    return LoadReport(**{name: getattr(wire, name) for name in _LOAD})


_RECEIPT = tuple(name for name in Receipt.__dataclass_fields__ if name != "path")
_receipt = attrgetter(*_RECEIPT)
"""The values of all of them, of a receipt or of its message."""


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """A receipt, as the fields of its message: it is built within the one that holds it."""
    fields: dict[str, Any] = dict(zip(_RECEIPT, _receipt(receipt), strict=True))
    fields["path"] = int(receipt.path or 0)
    return fields


def receipt_to_wire(receipt: Receipt) -> types_pb2.Receipt:
    """A receipt."""
    return types_pb2.Receipt(**receipt_fields(receipt))


_PATHS = {int(path): path for path in Path}


def receipt_from_wire(wire: types_pb2.Receipt) -> Receipt:
    """A receipt."""
    return Receipt(path=_PATHS.get(wire.path), **dict(zip(_RECEIPT, _receipt(wire), strict=True)))


def error_to_wire(error: MeshError) -> types_pb2.Error:
    """An error as its reason and words."""
    return types_pb2.Error(
        reason=error.reason,
        message=error.message,
        retry_after_ms=error.retry_after_ms or 0,
        field=error.field,
    )


def error_from_wire(wire: types_pb2.Error) -> MeshError:
    """The error of a reason; `Internal` for a reason from a newer version."""
    kind = by_reason(wire.reason)
    return kind(wire.message, field=wire.field, retry_after_ms=wire.retry_after_ms or None)


def finish_reason_from_wire(reason: int) -> FinishReason:
    """A finish reason; raises ProtocolViolation on an unknown number."""
    known = _FINISH_REASONS.get(reason)
    if known is None:
        raise ProtocolViolation(f"finish reason {reason}")
    return known


_FINISH_REASONS = {int(reason): reason for reason in FinishReason}


def failure_kind_from_wire(kind: int) -> FailureKind:
    """A failure kind; raises ProtocolViolation on an unknown number."""
    try:
        return FailureKind(kind)
    except ValueError as failure:
        raise ProtocolViolation(f"failure kind {kind}") from failure
