"""KV really moves between engines, and every handoff ends in one release, whatever goes wrong."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.domain import (
    FailureKind,
    FinishReason,
    HandoffOffered,
    HandoffReleased,
    Job,
    JobKind,
    Role,
    Sampling,
)
from services.common.domain.tokens import tokens
from services.worker.engine.sim import Faults, SimEngine, expected_tokens
from tests.unit.engine_sim.recording import RecordingSink, adoption_of, job, running


async def offer(engine: SimEngine, sink: RecordingSink, prefill: Job) -> HandoffOffered:
    engine.submit(prefill)
    await sink.until(lambda: prefill.stream in sink.offered)
    return sink.offered[prefill.stream]


@pytest.mark.parametrize("prompt_tokens", [1, 3, 4, 5, 8, 100])
async def test_a_moved_stream_says_what_a_local_one_says(prompt_tokens: int) -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL, prompt_tokens=prompt_tokens, max_tokens=30)
        offered = await offer(prefiller, offers, prefill)
        blocks = -(-prompt_tokens // 4)
        assert (offered.kv_tokens, offered.kv_blocks) == (prompt_tokens, blocks)
        assert prefiller.load().kv_blocks_free == 256 - blocks
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        await offers.until(lambda: bool(offers.released))
        assert offered.token_ids + sink.tokens[2] == expected_tokens(prefill.prompt, 30)
        assert sink.adopted[2].kv_size_bytes == offered.kv_size_bytes
        assert offers.released == [HandoffReleased(offered.handoff_id)]
        assert prefiller.load().kv_blocks_free == decoder.load().kv_blocks_free == 256


async def test_a_resumed_request_can_be_handed_over_too() -> None:
    async with running(Role.BOTH) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        whole = expected_tokens(job(1).prompt, 30)
        prefill = job(1, JobKind.PREFILL, max_tokens=30, delivered=whole[:11])
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert offered.token_ids + sink.tokens[2] == whole[11:]


async def test_an_engine_can_change_its_role() -> None:
    """A flip changes what a worker is given; the engine takes it."""
    async with running(Role.DECODE) as (prefiller, offers), running(Role.PREFILL) as (decoder, sink):
        assert not prefiller.role_is_fixed
        prefill = job(1, JobKind.PREFILL, max_tokens=30)
        decoder.submit(adoption_of(await offer(prefiller, offers, prefill), prefill, 2))
        decoder.submit(job(3))
        await sink.ended(2, 3)
        assert offers.offered[1].token_ids + sink.tokens[2] == expected_tokens(prefill.prompt, 30)
        assert sink.tokens[3] == expected_tokens(job(3).prompt, 20)


async def test_an_engine_of_one_role_says_so_and_adopts_nothing() -> None:
    fixed = "role-is-fixed=true"
    async with running(Role.PREFILL, fixed) as (prefiller, offers):
        assert prefiller.role_is_fixed
        prefill = job(1, JobKind.PREFILL)
        prefiller.submit(adoption_of(await offer(prefiller, offers, prefill), prefill, 2))
        await offers.ended(2)
        assert offers.failed[2].kind is FailureKind.ENGINE


async def test_corrupt_kv_gives_as_many_tokens_and_no_error() -> None:
    """What the sentinel is there for: only a second computation shows it."""
    async with (
        running(Role.PREFILL) as (prefiller, offers),
        running(Role.DECODE, "corrupt-adopted=true") as (decoder, sink),
    ):
        prefill = job(1, JobKind.PREFILL)
        decoder.submit(adoption_of(await offer(prefiller, offers, prefill), prefill, 2))
        decoder.submit(job(3, prompt=prefill.prompt))
        await sink.ended(2, 3)
        right = expected_tokens(prefill.prompt, 20)
        assert not sink.failed
        assert sink.tokens[3] == right
        assert len(sink.tokens[2]) == 19
        assert sink.tokens[2] != right[1:]


async def test_what_the_decode_side_has_cached_does_not_travel() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL, prompt_tokens=40)
        decoder.submit(job(9, prompt=prefill.prompt, max_tokens=1))
        await sink.ended(9)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert sink.adopted[2].kv_size_bytes == 0
        assert offered.token_ids + sink.tokens[2] == expected_tokens(prefill.prompt, 20)


async def test_an_answer_of_one_token_is_not_offered() -> None:
    async with running(Role.PREFILL) as (prefiller, sink):
        prefiller.submit(job(1, JobKind.PREFILL, max_tokens=1))
        await sink.ended(1)
        assert sink.finished[1].reason is FinishReason.LENGTH
        assert sink.tokens[1] == expected_tokens(job(1).prompt, 1)
        assert prefiller.load().kv_blocks_free == 256


async def test_nobody_adopts_a_handoff_twice() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        decoder.submit(adoption_of(offered, prefill, 3))
        await sink.ended(2, 3)
        assert len(sink.finished) == len(sink.failed) == 1
        (failed,) = sink.failed.values()
        assert failed.kind is FailureKind.HANDOFF
        assert len(offers.released) == 1


async def test_release_frees_once_and_later_pulls_fail() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        prefiller.abort([1])
        assert prefiller.load().kv_blocks_free < 256, "an abort after the offer leaves the KV alone"
        prefiller.release([offered.handoff_id, offered.handoff_id, "unknown"])
        assert prefiller.load().kv_blocks_free == 256
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert sink.failed[2].kind is FailureKind.HANDOFF
        assert offers.released == [HandoffReleased(offered.handoff_id)]


async def test_an_expired_lease_frees_and_says_so() -> None:
    async with running(Role.PREFILL, "handoff-lease-ms=30") as (prefiller, offers):
        offered = await offer(prefiller, offers, job(1, JobKind.PREFILL))
        await offers.until(lambda: bool(offers.released))
        assert offers.released == [HandoffReleased(offered.handoff_id, expired=True)]
        assert prefiller.load().kv_blocks_free == 256


async def test_kv_that_expires_on_the_way_is_not_used() -> None:
    arguments = ("handoff-lease-ms=30", "handoff-latency-ms=150")
    async with (
        running(Role.PREFILL, *arguments) as (prefiller, offers),
        running(Role.DECODE) as (decoder, sink),
    ):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert sink.failed[2].kind is FailureKind.HANDOFF
        assert "gone" in sink.failed[2].message
        assert sink.tokens[2] == tokens()


async def test_abort_during_the_pull_frees_both_sides() -> None:
    async with (
        running(Role.PREFILL, "handoff-latency-ms=5000") as (prefiller, offers),
        running(Role.DECODE) as (decoder, sink),
    ):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        while decoder.load().kv_blocks_free == 256:
            await asyncio.sleep(0.001)
        decoder.abort([2])
        assert decoder.load().kv_blocks_free == 256
        await offers.until(lambda: bool(offers.released))
        assert prefiller.load().kv_blocks_free == 256
        assert not sink.adopted
        assert not sink.failed
        await asyncio.sleep(0)
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "sim-pull"]


async def test_an_adopted_stream_can_be_preempted() -> None:
    async with (
        running(Role.PREFILL) as (prefiller, offers),
        running(Role.DECODE, "kv-blocks=40", "max-model-len=160") as (decoder, sink),
    ):
        jobs = [job(n, JobKind.PREFILL, prompt_tokens=10 + n, max_tokens=100) for n in range(1, 9)]
        for prefill in jobs:
            decoder.submit(adoption_of(await offer(prefiller, offers, prefill), prefill, prefill.stream))
        await sink.ended(*range(1, 9))
        assert not sink.failed
        for prefill in jobs:
            first = offers.offered[prefill.stream].token_ids
            assert first + sink.tokens[prefill.stream] == expected_tokens(prefill.prompt, 100)


async def test_abort_before_the_pull_drops_the_handoff() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, _):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        decoder.abort([2])
        await offers.until(lambda: bool(offers.released))


async def test_an_adoption_without_room_fails_when_its_ticket_ends() -> None:
    small = ("kv-blocks=20", "max-model-len=80", "step-ms=1")
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE, *small) as (decoder, sink):
        decoder.submit(job(9, prompt_tokens=70, sampling=Sampling(max_tokens=10)))
        decoder.set_faults(Faults(slow_factor=100))
        prefill = job(1, JobKind.PREFILL, prompt_tokens=40)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2, expires_in_ms=50))
        await sink.ended(2)
        assert sink.failed[2].kind is FailureKind.HANDOFF
        await offers.until(lambda: bool(offers.released))


async def test_kv_of_another_text_is_refused() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        other = replace(prefill, prompt=job(5).prompt)
        decoder.submit(adoption_of(offered, other, 2))
        await sink.ended(2)
        assert "another text" in sink.failed[2].message


@pytest.mark.parametrize(
    ("prefill_faults", "decode_faults", "words"),
    [
        (Faults(corrupt_handoff_every=1), Faults(), "damaged"),
        (Faults(refuse_pulls=True), Faults(), "did not arrive"),
        (Faults(), Faults(fail_handoff_every=1), "told to fail"),
    ],
)
async def test_faults_end_in_a_failed_handoff_and_never_in_tokens(
    prefill_faults: Faults, decode_faults: Faults, words: str
) -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefiller.set_faults(prefill_faults)
        decoder.set_faults(decode_faults)
        prefill = job(1, JobKind.PREFILL)
        offered = await offer(prefiller, offers, prefill)
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert sink.failed[2].kind is FailureKind.HANDOFF
        assert words in sink.failed[2].message
        assert sink.tokens[2] == tokens()
        assert decoder.load().kv_blocks_free == 256
        await offers.until(lambda: bool(offers.released))


async def test_a_ticket_of_another_connector_fails() -> None:
    async with running(Role.PREFILL) as (prefiller, offers), running(Role.DECODE) as (decoder, sink):
        prefill = job(1, JobKind.PREFILL)
        offered = replace(await offer(prefiller, offers, prefill), connector_params=b'{"nixl": 1}')
        decoder.submit(adoption_of(offered, prefill, 2))
        await sink.ended(2)
        assert sink.failed[2].kind is FailureKind.HANDOFF


async def test_handoff_between_processes_and_death_of_the_other() -> None:
    """Two offers of another process: one is adopted, then the process is killed before the other is."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.unit.engine_sim.offering_process"),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout is not None
        lines = [json.loads(await process.stdout.readline()) for _ in range(2)]
        async with running(Role.DECODE) as (decoder, sink):
            decoder.submit(_adoption(lines[0]))
            await sink.ended(1)
            assert tokens(lines[0]["first"]) + sink.tokens[1] == expected_tokens(job(1).prompt, 20)
            process.kill()
            await process.wait()
            decoder.submit(_adoption(lines[1]))
            await sink.ended(2)
            assert sink.failed[2].kind is FailureKind.HANDOFF
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _adoption(line: dict[str, object]) -> Job:
    stream = int(str(line["stream"]))
    offered = HandoffOffered(
        stream=stream,
        handoff_id=str(line["handoff_id"]),
        connector_params=str(line["params"]).encode(),
        kv_tokens=10,
        kv_blocks=3,
        kv_size_bytes=0,
        lease_ms=1000,
        token_ids=tokens(line["first"]),  # type: ignore[arg-type]
    )
    return adoption_of(offered, job(stream, JobKind.PREFILL), stream)
