"""Loads: read from one line or a trace, refused in one line where they make no sense."""

from random import Random

import pytest

from services.common.errors import BadSetting
from services.planner.load.ask import Ask
from services.planner.load.lengths import Drawn
from services.planner.load.parse import parse_load
from services.planner.load.sources import ClosedLoop, OpenLoop, Phase, Replay
from services.planner.load.trace import read_trace
from services.planner.world.timeline import Timeline

DRAWN = Drawn(100, 50, "fixed")


class Recorder(Timeline):
    """Answers every request at once."""

    def __init__(self, answer_ms: float = 10.0) -> None:
        super().__init__()
        self.random, self.answer_ms = Random(1), answer_ms
        self.asked: list[tuple[float, Ask]] = []

    def ask(self, ask: Ask, then=None) -> None:
        self.asked.append((self.now_ms, ask))
        if then is not None:
            self.at(self.answer_ms, then)


def test_an_open_loop_keeps_its_rates() -> None:
    recorder = Recorder()
    OpenLoop(DRAWN, (Phase(100, 10_000), Phase(0, 5_000), Phase(400, 10_000))).begin(recorder)
    recorder.run(1e6)
    counts = [
        sum(low <= at < high for at, _ in recorder.asked)
        for low, high in ((0, 1e4), (1e4, 1.5e4), (1.5e4, 3e4))
    ]
    assert counts[0] == pytest.approx(1_000, rel=0.1)
    assert counts[1] == 0
    assert counts[2] == pytest.approx(4_000, rel=0.1)


def test_a_closed_loop_has_so_many_under_way() -> None:
    recorder = Recorder(answer_ms=100.0)
    ClosedLoop(DRAWN, clients=5, requests_each=4).begin(recorder)
    recorder.run(1e6)
    assert [at for at, _ in recorder.asked] == [0.0] * 5 + [100.0] * 5 + [200.0] * 5 + [300.0] * 5


def test_lengths_spread_as_they_are_told() -> None:
    chance = Random(2)
    even = [Drawn(1_000, 10).draw(chance).prompt_tokens for _ in range(2_000)]
    assert (min(even), max(even)) == (800, 1_000)
    skewed = [Drawn(1_000, 10, "lognormal").draw(chance).prompt_tokens for _ in range(5_000)]
    assert sum(skewed) / len(skewed) == pytest.approx(1_000, rel=0.05)
    assert max(skewed) > 3_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one of rate=20"),
        ("20", "unknown load 20"),
        ("rate=", "has no value"),
        ("rate=x", "is no number"),
        ("rate=0", "not between"),
        ("rate=-1", "not between"),
        ("rate=nan", "not between"),
        ("rate=5,rate=6", "twice"),
        ("rate=5,concurrency=6", "one of"),
        ("rate=5,burst=9", "burst=800@60s-90s"),
        ("rate=5,burst=9@9s-8s", "before it begins"),
        ("rate=5,burst=9@9-20s", "no unit"),
        ("rate=5,burst=9@9s-200s", "the load at 60s"),
        ("concurrency=0", "not between"),
        ("trace=/nowhere.csv", "cannot read"),
        ("raet=5", "did you mean rate"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_load(text, DRAWN, 60_000)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_burst_is_part_of_the_mean() -> None:
    load = parse_load("rate=10,burst=70@20s-30s", DRAWN, 60_000)
    assert (load.rate_per_s, load.peak_per_s) == (20, 70)


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3000, "input_length": 10, "output_length": 5}
"""


def test_both_published_forms_are_read(tmp_path) -> None:
    (tmp_path / "a.csv").write_text(AZURE)
    (tmp_path / "m.jsonl").write_text(MOONCAKE)
    (_, first), (at_ms, second) = read_trace(tmp_path / "a.csv")
    assert (first, second) == (Ask(374, 44), Ask(396, 109))
    assert at_ms == pytest.approx(4_314.579, abs=0.01)
    assert read_trace(tmp_path / "m.jsonl") == [(0, Ask(6_758, 500, (0, 1))), (3_000, Ask(10, 5))]
    load = parse_load(f"trace={tmp_path / 'm.jsonl'},speed=2", DRAWN, 60_000)
    recorder = Recorder()
    assert isinstance(load.source, Replay)
    load.source.begin(recorder)
    recorder.run(1e6)
    assert [at for at, _ in recorder.asked] == [0, 1_500]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no request"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "has no request"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "lacks the column GeneratedTokens"),
        (AZURE + "2023-11-16 18:15:5", ":4: half a line"),
        (AZURE + "2023-11-16 18:15:40.0,5,6\n", ":4: earlier than the line before"),
        (AZURE + "2023-11-16 18:15:59.0,0,6\n", "are no tokens"),
        (AZURE + "2023-11-16 18:15:59.0,-4,6\n", "are no tokens"),
        (AZURE + "2023-11-16 18:15:59.0,1e99,6\n", ":4: half a line"),
        (MOONCAKE + '{"timestamp": 4000, "inp', ":3: half a line"),
        (MOONCAKE + '{"timestamp": 1, "input_length": 1, "output_length": 1}', ":3: earlier"),
        (MOONCAKE + "[]", ":3: half a line"),
        ("hello\n", ":1: half a line"),
    ],
)
def test_a_trace_that_is_not_whole_names_file_and_line(tmp_path, text: str, words: str) -> None:
    (tmp_path / "trace").write_text(text)
    with pytest.raises(BadSetting) as caught:
        read_trace(tmp_path / "trace")
    assert words in caught.value.message
    assert "\n" not in caught.value.message
