"""The network between workers: handoffs that share their two ends' bandwidth."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkRates:
    """What moving one KV cache takes."""

    gb_per_s: float = 40.0
    """Of one worker's card, one way: 400 Gbit/s at 80 %."""
    latency_ms: float = 2.0
    """Fixed part: the decode side's request, the last acknowledgement."""
    descriptor_us: float = 0.5
    """Of each block in each layer, which travels by itself."""


class Link:
    """Cards that are busy until some time; a transfer needs both of its ends and waits for the later one."""

    def __init__(self, rates: LinkRates) -> None:
        self._rates = rates
        self._busy_until_ms: dict[int, float] = {}
        self.busy_ms = 0.0
        """Sum over transfers."""

    def transfer_ms(self, source: int, target: int, size_bytes: float, parts: int, now_ms: float) -> float:
        """How long from now a transfer takes; its ends are busy until then."""
        rates = self._rates
        wire_ms = size_bytes / rates.gb_per_s / 1e6 + parts * rates.descriptor_us / 1e3
        begins_ms = max(now_ms, self._busy_until_ms.get(source, 0.0), self._busy_until_ms.get(target, 0.0))
        ends_ms = begins_ms + wire_ms
        self._busy_until_ms[source] = self._busy_until_ms[target] = ends_ms
        self.busy_ms += wire_ms
        return ends_ms + rates.latency_ms - now_ms

    def forget(self, end: int) -> None:
        """A worker has gone."""
        self._busy_until_ms.pop(end, None)
