"""Keeps vLLM's engine process in step with the worker that started it. Runs in the engine process."""

import os
import signal
import threading
import time

from vllm.forward_context import ForwardContext

PARENT_CHECK_S = 0.5
IDLE_STEPS = 50
"""So many steps without a forward pass, about 1 ms each, before the pace goes down."""
IDLE_STEP_S = 0.01


def follow_parent() -> None:
    """End this process when its parent is gone, and leave Ctrl-C to the parent.

    vLLM's engine process would outlive a killed worker, keeping its memory; and a terminal's Ctrl-C, which
    reaches both, would end it before the worker has drained.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True, name="mesh-parent-watch").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)


class IdlePace:
    """Slows the engine's loop while it only waits for offered KV to be settled.

    vLLM polls every millisecond then, at half a core for as long as a lease lasts.
    """

    def __init__(self) -> None:
        self._idle_steps = 0

    def step(self, context: ForwardContext, *, receiving: bool) -> None:
        """Sleep if this has been going on for a while; a pull in progress is polled at full pace."""
        if receiving or context.attn_metadata is not None:
            self._idle_steps = 0
            return
        self._idle_steps += 1
        if self._idle_steps > IDLE_STEPS:
            time.sleep(IDLE_STEP_S)
