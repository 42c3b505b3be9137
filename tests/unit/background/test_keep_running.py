"""A background task outlives its failures, and says so once for each."""

import asyncio
import importlib

import pytest

from services.common.background import keep_running
from services.common.background.metrics import FAILURES
from services.common.errors import EngineUnhealthy, MeshError

EMFILE = OSError(24, "Too many open files")


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(importlib.import_module("services.common.background.keep_running"), "RETRY_S", 0.0)


class Work:
    """Raises one error after the other, then ends."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def run(self) -> None:
        if self._errors:
            raise self._errors.pop(0)


def failures(name: str) -> float:
    return FAILURES.labels(name)._value.get()


async def test_it_begins_again_after_any_error_and_counts_each(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(EMFILE, EMFILE, KeyError("answer"), EMFILE)
    await keep_running("any work", work.run)
    assert failures("any work") == 4
    said = [record.message for record in caplog.records]
    assert ["Errno 24" in line for line in said] == [True, False, True]


async def test_an_error_that_is_fatal_comes_out() -> None:
    work = Work(EMFILE, EngineUnhealthy("gone"))
    with pytest.raises(EngineUnhealthy):
        await keep_running("an engine", work.run, fatal=(MeshError,))
    assert failures("an engine") == 1


async def test_a_cancellation_ends_it() -> None:
    task = asyncio.ensure_future(keep_running("waiting", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
