"""A worker against a router that speaks the protocol: jobs, aborts, violations, loss, drain."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pdmesh.fleet.v1 import fleet_pb2
from services.common.domain import FailureKind, FinishReason, HandoffReleased, JobKind, Role, Want
from services.common.errors import EngineStartFailed, EngineUnhealthy, PortInUse, RegistrationRefused
from services.common.limits import DEFAULTS
from services.common.rpc.convert import job_to_wire
from services.common.rpc.lane import open_stream
from services.worker.engine.sim import expected_tokens
from tests.wire.worker.conftest import StartWorker
from tests.wire.worker.fake_router import REFUSAL, FakeRouter, WorkerSession, adoption_of, fake_router, job

LONG = 400
SLOW = "step-ms=100"
"""With LONG answers: a job that is not aborted outlives the test's patience."""


async def settled(session: WorkerSession, kv_blocks: int = 256) -> None:
    """The worker reports that nothing is left, after what it has told up to here."""
    session.load = None

    def at_rest() -> bool:
        load = session.load
        return load is not None and load.kv_blocks_free == kv_blocks and not load.running_requests

    await session.until(at_rest)


async def test_registers_and_runs_jobs(router: FakeRouter, start: StartWorker) -> None:
    worker = start([router.address], worker_id="decode-7", served_model_name="tiny")
    facts = await worker.is_ready()
    session = await router.attached()
    registration = session.registration
    assert (registration.worker_id, registration.role) == ("decode-7", Role.DECODE)
    assert (registration.fingerprint.model, registration.fingerprint.engine) == ("tiny", "sim")
    assert registration.capacity.kv_blocks == 256
    assert registration.address == facts["url"]
    session.send(*(job(stream) for stream in range(1, 33)))
    await session.ends(*range(1, 33))
    for stream in range(1, 33):
        assert session.tokens[stream] == expected_tokens(job(stream).prompt, 20)
        assert session.finished[stream].reason is FinishReason.LENGTH
    assert session.token_frames <= 25, "one frame per step, not one per stream or token"
    assert session.kv_changes
    await settled(session)
    assert worker.metric("pdmesh_worker_tokens_total") == 32 * 20
    assert worker.metric("pdmesh_worker_jobs_total", outcome="length") == 32
    assert worker.metric("pdmesh_worker_kv_blocks", state="free") == 256
    assert worker.metric("pdmesh_worker_engine_steps") > 0


async def test_registers_as_what_it_is_told_to_be(router: FakeRouter, start: StartWorker) -> None:
    start([router.address], role="both", standby=True)
    spare = (await router.attached()).registration
    assert (spare.role, spare.standby, spare.role_is_fixed) == (Role.BOTH, True, False)
    start([router.address], "role-is-fixed=true", tier="prefill")
    plain = (await router.attached()).registration
    assert (plain.role, plain.standby, plain.role_is_fixed) == (Role.PREFILL, False, True)


async def test_abort_mid_stream_frees_and_is_silent(router: FakeRouter, start: StartWorker) -> None:
    start([router.address], "step-ms=2", "sequence-us=0")
    session = await router.attached()
    session.send(*(job(stream, max_tokens=LONG) for stream in range(1, 9)))
    await session.until(lambda: len(session.tokens[8]) > 3)
    session.abort(*range(1, 9), 77)
    await settled(session)
    got = {stream: len(ids) for stream, ids in session.tokens.items()}
    session.send(job(9))
    await session.ends(9)
    assert {stream: len(ids) for stream, ids in session.tokens.items() if stream != 9} == got
    assert set(session.finished) == {9}
    assert not session.failed


