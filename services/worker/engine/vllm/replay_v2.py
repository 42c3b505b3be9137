"""The replay (see `replay`) for vLLM's second model runner, whose logits processors are of another kind.

Runs in vLLM's engine process; loaded by module path.
"""

from typing import TYPE_CHECKING

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor

from services.worker.engine.vllm.sampling import DELIVERED

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsContext, LogitsProcRequestState


class ReplayProcessorV2(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token to choose from where a request has to generate it again.

    Without drafts, a batch has one row of logits for each request, and its length is known on the host.
    """

    def __init__(self, vllm_config: VllmConfig, req_states: "LogitsProcRequestState") -> None:
        self._prompt_len = req_states.prompt_len
        self._delivered: dict[int, list[int]] = {}
        """By request slot; slots are used again."""

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Note what a request has to replay; whether it has to."""
        self._delivered.pop(req_idx, None)
        delivered = (sampling_params.extra_args or {}).get(DELIVERED)
        if delivered:
            self._delivered[req_idx] = delivered
        return bool(delivered)

    def apply(self, logits: torch.Tensor, ctx: "LogitsContext") -> torch.Tensor:
        """Rule out all but the next token of each replay; changes `logits`, [rows, vocabulary], in place."""
        rows, forced = self._forced(ctx) if self._delivered else ([], [])
        if rows:
            at = torch.tensor(rows, device=logits.device)
            logits[at] = float("-inf")
            logits[at, torch.tensor(forced, device=logits.device)] = 0.0
        return logits

    def _forced(self, ctx: "LogitsContext") -> tuple[list[int], list[int]]:
        """Rows to force, and the token of each. A row within its prompt samples nothing that is kept."""
        rows, forced = [], []
        for row, slot in enumerate(ctx.idx_mapping_np.tolist()):
            delivered = self._delivered.get(slot)
            if delivered is None:
                continue
            generated = int(ctx.seq_lens_upper_bound_np[row]) - int(self._prompt_len.np[slot])
            if 0 <= generated < len(delivered):
                rows.append(row)
                forced.append(delivered[generated])
        return rows, forced
