"""How fast vLLM's engine loop turns while it only waits. Runs in the engine process."""

import time

from vllm.forward_context import ForwardContext

IDLE_STEPS = 50
"""So many steps without a forward pass, about 1 ms each, before the pace goes down."""
IDLE_STEP_S = 0.01


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
