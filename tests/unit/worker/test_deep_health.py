"""Deep health: when an idle engine is asked, and what follows from its answers."""

import asyncio
from collections.abc import Callable

import pytest

from services.common.errors import EngineUnhealthy
from services.worker.deep_health import FAILURES_MAX, DeepHealth


class Engine:
    """Answers checks as told; the last answer is for ever."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        good = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not good:
            raise EngineUnhealthy("no token came")


class Server:
    """Remembers what was said of readiness."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    async def set_serving(self, serving: bool) -> None:
        self.said.append(serving)


async def run_until(health: DeepHealth, server: Server, is_met: Callable[[], bool]) -> None:
    running = asyncio.create_task(health.run(server))
    async with asyncio.timeout(20):
        while not is_met() and not running.done():
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    if not running.cancelled():
        running.result()


async def test_an_idle_engine_is_asked_again_and_again() -> None:
    engine, server = Engine(True), Server()
    await run_until(DeepHealth(engine, lambda: 0, 1), server, lambda: engine.checks >= 3)
    assert server.said == []


async def test_an_engine_that_steps_is_left_alone() -> None:
    engine, server, steps = Engine(False), Server(), iter(range(1_000_000))
    asked = 0

    def count() -> int:
        nonlocal asked
        asked += 1
        return next(steps)

    await run_until(DeepHealth(engine, count, 1), server, lambda: asked > 6)
    assert engine.checks == 0


async def test_one_failed_check_is_not_ready_until_a_good_one() -> None:
    engine, server = Engine(True, False, True), Server()
    await run_until(DeepHealth(engine, lambda: 0, 1), server, lambda: len(server.said) == 2)
    assert server.said == [False, True]


async def test_failures_in_a_row_end_the_process() -> None:
    engine, server = Engine(False), Server()
    with pytest.raises(EngineUnhealthy, match="no token came"):
        await run_until(DeepHealth(engine, lambda: 0, 1), server, lambda: engine.checks > FAILURES_MAX)
    assert engine.checks == FAILURES_MAX


async def test_switched_off_it_asks_nothing() -> None:
    engine = Engine(False)
    await DeepHealth(engine, lambda: 0, 0).run(Server())
    assert engine.checks == 0
