"""An engine step's parts as protobuf messages and back."""

from array import array
from collections.abc import Callable, Iterable
from typing import Any

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.types.v1 import types_pb2
from services.common.domain import (
    HandoffAdopted,
    HandoffOffered,
    HandoffReleased,
    JobFailed,
    JobFinished,
    KvChange,
    LogprobColumns,
    StepOutput,
    TokenLogprobs,
)
from services.common.domain.tokens import from_bytes, to_bytes
from services.common.errors import ProtocolViolation
from services.common.rpc.columns import (
    columns_from_wire,
    floats_to_bytes,
    logprobs_from_wire,
    logprobs_to_wire,
)
from services.common.rpc.convert import (
    failure_kind_from_wire,
    finish_reason_from_wire,
    wire_enum,
)
from services.common.rpc.embedding import vector_from_wire


def step_from_wire(frame: fleet_pb2.AttachRequest) -> StepOutput | None:
    """The step that a worker's frame carries, if it does; raises ProtocolViolation when it makes no sense."""
    step: StepOutput | None = None
    # To ask for each part that a frame might have costs more than to read those that most have.
    for field, value in frame.ListFields():
        add = _ADD_PART.get(field.number)
        if add is not None:
            step = step or StepOutput()
            add(step, value)
    return step


def offered_to_wire(offered: HandoffOffered) -> fleet_pb2.HandoffOffered:
    """An offer."""
    wire = fleet_pb2.HandoffOffered(
        stream=offered.stream,
        handoff_id=offered.handoff_id,
        connector_params=offered.connector_params,
        kv_tokens=offered.kv_tokens,
        kv_blocks=offered.kv_blocks,
        kv_size_bytes=offered.kv_size_bytes,
        lease_ms=offered.lease_ms,
        token_ids=to_bytes(offered.token_ids),
        cached_tokens=offered.cached_tokens,
    )
    if offered.logprobs is not None:
        columns = LogprobColumns()
        columns.add(offered.stream, offered.logprobs)
        wire.logprobs.CopyFrom(logprobs_to_wire(columns))
    return wire


def _offered_from_wire(wire: fleet_pb2.HandoffOffered) -> HandoffOffered:
    token_ids = _column(wire.token_ids)
    return HandoffOffered(
        stream=wire.stream,
        handoff_id=wire.handoff_id,
        connector_params=wire.connector_params,
        kv_tokens=wire.kv_tokens,
        kv_blocks=wire.kv_blocks,
        kv_size_bytes=wire.kv_size_bytes,
        lease_ms=wire.lease_ms,
        token_ids=token_ids,
        cached_tokens=wire.cached_tokens,
        logprobs=_offered_logprobs(wire, len(token_ids)) if wire.HasField("logprobs") else None,
    )


def _offered_logprobs(wire: fleet_pb2.HandoffOffered, tokens_offered: int) -> TokenLogprobs:
    try:
        columns = logprobs_from_wire(wire.logprobs)
    except ValueError as failure:
        raise ProtocolViolation(f"logprobs of an offer: {failure}") from failure
    found = columns.by_stream() if columns.is_well_formed() else {}
    if len(found) != 1 or len(described := found.popitem()[1]) != tokens_offered:
        raise ProtocolViolation("an offer's logprobs are not those of its tokens")
    return described


def adopted_to_wire(adopted: HandoffAdopted) -> fleet_pb2.HandoffAdopted:
    """An adoption."""
    return fleet_pb2.HandoffAdopted(
        stream=adopted.stream,
        handoff_id=adopted.handoff_id,
        kv_size_bytes=adopted.kv_size_bytes,
        transfer_ms=adopted.transfer_ms,
        transport=adopted.transport,
    )


def finished_to_wire(finished: JobFinished) -> fleet_pb2.JobFinished:
    """A job's successful end."""
    return fleet_pb2.JobFinished(
        stream=finished.stream,
        reason=wire_enum(finished.reason),
        cached_tokens=finished.cached_tokens,
        vector=b"" if finished.vector is None else floats_to_bytes(finished.vector),
    )


def _finished_from_wire(wire: fleet_pb2.JobFinished) -> JobFinished:
    reason = finish_reason_from_wire(wire.reason)
    return JobFinished(wire.stream, reason, wire.cached_tokens, vector_from_wire(wire.vector))


