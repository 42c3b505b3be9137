"""Step times of real engines in the sim engine."""

import pytest

from services.common.domain import Job, JobKind, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import BadSetting
from services.worker.engine.sim.continuation import Continuation, Vocabulary
from services.worker.engine.sim.options import parse
from services.worker.engine.sim.profiles import find_times, shipped_profiles
from services.worker.engine.sim.scheduler import StepPlan
from services.worker.engine.sim.sequence import Sequence

NAME = "h100-llama-3.3-70b-fp8-tp2"


def sequence(prompt_tokens: int, computed: int = 0) -> Sequence:
    job = Job(1, JobKind.LOCAL, "", tokens([7]) * prompt_tokens, Sampling(max_tokens=9))
    rules = Continuation(job.prompt, job.sampling, Vocabulary(), length_max=100)
    made = Sequence.of(job, rules, 0.0)
    made.computed = computed
    return made


def test_a_step_takes_what_the_gpu_takes() -> None:
    options = parse([f"profile={NAME}"])
    plan = StepPlan(chunks=[(sequence(3_000, 1_000), 2_000)], decoding=[sequence(600) for _ in range(64)])
    assert options.step_duration_ms(plan) == find_times(NAME).step_ms([(2_000, 1_000)], 64, 64 * 600)


def test_time_may_be_slowed() -> None:
    plan = StepPlan(decoding=[sequence(600)])
    usual, slow = (parse([f"profile={NAME}", f"time-scale={factor}"]) for factor in (1, 20))
    assert slow.step_duration_ms(plan) == 20 * usual.step_duration_ms(plan)


def test_the_gpus_memory_comes_with_its_times() -> None:
    options = parse([f"profile={NAME}"])
    assert options.profile.kv_token_bytes == 160 * 1024
    assert options.shape.kv_blocks * 16 * 160 * 1024 == pytest.approx(73.4e9, rel=0.01)
    assert parse([f"profile={NAME}", "kv-blocks=1000"]).shape.kv_blocks == 1_000


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_profile_that_comes_with_pdmesh_is_whole(name: str) -> None:
    times = find_times(name)
    assert times.source == "measured"
    assert 5 < times.decode_ms(1, 500) < times.decode_ms(64, 2_000) < 100


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("h100-llama-3.3-70b-fp8-tp3", "did you mean h100-llama-3.3-70b-fp8-tp"),
        ("smal", "did you mean small"),
        ("/nowhere/mine.json", "No such file"),
    ],
)
def test_an_unknown_profile_is_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse([f"profile={name}"])
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_is_no_profile_is_refused(tmp_path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(BadSetting, match="no timing profile"):
        parse([f"profile={tmp_path / 'mine.json'}"])
