"""Streams that wait for a router: several of one answer end together, and nothing else does."""

from array import array

import pytest

from pdmesh.router.v1 import router_pb2
from services.common.clock import ManualClock
from services.common.domain import Request, Sampling
from services.common.domain.tokens import tokens
from services.common.errors import DeadlinePassed, MeshError, RouterUnavailable
from services.gateway.links.routers import Routers
from services.gateway.links.streams import LiveStream

RESUME_WAIT_MS = 10_000.0


class Sibling:
    """A choice that takes the others of its answer along when it fails."""

    def __init__(self, routers: Routers) -> None:
        self.routers = routers
        self.others: list[LiveStream] = []
        self.errors: list[MeshError] = []

    def on_failed(self, error: MeshError, _receipt: object = None) -> None:
        self.errors.append(error)
        others, self.others = self.others, []
        for live in others:
            self.routers.cancel(live)


@pytest.mark.parametrize(
    ("deadline_ms", "kind"), [(None, RouterUnavailable), (1_000, DeadlinePassed)], ids=["wait", "deadline"]
)
def test_choices_of_one_answer_that_wait_in_vain_end_together(
    deadline_ms: int | None, kind: type[MeshError]
) -> None:
    clock = ManualClock()
    routers = Routers((), router_pb2.GatewayGreeting(), resume_wait_ms=RESUME_WAIT_MS, clock=clock)
    sinks = [Sibling(routers) for _ in range(2)]
    requests = [Request(f"r-{n}", "m", tokens([1]), Sampling(9), deadline_ms=deadline_ms) for n in range(2)]
    streams = [LiveStream(1, *pair, frozenset()) for pair in zip(requests, sinks, strict=True)]
    for sink in sinks:
        sink.others = streams[:]
    for live in streams:
        live.delivered = array("I", [7])
    routers._adopt(streams)
    assert routers.stream_count == 2
    clock.advance(RESUME_WAIT_MS + 1)
    routers._end_waiting_in_vain()
    assert routers.stream_count == 0
    assert isinstance(sinks[0].errors[0], kind)
