"""The replay: tokens that the caller already has become the engine's own output again.

Penalties count output tokens only, a seeded generator draws once for each of them whatever the logits are,
and a grammar advances with them. So a request that goes on elsewhere generates its delivered tokens once
more, with every other token ruled out, and is then in the state of a request that was never disturbed.
Runs in vLLM's engine process; loaded by module path.
"""

from typing import Any

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from services.worker.engine.vllm.sampling import DELIVERED

Replay = tuple[list[int], list[int]]
"""The tokens to generate again, and the request's output so far: vLLM's own list, which grows."""


class ReplayProcessor(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token to choose from where a request has to generate it again.

    Of the output only the length is read: its last entries may be placeholders.
    """

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._replays: dict[int, Replay] = {}

    def is_argmax_invariant(self) -> bool:
        """It decides greedy choices too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the batch's rows, and forget what has been replayed."""
        process_dict_updates(self._replays, batch_update, _replay)
        if self._replays:
            self._replays = {row: one for row, one in self._replays.items() if len(one[1]) < len(one[0])}

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Rule out all but the next token of each replay; changes `logits`, [rows, vocabulary], in place."""
        for row, (delivered, output) in self._replays.items():
            logits[row] = float("-inf")
            logits[row, delivered[len(output)]] = 0.0
        return logits


def _replay(params: SamplingParams, _prompt: list[int] | None, output: list[int]) -> Replay | None:
    delivered = (params.extra_args or {}).get(DELIVERED)
    return (delivered, output) if delivered else None


def replays(request: Any) -> bool:
    """Whether this request of vLLM's scheduler generates delivered tokens again."""
    params = request.sampling_params
    return params is not None and DELIVERED in (params.extra_args or {})
