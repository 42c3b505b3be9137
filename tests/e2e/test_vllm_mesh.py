"""A whole mesh with real vLLM: one prefill and two decode workers behind router and gateway.

Engines alone are proved in `test_vllm_engine`; here the same tokens must come through the mesh, over
REST and over gRPC, and processes die under it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from openai import OpenAI

from services.cli.operator.client import OperatorClient
from services.common.domain import Path as KvPath
from services.common.domain import Role, Sampling, Structured, StructuredKind
from tests.e2e.adapter import build_adapter
from tests.e2e.references import Reference, crowd, prompt_of
from tests.e2e.token_client import TokenClient, connected
from tests.e2e.vllm_reference import TOKENS
from tests.mesh.harness import Mesh, cpu_s

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

GREEDY = Sampling(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
LONG = Sampling(max_tokens=400, temperature=0.0, ignore_eos=True)
SHAPED = Sampling(
    max_tokens=200,
    temperature=0.0,
    frequency_penalty=0.5,
    logprobs=1,
    structured=Structured(StructuredKind.REGEX, "([a-z]{3,9} ){20,25}[.]"),
)
"""What cannot go on from a longer prompt: a grammar, and a penalty that counts output."""
LOCAL_PROMPT_TOKENS_MAX = 64
IDLE_S = 5.0
START_S_MAX = 300.0
RESTART_S_MAX = 200.0


@pytest.fixture(scope="module")
def mesh(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    adapter = build_adapter(tmp_path_factory.mktemp("adapter") / "style")
    flags = ("--decode", "2", "--dtype", "float32", "--max-model-len", "4096")
    flags += ("--lora-adapter", f"style={adapter}")
    with Mesh(model, tmp_path_factory.mktemp("mesh"), *flags, start_s_max=START_S_MAX) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: Mesh, model: Path) -> AsyncIterator[TokenClient]:
    async with connected(mesh.facts["urls"]["router"], model.name, mesh.security) as connection:
        yield connection


def path_of(prompt: list[int]) -> KvPath:
    return KvPath.LOCAL if len(prompt) <= LOCAL_PROMPT_TOKENS_MAX else KvPath.DISAGGREGATED


@pytest.mark.parametrize("length", [5, 127, 128, 129, 600, 2000])
async def test_tokens_equal_monolithic_vllm(client: TokenClient, reference: Reference, length: int) -> None:
    prompt = prompt_of(length)
    stream = await client.answer(prompt, GREEDY)
    assert stream.ids == reference[tuple(prompt)]
    assert stream.receipt is not None
    assert (stream.receipt.path, stream.receipt.retries) == (path_of(prompt), 0)
    if path_of(prompt) is KvPath.DISAGGREGATED:
        assert stream.receipt.kv_size_bytes > 0
        assert stream.receipt.prefill_worker == "prefill-1"


async def test_sixteen_at_once(client: TokenClient, reference: Reference) -> None:
    prompts = crowd()
    streams = await asyncio.gather(*(client.answer(p, GREEDY) for p in prompts))
    assert [s.ids for s in streams] == [reference[tuple(p)] for p in prompts]
    assert [s.receipt.path for s in streams] == [path_of(p) for p in prompts]


async def test_the_openai_client_unchanged(mesh: Mesh, model: Path) -> None:
    await asyncio.to_thread(_ask_with_openai, mesh.url, model.name)


def _ask_with_openai(url: str, model: str) -> None:
    question = [{"role": "user", "content": "Tell me of handoffs, at some length. " * 4}]
    with OpenAI(base_url=f"{url}/v1", api_key="none") as openai:
        options = {"model": model, "messages": question, "max_tokens": 20, "temperature": 0.0}
        whole = openai.chat.completions.with_raw_response.create(**options)
        assert whole.headers["x-pdmesh-path"] == "disaggregated"
        chunks = openai.chat.completions.create(**options, stream=True)
        streamed = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    answer = whole.parse()
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 20
    assert streamed == answer.choices[0].message.content


async def test_an_idle_mesh_does_not_spin(mesh: Mesh) -> None:
    """NIXL's progress thread takes a whole core of each idle worker unless it is told to sleep."""
    before, begin = {name: _tree_cpu_s(pid) for name, pid in mesh.pids.items()}, time.monotonic()
    await asyncio.sleep(IDLE_S)
    span_s = time.monotonic() - begin
    shares = {name: (_tree_cpu_s(pid) - before[name]) / span_s for name, pid in mesh.pids.items()}
    print({name: f"{share:.1%}" for name, share in shares.items()})
    assert max(shares.values()) < 0.5, shares


