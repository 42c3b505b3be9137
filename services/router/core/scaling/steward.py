"""Makes a tier what was decided: calls back, activates, sets aside, drains; always the cheapest first."""

from collections.abc import Iterable, Iterator, Mapping

from services.common.domain import Role
from services.router.core.events import Activate, Drain, FleetOrder, StandBy, Undrain
from services.router.core.fleet import Pool, Worker, WorkerState
from services.router.core.scaling.observe import is_of_tier
from services.router.core.scaling.reports import Standing, WorkerReport
from services.router.core.scaling.tier import Decision


class Steward:
    """Orders for the workers that are there. Starting and ending processes is somebody else's: whoever does
    it is told how many there should be, and which drained ones may end.
    """

    def __init__(self) -> None:
        self.retiring: dict[int, Worker] = {}
        """Workers drained for good, by session, unless they are called back first."""

    def settle(self, pool: Pool, tier: Role, decision: Decision, *, may_retire: bool) -> Iterator[FleetOrder]:
        """What to do about one tier now; each order is to be carried out before the next is asked for."""
        members = [w for w in pool.workers.values() if is_of_tier(w, tier) and not w.leaves]
        serving = [w for w in members if w.is_serving]
        if len(serving) < decision.desired:
            yield from self._call(members, decision.desired - len(serving))
        elif len(serving) > decision.desired:
            surplus = emptiest(serving, tier, len(serving) - decision.desired)
            yield from self._set_aside(surplus, members, decision, may_retire=may_retire)
        if may_retire:
            spare = [w for w in members if w.state is WorkerState.STANDBY]
            yield from self._retire(emptiest(spare, tier, len(spare) - decision.spares))

    def forget(self, session: int) -> None:
        """A worker has gone."""
        self.retiring.pop(session, None)

    def recall_all(self) -> Iterator[FleetOrder]:
        """Give every worker on its way out work again: nobody is there to end them."""
        for worker in list(self.retiring.values()):
            yield from self._recall(worker)

    def follow(self, pool: Pool, told: Mapping[str, WorkerReport]) -> Iterator[FleetOrder]:
        """Do with each worker what the router does that decides; who is drained by hand here stays so."""
        for worker in list(pool.workers.values()):
            report = told.get(worker.worker_id)
            if report is None or worker.leaves:
                continue
            if report.standing in (Standing.RETIRES, Standing.RETIRED):
                if worker.session not in self.retiring:
                    yield from self._retire([worker])
                continue
            if worker.session in self.retiring:
                yield from self._recall(worker)
            if report.standing is Standing.SERVES and worker.state is WorkerState.STANDBY:
                yield Activate(worker.worker_id)
            elif report.standing is Standing.STANDS_BY and worker.state is WorkerState.SERVING:
                yield StandBy(worker.worker_id)

    def standing(self, worker: Worker) -> Standing | None:
        """What is done with a worker; `None` where that is not the scaler's doing."""
        if worker.session in self.retiring:
            return Standing.RETIRED if worker.is_empty else Standing.RETIRES
        if worker.leaves or worker.state is WorkerState.DRAINING:
            return None
        return Standing.STANDS_BY if worker.state is WorkerState.STANDBY else Standing.SERVES

    def stoppable(self) -> list[Worker]:
        """Drained workers with nothing left to do."""
        return [w for w in self.retiring.values() if w.is_empty]

    def _call(self, members: list[Worker], number: int) -> Iterator[FleetOrder]:
        """Those on their way out first, because they cost nothing; then spares."""
        leaving = [w for w in members if w.session in self.retiring]
        spare = [w for w in members if w.state is WorkerState.STANDBY and w.flips_to is None]
        for worker in [*leaving, *spare][:number]:
            if worker.session in self.retiring:
                yield from self._recall(worker)
            else:
                yield Activate(worker.worker_id)

    def _recall(self, worker: Worker) -> Iterator[FleetOrder]:
        del self.retiring[worker.session]
        if not worker.leaves and worker.state is WorkerState.DRAINING:
            yield Undrain(worker.worker_id)

    def _set_aside(
        self, surplus: list[Worker], members: list[Worker], decision: Decision, *, may_retire: bool
    ) -> Iterator[FleetOrder]:
        """Surplus workers become spares as long as spares are wanted; others end, if somebody ends them."""
        spare = sum(1 for w in members if w.state is WorkerState.STANDBY)
        lacking = max(0, decision.spares - spare)
        for worker in surplus[:lacking]:
            yield StandBy(worker.worker_id)
        if may_retire:
            yield from self._retire(surplus[lacking:])

    def _retire(self, workers: Iterable[Worker]) -> Iterator[FleetOrder]:
        for worker in workers:
            self.retiring[worker.session] = worker
            yield Drain(worker.worker_id)


def emptiest(workers: Iterable[Worker], tier: Role, number: int) -> list[Worker]:
    """So many workers of this tier alone, those with the least to finish first, the newest among equals."""
    own = [w for w in workers if w.role is tier and w.flips_to is None]
    own.sort(key=lambda w: (w.slots_taken, w.blocks_taken, w.prefill_tokens_taken, -w.session))
    return own[: max(0, number)]
