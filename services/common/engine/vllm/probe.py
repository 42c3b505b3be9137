"""A short generation of the engine's own, for its deep health check."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from services.common.errors import EngineUnhealthy


@dataclass(slots=True)
class Probe:
    """Collects one internal request's tokens."""

    done: "asyncio.Future[list[int]]"
    generated: list[int] = field(default_factory=list)

    def feed(self, output: Any) -> None:
        """Take one step's output; completes on the request's end."""
        self.generated.extend(output.new_token_ids)
        if output.finish_reason is None or self.done.done():
            return
        if str(output.finish_reason) in ("stop", "length"):
            self.done.set_result(self.generated)
        else:
            self.fail(EngineUnhealthy(f"vLLM ended the check with {output.finish_reason}"))

    def fail(self, error: EngineUnhealthy) -> None:
        """Complete with an error, once."""
        if not self.done.done():
            self.done.set_exception(error)
