"""A short request of the engine's own, for its deep health check."""

import asyncio
from dataclasses import dataclass
from typing import Any

from services.common.errors import EngineUnhealthy


@dataclass(slots=True)
class Probe:
    """Counts what one internal request makes: tokens, or a vector's numbers."""

    done: "asyncio.Future[int]"
    made: int = 0

    def feed(self, output: Any) -> None:
        """Take one step's output; completes on the request's end."""
        self.made += len(output.new_token_ids)
        if output.pooling_output is not None:
            self.made += output.pooling_output.numel()
        if output.finish_reason is None or self.done.done():
            return
        if str(output.finish_reason) in ("stop", "length"):
            self.done.set_result(self.made)
        else:
            self.fail(EngineUnhealthy(f"vLLM ended the check with {output.finish_reason}"))

    def fail(self, error: EngineUnhealthy) -> None:
        """Complete with an error, once."""
        if not self.done.done():
            self.done.set_exception(error)
