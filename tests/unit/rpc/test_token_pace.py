"""Frames of tokens are as far apart as joins many streams' tokens and holds none back for its own next."""

from collections import defaultdict

import pytest

from services.common.rpc.token_pace import INTERVAL_MS_LEAST, STREAMS_FEW, TokenPace

INTERVAL_MS = 4.0
STEPS = 200


class Sender:
    """What a link does with tokens: sends them when they are due, and tells the pace what waited together."""

    def __init__(self) -> None:
        self.pace = TokenPace(INTERVAL_MS, 0.0)
        self.frames: list[list[int]] = []
        self._waiting: list[int] = []
        self._has_joined = False

    def arrive(self, now_ms: float, streams: list[int]) -> None:
        """A step's tokens."""
        if self._waiting and self.pace.due_ms < now_ms:
            self._send(self.pace.due_ms)
        self._has_joined = bool(self._waiting)
        self._waiting += streams
        if now_ms >= self.pace.due_ms:
            self._send(now_ms)

    def _send(self, now_ms: float) -> None:
        self.pace.sent(now_ms)
        if self._has_joined:
            self.pace.joined(self._waiting)
        self.frames.append(self._waiting)
        self._waiting, self._has_joined = [], False


def play(streams: int, token_ms: float, *, lock_step: bool = False) -> tuple[TokenPace, float]:
    """So many streams, each with a token so often: the pace, and of the later frames the share with pairs."""
    apart_ms = 0.0 if lock_step else token_ms / streams
    steps: dict[float, list[int]] = defaultdict(list)
    for step in range(1, STEPS):
        for stream in range(streams):
            steps[step * token_ms + stream * apart_ms].append(stream)
    sender = Sender()
    for now_ms in sorted(steps):
        sender.arrive(now_ms, steps[now_ms])
    later = sender.frames[len(sender.frames) // 2 :]
    return sender.pace, sum(len(set(frame)) < len(frame) for frame in later) / len(later)


@pytest.mark.parametrize("streams", [1, 2, STREAMS_FEW])
@pytest.mark.parametrize("token_ms", [1.0, 1.7, 3.0])
def test_few_fast_streams_are_not_held_back(streams: int, token_ms: float) -> None:
    _, pairs = play(streams, token_ms, lock_step=True)
    assert pairs == 0
    pace, pairs = play(streams, token_ms)
    assert pairs < 0.1
    assert pace.interval_ms < token_ms


@pytest.mark.parametrize(("streams", "token_ms"), [(64, 12.8), (256, 20.0), (1, 20.0), (5, 8.0)])
def test_slower_ones_keep_the_interval(streams: int, token_ms: float) -> None:
    for lock_step in (False, True):
        pace, pairs = play(streams, token_ms, lock_step=lock_step)
        assert pace.interval_ms == INTERVAL_MS
        assert pairs == 0


def test_many_fast_streams_keep_it_too() -> None:
    assert play(64, 1.7)[0].interval_ms == INTERVAL_MS


def test_it_is_never_shorter_than_its_least_and_comes_back() -> None:
    pace = TokenPace(INTERVAL_MS, 0.0)
    for _ in range(20):
        pace.joined([1, 1])
    assert pace.interval_ms == INTERVAL_MS_LEAST
    for _ in range(200):
        pace.joined(range(100))
    assert pace.interval_ms == INTERVAL_MS


def test_without_an_interval_nothing_waits() -> None:
    pace = TokenPace(0, 5.0)
    pace.joined([1, 1])
    pace.sent(7.0)
    assert (pace.interval_ms, pace.due_ms) == (0.0, 7.0)
