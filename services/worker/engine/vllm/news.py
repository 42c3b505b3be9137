"""How the connector, deep in vLLM's engine process, reports on handoffs.

vLLM carries a connector's statistics from its workers over the scheduler to the front with every engine step.
`HandoffNews` rides there: NIXL's own counters and, beside them, what happened to which request.
"""

from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.metrics import KVConnectorStats
from vllm.distributed.kv_transfer.kv_connector.v1.nixl.stats import NixlKVConnectorStats

PULLING = "pulling"
"""Decode side: request ids whose pull was handed to the workers."""
PULLED = "pulled"
"""Decode side, each rank: [request id, bytes, seconds, transport] of a pull that has ended well."""
FAILED = "failed"
"""Decode side, each rank: [request id, why] of a pull that has not."""
SETTLED = "settled"
"""Decode side: request ids whose pull has ended, well or not, on all ranks."""
FREED = "freed"
"""Prefill side: request ids whose offered blocks are free again, on all ranks."""
EXPIRED = "expired"
"""Prefill side, each rank: those of them whose lease ran out."""

_LISTS = (PULLING, PULLED, FAILED, SETTLED, FREED, EXPIRED)


class HandoffNews(NixlKVConnectorStats):  # type: ignore[misc]
    """NIXL's counters since the last step, with the fate of single handoffs."""

    def reset(self) -> None:
        """Start a new interval."""
        super().reset()
        self.data |= {name: [] for name in _LISTS}

    def note(self, kind: str, entry: Any) -> None:
        """Add one entry to one of this module's lists."""
        self.data[kind].append(entry)

    def is_empty(self) -> bool:
        """Whether there is nothing to report."""
        return super().is_empty() and not any(self.data[name] for name in _LISTS)

    def aggregate(self, other: KVConnectorStats) -> "HandoffNews":
        """Add another rank's or the scheduler's news."""
        for name, entries in other.data.items():
            self.data.setdefault(name, []).extend(entries)
        return self
