"""The demo model through the mesh and through vLLM alone: equal tokens, equal scores, right answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from services.common.domain import Path as KvPath
from services.common.domain import Sampling
from tests.e2e.demo_questions import DEMO_MODEL, Question, question
from tests.e2e.references import Reference, complete
from tests.e2e.token_client import TokenClient, connected
from tests.mesh.harness import Mesh
from tools.demo_model import prompts
from tools.demo_model.backends import OpenAiServer
from tools.demo_model.evaluate import Scores, score

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

START_S_MAX = 300.0
TOKENS_MAX = 72
"""The longest answer of the sample."""
SHARE_RIGHT_MIN = 0.9
"""Of the sample's repeats and look-ups; the model card has the figures of many more."""

SURE = [(task, length, index) for task in ("repeat", "lookup") for length in (250, 500) for index in range(5)]
OTHERS = [
    *((task, length, 0) for task in ("recall", "first_message") for length in (250, 1000)),
    *((task, 0, index) for task in prompts.SHORT_TASKS for index in range(2)),
]


@pytest.fixture(scope="module")
def sample() -> list[Question]:
    made = [question(*cell) for cell in (*SURE, *OTHERS)]
    assert max(len(asked.wanted) for asked in made) <= TOKENS_MAX
    return made


@pytest.fixture(scope="module")
def alone(sample: list[Question]) -> Reference:
    """What vLLM by itself generates."""
    return complete(DEMO_MODEL, [list(asked.ids) for asked in sample], TOKENS_MAX)


@pytest.fixture(scope="module")
def mesh(alone: Reference, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    flags = ("--dtype", "float32", "--max-model-len", "4096")
    with Mesh(DEMO_MODEL, tmp_path_factory.mktemp("mesh"), *flags, start_s_max=START_S_MAX) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mesh: Mesh) -> AsyncIterator[TokenClient]:
    async with connected(mesh.facts["urls"]["router"], DEMO_MODEL.name, mesh.security) as connection:
        yield connection


async def test_tokens_equal_vllm_alone(client: TokenClient, sample: list[Question], alone: Reference) -> None:
    greedy = Sampling(max_tokens=TOKENS_MAX, temperature=0.0, ignore_eos=True)
    streams = await asyncio.gather(*(client.answer(list(asked.ids), greedy) for asked in sample))
    assert [stream.ids for stream in streams] == [alone[asked.ids] for asked in sample]
    long = [s for s, asked in zip(streams, sample, strict=True) if len(asked.ids) > 200]
    assert {s.receipt.path for s in long if s.receipt is not None} == {KvPath.DISAGGREGATED}


async def test_scores_over_rest_equal_those_of_vllm_alone(
    mesh: Mesh, sample: list[Question], alone: Reference
) -> None:
    asked = [a for a in sample if not a.prompt.tools]
    server = OpenAiServer(f"{mesh.url}/v1", DEMO_MODEL.name, "none", DEMO_MODEL)
    over_rest = await asyncio.to_thread(score, server, [(0, a.prompt) for a in asked], 4)
    assert over_rest == scores_of(asked, alone)


def scores_of(asked: list[Question], alone: Reference) -> Scores:
    """By task, whatever the length, as `score` does it."""
    tasks = dict.fromkeys(a.prompt.task for a in asked)
    right = {t: [a.is_answered_by(alone[a.ids]) for a in asked if a.prompt.task == t] for t in tasks}
    return {task: {0: sum(verdicts) / len(verdicts)} for task, verdicts in right.items()}


async def test_repeats_and_look_ups_are_right(sample: list[Question], alone: Reference) -> None:
    sure = [asked.is_answered_by(alone[asked.ids]) for asked in sample[: len(SURE)]]
    assert sum(sure) / len(sure) >= SHARE_RIGHT_MIN
