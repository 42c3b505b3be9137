"""A process that another has started ends with it, though it may be loading when the other is killed."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection

import pytest

from services.worker.engine.vllm.parent import follow_parent


def _child(wire: Connection, is_late: bool) -> None:
    if not is_late:
        follow_parent()
    first = os.getppid()
    wire.send(os.getpid())
    while os.getppid() == first:
        time.sleep(0.01)
    if is_late:
        follow_parent()
    time.sleep(60)


def _worker(method: str, wire: Connection, is_late: bool) -> None:
    multiprocessing.get_context(method).Process(target=_child, args=(wire, is_late)).start()  # type: ignore[attr-defined]
    time.sleep(60)


@pytest.mark.parametrize(("method", "is_late"), [("fork", False), ("fork", True), ("spawn", True)])
def test_a_killed_worker_leaves_nothing_whenever_the_child_begins_to_follow(
    method: str, is_late: bool
) -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=_worker, args=(method, theirs, is_late))
    worker.start()
    theirs.close()
    child = ours.recv()
    try:
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        # The pipe is open for as long as somebody lives who holds it.
        assert ours.poll(10.0), "the child lives on"
        with pytest.raises(EOFError):
            ours.recv()
    finally:
        worker.kill()
        if not ours.poll(0):
            os.kill(child, signal.SIGKILL)
