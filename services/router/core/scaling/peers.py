"""The other routers of a fleet: their part of the work is added to our own, and one of them may decide."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from services.common.domain import Role
from services.router.core.scaling.demand import TierDemand
from services.router.core.scaling.reports import RouterReport, Standing, TierReport, WorkerReport
from services.router.core.scaling.signal import TierSignal

BLIND_MS = 1_500.0
"""Without news of the others for so long nobody knows what they have."""

Key = tuple[str, Role]


class Peers:
    """Their newest reports, and what has happened at them since each was first heard of."""

    def __init__(self) -> None:
        self._reports: dict[str, RouterReport] = {}
        self._decider = ""
        self._told_ms = 0.0
        self._since: dict[Key, TierDemand] = {}

    def take(self, reports: Iterable[RouterReport], decider: str, now_ms: float) -> None:
        """All that live at this moment; `decider` is the life that decides, "" for none of these.

        Totals count by their differences: a router that comes or goes is no arrival of all that it ever had.
        """
        newest = {report.run: report for report in reports}
        for run, report in newest.items():
            if (known := self._reports.get(run)) is not None:
                self._add(known, report)
        self._reports, self._decider, self._told_ms = newest, decider, now_ms

    def is_blind(self, now_ms: float) -> bool:
        """Whether there are others of which nothing is heard any more."""
        return bool(self._reports) and now_ms - self._told_ms > BLIND_MS

    @property
    def decider(self) -> RouterReport | None:
        """The one that decides; `None` where that is us, or nobody."""
        return self._reports.get(self._decider)

    def desired(self, key: Key) -> int | None:
        """What the one that decides wants."""
        tiers = self.decider.tiers if self.decider is not None else ()
        return next((tier.desired for tier in tiers if (tier.model, tier.tier) == key), None)

    def standings(self) -> dict[str, WorkerReport]:
        """What the one that decides does with each worker."""
        workers = self.decider.workers if self.decider is not None else ()
        return {worker.worker_id: worker for worker in workers}

    def hold(self, worker_id: str) -> bool:
        """Whether another router has work at a worker, or may still give it some."""
        told = (w for report in self._reports.values() for w in report.workers if w.worker_id == worker_id)
        return any(worker.standing is not Standing.RETIRED for worker in told)

    def added_to(self, own: TierSignal, key: Key) -> TierSignal:
        """The tier's signal as if all that is asked of any router were asked of us."""
        parts = list(self._parts(key))
        if not parts and key not in self._since:
            return own
        busy = {*own.busy_workers, *(name for part in parts for name in part.busy_workers)}
        return replace(
            own,
            queued_requests=own.queued_requests + sum(part.queued_requests for part in parts),
            queued_tokens=own.queued_tokens + sum(part.queued_tokens for part in parts),
            running_requests=own.running_requests + sum(part.running_requests for part in parts),
            running_tokens=own.running_tokens + sum(part.running_tokens for part in parts),
            busy=len(busy),
            totals=own.totals.plus(self._since.get(key, TierDemand())),
        )

    def _parts(self, key: Key) -> Iterator[TierReport]:
        tiers = (tier for report in self._reports.values() for tier in report.tiers)
        return (tier for tier in tiers if (tier.model, tier.tier) == key)

    def _add(self, known: RouterReport, report: RouterReport) -> None:
        before = {(tier.model, tier.tier): tier.totals for tier in known.tiers}
        for tier in report.tiers:
            key = tier.model, tier.tier
            more = tier.totals.minus(before.get(key, TierDemand()))
            self._since[key] = self._since.get(key, TierDemand()).plus(more)
