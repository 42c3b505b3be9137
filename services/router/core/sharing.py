"""Workers that serve other routers too: how much of each is ours, and what we would want."""

from dataclasses import replace

from services.common.domain import Grant, Role, Want
from services.router.core.actions import SendWant
from services.router.core.fleet import Pool, Worker
from services.router.core.state import State


class Sharing:
    """Takes grants in, and tells workers what is held and wanted whenever that has changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._told: dict[int, Want] = {}
        """By session: what each sharing worker was told last."""

    def granted(self, session: int, grant: Grant) -> None:
        """Go by a worker's newest grant."""
        worker = self._state.fleet.workers.get(session)
        if worker is None or worker.pool is None:
            return
        nominal = worker.registration.capacity
        worker.capacity = replace(
            nominal,
            max_running_requests=min(grant.running_requests, nominal.max_running_requests),
            kv_blocks=min(grant.kv_blocks, nominal.kv_blocks),
        )
        self._state.room_changed(worker)
        self._tell(worker, worker.pool, grant.number)

    def tick(self) -> None:
        """Tell what has changed."""
        for session, told in list(self._told.items()):
            worker = self._state.fleet.workers.get(session)
            if worker is None or worker.pool is None:
                del self._told[session]
            else:
                self._tell(worker, worker.pool, told.grant_number)

    def _tell(self, worker: Worker, pool: Pool, grant_number: int) -> None:
        want = self._want(worker, pool, grant_number)
        if self._told.get(worker.session) != want:
            self._told[worker.session] = want
            self._state.do(SendWant(worker.session, want))

    def _want(self, worker: Worker, pool: Pool, grant_number: int) -> Want:
        """Each worker is asked for all that waits for its tier: what one cannot give another may."""
        queues = [pool.prefill_queue]
        if worker.role is not Role.PREFILL:
            queues.append(pool.decode_queue)
        requests = sum(len(queue) for queue in queues) if worker.is_serving else 0
        tokens = sum(queue.tokens + queue.growth_tokens for queue in queues)
        return Want(
            grant_number,
            worker.slots_taken,
            worker.blocks_taken,
            min(requests, worker.registration.capacity.max_running_requests),
            min(worker.blocks_for(tokens), worker.registration.capacity.kv_blocks) if requests else 0,
        )