def failed_to_wire(failed: JobFailed) -> fleet_pb2.JobFailed:
    """A job's unsuccessful end."""
    return fleet_pb2.JobFailed(
        stream=failed.stream, kind=wire_enum(failed.kind), message=failed.message, field=failed.field
    )


def released_to_wire(released: HandoffReleased) -> fleet_pb2.HandoffReleased:
    """A release."""
    return fleet_pb2.HandoffReleased(handoff_id=released.handoff_id, expired=released.expired)


def kv_change_to_wire(change: KvChange) -> fleet_pb2.KvEvent:
    """A change of the prefix cache."""
    return fleet_pb2.KvEvent(
        stored_block_hashes=list(change.stored_block_hashes),
        parent_block_hash=change.parent_block_hash,
        removed_block_hashes=list(change.removed_block_hashes),
        block_size_tokens=change.block_size_tokens,
        token_ids=to_bytes(change.token_ids),
        cache_salt=change.cache_salt,
        lora=change.lora,
        cleared=change.cleared,
    )


def _kv_changes_from_wire(wire: fleet_pb2.KvEvents) -> list[KvChange]:
    first = [KvChange(cleared=True)] if wire.cleared else []
    return first + [_kv_change_from_wire(event) for event in wire.events]


def _kv_change_from_wire(wire: fleet_pb2.KvEvent) -> KvChange:
    # By position, and in slices, for there are many of them: names, and walks over the hashes, cost double.
    return KvChange(
        tuple(wire.stored_block_hashes[:]),
        wire.parent_block_hash,
        tuple(wire.removed_block_hashes[:]),
        _column(wire.token_ids),
        wire.block_size_tokens,
        wire.cache_salt,
        wire.lora,
        wire.cleared,
    )


def _column(column: bytes) -> "array[int]":
    try:
        return from_bytes(column)
    except ValueError as failure:
        raise ProtocolViolation(f"token ids: {failure}") from failure


def _add_offered(step: StepOutput, wire: Iterable[fleet_pb2.HandoffOffered]) -> None:
    step.offered = [_offered_from_wire(o) for o in wire]


def _add_adopted(step: StepOutput, wire: Iterable[fleet_pb2.HandoffAdopted]) -> None:
    step.adopted = [
        HandoffAdopted(a.stream, a.handoff_id, a.kv_size_bytes, a.transfer_ms, a.transport) for a in wire
    ]


def _add_tokens(step: StepOutput, wire: types_pb2.TokenColumns) -> None:
    step.tokens = columns_from_wire(wire)


def _add_finished(step: StepOutput, wire: Iterable[fleet_pb2.JobFinished]) -> None:
    step.finished = [_finished_from_wire(f) for f in wire]


def _add_failed(step: StepOutput, wire: Iterable[fleet_pb2.JobFailed]) -> None:
    step.failed = [JobFailed(f.stream, failure_kind_from_wire(f.kind), f.message, f.field) for f in wire]


def _add_released(step: StepOutput, wire: Iterable[fleet_pb2.HandoffReleased]) -> None:
    step.released = [HandoffReleased(r.handoff_id, r.expired) for r in wire]


def _add_kv_changes(step: StepOutput, wire: fleet_pb2.KvEvents) -> None:
    step.kv_changes = _kv_changes_from_wire(wire)


_ADD_PART: dict[int, Callable[[StepOutput, Any], None]] = {
    fleet_pb2.AttachRequest.OFFERED_FIELD_NUMBER: _add_offered,
    fleet_pb2.AttachRequest.ADOPTED_FIELD_NUMBER: _add_adopted,
    fleet_pb2.AttachRequest.TOKENS_FIELD_NUMBER: _add_tokens,
    fleet_pb2.AttachRequest.FINISHED_FIELD_NUMBER: _add_finished,
    fleet_pb2.AttachRequest.FAILED_FIELD_NUMBER: _add_failed,
    fleet_pb2.AttachRequest.RELEASED_FIELD_NUMBER: _add_released,
    fleet_pb2.AttachRequest.KV_EVENTS_FIELD_NUMBER: _add_kv_changes,
}