def _tree_cpu_s(pid: int) -> float:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_s(pid) + sum(_tree_cpu_s(int(child)) for child in children)


async def test_an_adapters_kv_is_handed_over(client: TokenClient) -> None:
    prompt = prompt_of(300, seed=4_000)
    plain, first, again = [await client.answer(prompt, GREEDY, lora) for lora in ("", "style", "style")]
    assert (plain.error, first.error) == (None, None)
    assert {s.receipt.path for s in (plain, first)} == {KvPath.DISAGGREGATED}
    assert first.ids == again.ids != plain.ids
    unknown = await client.answer(prompt, GREEDY, "unknown")
    assert unknown.error is not None
    assert unknown.error.reason == "no_workers"


async def _busiest(mesh: Mesh) -> str:
    """The decode worker with most requests."""
    async with OperatorClient(mesh.facts["urls"]["router"], 5_000, mesh.security) as operator:
        fleet = await operator.fleet()
    decode = [worker for worker in fleet.workers if worker.role == int(Role.DECODE)]
    return max(decode, key=lambda worker: worker.running_requests).worker_id


async def test_a_killed_decode_worker_costs_no_token(client: TokenClient, mesh: Mesh) -> None:
    """Long streams of three kinds with a kill once each has some tokens; and the same ones undisturbed."""
    kinds = [(LONG, ""), (SHAPED, ""), (LONG, "style")] * 2
    asked = [(prompt_of(300, seed=1_000 + i), *kind) for i, kind in enumerate(kinds)]
    undisturbed = await asyncio.gather(*(client.answer(*one) for one in asked))
    assert [s.error for s in undisturbed] == [None] * len(asked)
    streams = [client.submit(*one) for one in asked]
    while any(len(s.ids) < 10 for s in streams):
        await asyncio.sleep(0.005)
    killed = await _busiest(mesh)
    mesh.send(killed)
    await asyncio.gather(*(s.ended.wait() for s in streams))
    assert [s.error for s in streams] == [None] * len(asked)
    for stream, same in zip(streams, undisturbed, strict=True):
        assert stream.ids == same.ids
        assert stream.chosen == pytest.approx(same.chosen, abs=1e-3)
        assert len(stream.chosen) in (0, len(stream.ids))
    moved = [s.receipt for s in streams if s.receipt.retries]
    assert {r.decode_worker for r in moved} == {"decode-1", "decode-2"} - {killed}


async def test_a_killed_prefill_worker_costs_no_token(client: TokenClient, mesh: Mesh) -> None:
    killed = [mesh.send("prefill-1")]
    prompts = [prompt_of(600, seed=2_000 + i) for i in range(4)]
    streams = await asyncio.gather(*(client.answer(p, GREEDY) for p in prompts))
    assert [s.error for s in streams] == [None] * 4
    assert {s.receipt.path for s in streams} == {KvPath.LOCAL}
    await asyncio.to_thread(mesh.wait_restarted, "prefill-1", killed[0], RESTART_S_MAX)
    again = await asyncio.gather(*(client.answer(prompt_of(600, seed=3_000 + i), GREEDY) for i in range(2)))
    assert {s.receipt.path for s in again} == {KvPath.DISAGGREGATED}