async def test_handoff_between_two_workers(router: FakeRouter, start: StartWorker) -> None:
    start([router.address], tier="prefill")
    prefill = await router.attached()
    start([router.address])
    decode = await router.attached()
    assert (prefill.registration.role, decode.registration.role) == (Role.PREFILL, Role.DECODE)
    assert not prefill.registration.fingerprint.differences(decode.registration.fingerprint)
    jobs = [job(stream, JobKind.PREFILL, length=40) for stream in range(1, 9)]
    prefill.send(*jobs)
    await prefill.until(lambda: len(prefill.offered) == 8)
    decode.send(*(adoption_of(prefill.offered[each.stream], each, each.stream) for each in jobs))
    await decode.ends(*range(1, 9))
    await prefill.until(lambda: len(prefill.released) == 8)
    assert set(decode.adopted) == set(range(1, 9))
    for each in jobs:
        whole = prefill.offered[each.stream].token_ids + decode.tokens[each.stream]
        assert whole == expected_tokens(each.prompt, 20)
    await settled(prefill)
    await settled(decode)


async def test_release_of_an_offer(router: FakeRouter, start: StartWorker) -> None:
    start([router.address], tier="prefill")
    session = await router.attached()
    session.send(job(1, JobKind.PREFILL))
    await session.until(lambda: session.offered)
    handoff_id = session.offered[1].handoff_id
    session.abort(1)
    session.release("unknown")
    session.release(handoff_id)
    session.release(handoff_id)
    await settled(session)
    await session.until(lambda: session.released)
    assert session.released == [HandoffReleased(handoff_id)]


async def test_a_vanished_router_frees_all_and_is_attached_again(start: StartWorker) -> None:
    async with fake_router() as router:
        worker = start([router.address], SLOW, tier="prefill")
        session = await router.attached()
        session.send(*(job(stream, max_tokens=LONG) for stream in range(1, 5)), job(5, JobKind.PREFILL))
        await session.until(lambda: session.offered and session.tokens[1])
        port = int(router.address.rpartition(":")[2])
    async with fake_router(port) as router:
        session = await router.attached()
        await settled(session)
        assert worker.metric("pdmesh_worker_handoffs_total", event="released") == 1
        session.send(job(1, prompt=6))  # stream numbers begin anew with a session
        await session.ends(1)
        assert session.tokens[1] == expected_tokens(job(1, prompt=6).prompt, 20)


async def test_sessions_do_not_mix(start: StartWorker) -> None:
    async with fake_router() as other, fake_router() as router:
        start([f"{router.address},{other.address}"], "step-ms=2", tier="prefill")
        mine, theirs = await router.attached(), await other.attached()
        for session, prompt in ((mine, 10), (theirs, 20)):
            session.send(job(1, prompt=prompt, max_tokens=LONG), job(2, JobKind.PREFILL, prompt=prompt + 1))
        await mine.until(lambda: mine.offered)
        await theirs.until(lambda: theirs.offered)
        theirs.release(mine.offered[2].handoff_id)
        theirs.release(theirs.offered[2].handoff_id)
        await theirs.until(lambda: theirs.released)
        theirs.abort(1)
        await mine.ends(1)
        assert mine.tokens[1] == expected_tokens(job(1, prompt=10).prompt, LONG)
        assert not theirs.finished
        assert not mine.released, "only the owner of an offer can release it"
        assert mine.kv_changes
        assert theirs.kv_changes


async def test_a_router_that_comes_late_learns_what_is_cached(start: StartWorker) -> None:
    asked = job(1, length=100, max_tokens=4)
    async with fake_router() as early:
        start([early.address])
        session = await early.attached()
        session.send(asked)
        await session.ends(1)
        known = {name for change in session.kv_changes for name in change.stored_block_hashes}
    async with fake_router(int(early.address.rpartition(":")[2])) as late:
        again = await late.attached()
        await again.until(lambda: again.kv_changes)
    assert again.kv_changes[0].cleared
    assert {name for change in again.kv_changes for name in change.stored_block_hashes} == known
    texts = [change.token_ids for change in again.kv_changes if change.token_ids]
    assert any(text[:96] == asked.prompt[:96] for text in texts)


