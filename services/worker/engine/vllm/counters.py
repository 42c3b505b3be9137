"""Running totals that prove where prompt tokens came from and what NIXL moved."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Pulled(NamedTuple):
    """One request's KV, as far as its ranks have it."""

    size_bytes: int
    seconds: float
    """Of the slowest rank."""
    transport: str


NOTHING = Pulled(0, 0.0, "")


@dataclass(slots=True)
class Counters:
    """Totals since the engine's start."""

    totals: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            (
                "prompt_tokens_local_compute",
                "prompt_tokens_local_cache_hit",
                "prompt_tokens_external_kv_transfer",
                "nixl_bytes",
                "nixl_transfers",
                "nixl_descriptors",
                "nixl_transfer_seconds",
                "nixl_failed_transfers",
                "nixl_failed_handshakes",
                "nixl_failed_notifications",
                "nixl_num_kv_expired_reqs",
                "nixl_notifications_after_expiry",
            ),
            0.0,
        )
    )
    _pulled: dict[str, Pulled] = field(default_factory=dict)

    def count_prefill(self, stats: Any) -> None:
        """Add one request's vLLM PrefillStats."""
        self.totals["prompt_tokens_local_compute"] += stats.num_computed_tokens
        self.totals["prompt_tokens_local_cache_hit"] += stats.num_local_cached_tokens
        self.totals["prompt_tokens_external_kv_transfer"] += stats.num_external_cached_tokens

    def take_in(self, news: dict[str, list[Any]]) -> dict[str, Pulled]:
        """Add one step's `HandoffNews`; returns what is known of pulls that have ended on some rank.

        The caller removes entries of settled requests.
        """
        self.totals["nixl_bytes"] += sum(news["bytes_transferred"])
        self.totals["nixl_transfers"] += len(news["bytes_transferred"])
        self.totals["nixl_descriptors"] += sum(news["num_descriptors"])
        self.totals["nixl_transfer_seconds"] += sum(news["transfer_duration"])
        self.totals["nixl_failed_transfers"] += len(news["num_failed_transfers"])
        self.totals["nixl_failed_handshakes"] += len(news["num_failed_handshakes"])
        self.totals["nixl_failed_notifications"] += len(news["num_failed_notifications"])
        self.totals["nixl_num_kv_expired_reqs"] += len(news["num_kv_expired_reqs"])
        self.totals["nixl_notifications_after_expiry"] += len(news["num_notifications_after_expiry"])
        for request_id, size_bytes, seconds, transport in news["pulled"]:
            known = self._pulled.get(request_id, NOTHING)
            self._pulled[request_id] = Pulled(
                known.size_bytes + size_bytes, max(known.seconds, seconds), transport or known.transport
            )
        return self._pulled
