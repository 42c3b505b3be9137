"""Dividing one engine step among the sessions whose jobs it is about."""

from collections.abc import Iterable
from dataclasses import replace

from services.common.domain import StepOutput, TokenColumns
from services.worker.jobs import JobTable, S


def share(step: StepOutput, jobs: JobTable[S], sessions: Iterable[S]) -> dict[S, StepOutput]:
    """Each session's part, in its own stream numbers; ends are taken out of `jobs`.

    Changes of the prefix cache go to all `sessions`. News of jobs that have ended are dropped.
    """
    parts: dict[S, StepOutput] = {}
    _share_offers(step, jobs, parts)
    for adopted in step.adopted:
        seat = jobs.seat(adopted.stream)
        if seat is not None:
            _part(parts, seat[0]).adopted.append(replace(adopted, stream=seat[1]))
    _share_tokens(step.tokens, jobs, parts)
    _share_ends(step, jobs, parts)
    for released in step.released:
        session = jobs.close_offer(released.handoff_id)
        if session is not None:
            _part(parts, session).released.append(released)
    if step.kv_changes:
        for session in sessions:
            _part(parts, session).kv_changes.extend(step.kv_changes)
    return parts


def _part(parts: dict[S, StepOutput], session: S) -> StepOutput:
    part = parts.get(session)
    if part is None:
        part = parts[session] = StepOutput()
    return part


def _share_offers(step: StepOutput, jobs: JobTable[S], parts: dict[S, StepOutput]) -> None:
    for offered in step.offered:
        seat = jobs.close(offered.stream)
        if seat is not None:
            jobs.add_offer(seat[0], offered.handoff_id)
            _part(parts, seat[0]).offered.append(replace(offered, stream=seat[1]))


def _share_tokens(columns: TokenColumns, jobs: JobTable[S], parts: dict[S, StepOutput]) -> None:
    """The only work per token in a worker."""
    ids, start, seat_of = columns.token_ids, 0, jobs.seat
    for stream, count in zip(columns.streams, columns.counts, strict=True):
        seat = seat_of(stream)
        if seat is not None:
            part = _part(parts, seat[0]).tokens
            if count == 1:
                part.add_one(seat[1], ids[start])
            else:
                part.add(seat[1], ids[start : start + count])
        start += count
    if columns.logprobs is not None:
        for stream, described in columns.logprobs.by_stream().items():
            seat = seat_of(stream)
            if seat is not None:
                _part(parts, seat[0]).tokens.add_logprobs(seat[1], described)


def _share_ends(step: StepOutput, jobs: JobTable[S], parts: dict[S, StepOutput]) -> None:
    for finished in step.finished:
        seat = jobs.close(finished.stream)
        if seat is not None:
            _part(parts, seat[0]).finished.append(replace(finished, stream=seat[1]))
    for failed in step.failed:
        seat = jobs.close(failed.stream)
        if seat is not None:
            _part(parts, seat[0]).failed.append(replace(failed, stream=seat[1]))