async def test_routers_are_granted_parts_of_the_worker(start: StartWorker) -> None:
    async with fake_router() as other:
        async with fake_router() as router:
            start([f"{router.address},{other.address}"])
            mine, theirs = await router.attached(), await other.attached()
            whole = mine.registration.capacity.max_running_requests
            assert mine.registration.is_shared
            for session in (mine, theirs):
                await session.until(lambda granted=session: granted.grant)
            first, second = sorted((mine, theirs), key=lambda s: -s.grant.running_requests)
            assert (first.grant.running_requests, second.grant.running_requests) == (whole, 0)
            first.want(Want(first.grant.number, whole, 10))
            second.want(Want(0, 0, 0, 3, 3))
            await first.until(lambda: first.grant.running_requests == whole - 3)
            assert second.grant.running_requests == 0, "the first has not confirmed"
            first.want(Want(first.grant.number, whole - 3, 10))
            await second.until(lambda: second.grant and second.grant.running_requests == 3)
        left = theirs
        await left.until(lambda: left.grant.running_requests == whole)


@pytest.mark.parametrize(
    "frame",
    [
        fleet_pb2.AttachResponse(jobs=[job_to_wire(job(3))]),
        fleet_pb2.AttachResponse(jobs=[job_to_wire(job(2))]),
        fleet_pb2.AttachResponse(jobs=[fleet_pb2.Job(stream=9, kind=0)]),  # type: ignore[arg-type]
        fleet_pb2.AttachResponse(jobs=[fleet_pb2.Job(stream=9, kind=3, prompt_token_ids=b"abc")]),  # type: ignore[arg-type]
        fleet_pb2.AttachResponse(jobs=[fleet_pb2.Job(stream=9, kind=2)]),  # type: ignore[arg-type]
        fleet_pb2.AttachResponse(aborted_streams=b"abc"),
        fleet_pb2.AttachResponse(sequence=99),
    ],
    ids=["duplicate", "falling", "no kind", "odd prompt", "no ticket", "odd aborts", "gap"],
)
async def test_a_violation_ends_the_session_and_its_jobs(
    router: FakeRouter, start: StartWorker, frame: fleet_pb2.AttachResponse
) -> None:
    start([router.address], SLOW)
    session = await router.attached()
    session.send(job(3, max_tokens=LONG))
    await session.until(lambda: session.tokens[3])
    session.send_raw(frame)
    await session.until(lambda: session.ended)
    assert not session.has_ended(3)
    again = await router.attached()
    await settled(again)


async def test_an_oversize_frame_ends_the_session_and_nothing_else(
    router: FakeRouter, start: StartWorker
) -> None:
    start([router.address])
    session = await router.attached()
    size = DEFAULTS.frame_size_bytes_max + 1
    session.send_raw(fleet_pb2.AttachResponse(released_handoffs=["x" * size]))
    await session.until(lambda: session.ended)
    again = await router.attached()
    again.send(job(1))
    await again.ends(1)


async def test_a_prompt_longer_than_the_model_fails_alone(router: FakeRouter, start: StartWorker) -> None:
    start([router.address])
    session = await router.attached()
    session.send(job(1, length=600), job(2))
    await session.ends(1, 2)
    assert session.failed[1].kind is FailureKind.INVALID
    assert 2 in session.finished


async def test_a_refused_registration_ends_the_process(router: FakeRouter, start: StartWorker) -> None:
    router.refuse_with = REFUSAL
    worker = start([router.address])
    with pytest.raises(RegistrationRefused, match="block_size_tokens: 16 != 32"):
        await worker.is_ready()


async def test_a_router_that_comes_later_is_found(start: StartWorker) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = start([f"127.0.0.1:{port}"])
    async with fake_router(port) as router:
        await worker.is_ready()
        session = await router.attached()
        session.send(job(1))
        await session.ends(1)


async def test_drain_finishes_what_runs(router: FakeRouter, start: StartWorker) -> None:
    worker = start([router.address], "step-ms=5", grace_ms=30_000)
    facts = await worker.is_ready()
    session = await router.attached()
    session.send(job(1, max_tokens=LONG))
    await session.until(lambda: session.tokens[1])
    async with grpc.aio.insecure_channel(facts["url"]) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        worker.stop.set()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
    await session.until(lambda: session.draining)
    session.send(job(2))
    await session.ends(1, 2)
    await worker.end()
    assert session.tokens[1] == expected_tokens(job(1).prompt, LONG)
    assert session.failed[2].kind is FailureKind.LEAVING
    await session.until(lambda: session.ended)


async def test_drain_gives_back_what_does_not_end_in_time(router: FakeRouter, start: StartWorker) -> None:
    worker = start([router.address], "step-ms=20", tier="prefill", grace_ms=100)
    session = await router.attached()
    session.send(job(1, max_tokens=LONG), job(2, JobKind.PREFILL))
    await session.until(lambda: session.offered and session.tokens[1])
    await worker.end()
    await session.until(lambda: session.ended)
    assert session.failed[1].kind is FailureKind.LEAVING
    assert session.tokens[1] == expected_tokens(job(1).prompt, len(session.tokens[1]))
    assert [news.handoff_id for news in session.released] == [session.offered[2].handoff_id]


async def test_a_worker_that_is_told_to_stop_without_a_router_ends(start: StartWorker) -> None:
    worker = start(["127.0.0.1:1"])
    await asyncio.sleep(0.05)
    await worker.end()


async def test_a_worker_that_leaves_while_it_finds_a_router_does_not_register_there(
    router: FakeRouter, start: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, may_attach = asyncio.Event(), asyncio.Event()
    async with fake_router() as late:

        @asynccontextmanager
        async def held_open(address: str, *rest: Any) -> AsyncIterator[Any]:
            async with open_stream(address, *rest) as call:
                if address == late.address:
                    found.set()
                    await may_attach.wait()
                yield call

        monkeypatch.setattr("services.worker.attachment.open_stream", held_open)
        worker = start([router.address, late.address])
        session = await router.attached()
        await found.wait()
        worker.stop.set()
        await session.until(lambda: session.ended)
        may_attach.set()
        await worker.end()
        assert late.sessions.empty()


async def test_a_dead_engine_ends_the_process(router: FakeRouter, start: StartWorker) -> None:
    worker = start([router.address], "die-after-steps=12")
    session = await router.attached()
    session.send(job(1))
    with pytest.raises(EngineUnhealthy, match="the engine died: told to die"):
        await worker.serving
    await session.until(lambda: session.ended)


async def test_a_worker_whose_engine_dies_says_which_jobs_it_had(
    router: FakeRouter, start: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.worker.process.LAST_WORD_S", 1.0)
    worker = start([router.address], "deadly-token=2005")
    session = await router.attached()
    session.send(job(1))
    await session.ends(1)
    session.send(job(2), job(3))
    with pytest.raises(EngineUnhealthy, match="the engine died: told to die of token 2005"):
        await worker.serving
    await session.until(lambda: session.ended)
    assert session.draft.newest_job(session.link.acknowledged) == 3


async def test_an_engine_that_fails_its_check_never_serves(
    router: FakeRouter, start: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.worker.engine.sim.engine.CHECK_TIMEOUT_S", 0.05)
    worker = start([router.address], "hang=true")
    with pytest.raises(EngineStartFailed, match="first check"):
        await worker.is_ready()
    assert router.sessions.empty()


async def test_a_taken_port_is_said(router: FakeRouter, start: StartWorker) -> None:
    port = int(router.address.rpartition(":")[2])
    with pytest.raises(PortInUse, match=str(port)):
        await start([router.address], port=port).is_ready()


async def test_an_idle_worker_does_not_step(router: FakeRouter, start: StartWorker) -> None:
    worker = start([router.address])
    session = await router.attached()
    session.send(job(1))
    await session.ends(1)
    steps = worker.metric("pdmesh_worker_engine_steps")
    for _ in range(5):
        session.load = None
        await session.until(lambda: session.load)
    assert worker.metric("pdmesh_worker_engine_steps") == steps
