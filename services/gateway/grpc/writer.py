"""An answer on its way to a gRPC client."""

import asyncio
from collections.abc import Callable, Sequence

from services.common.domain import Receipt
from services.common.errors import Cancelled, MeshError
from services.gateway.call.writers import Ending, Opening, Piece
from services.gateway.call.writers.interface import Header
from services.gateway.call.writers.piece import join
from services.gateway.grpc.deltas import (
    Response,
    delta_to_wire,
    placement_to_wire,
    summary_to_wire,
)
from services.gateway.links.streams import Placement


class RpcWriter:
    """Keeps what the pipeline says until the call's own task sends it (a `Writer`).

    While the client is slow, what comes joins the one message that waits. Past `size_bytes_max` the client is
    taken for one that does not read, and `on_full` is called.
    """

    def __init__(self, message: Callable[[], Response], request_id: str, size_bytes_max: int) -> None:
        self.is_open = True
        self.opening: Opening | None = None
        self.placement: Placement | None = None
        self.ending: Ending | None = None
        self.on_full: Callable[[], None] = lambda: None
        """Called when more waits than may."""
        self._message = message
        self._request_id = request_id
        self._size_bytes_max = size_bytes_max
        self._news = asyncio.Event()
        self._pieces: dict[int, list[Piece]] = {}
        self._finish_reasons: dict[int, str] = {}
        self._size_bytes = 0
        self._is_placed_anew = False
        self._error: MeshError | None = None

    # What the pipeline says.

    def open(self, opening: Opening) -> None:
        """Take what is known before the first token."""
        self.opening = opening

    def on_placed(self, placement: Placement) -> None:
        """Take where the first choice runs; it travels with the next tokens."""
        self.placement = placement
        self._is_placed_anew = True

    def write(self, choice: int, piece: Piece) -> None:
        """Keep what a choice gained."""
        self._pieces.setdefault(choice, []).append(piece)
        self._size_bytes += piece.size_bytes()
        self._news.set()
        if self._size_bytes > self._size_bytes_max:
            self.on_full()

    def template(self, choice: int) -> None:
        """Every piece becomes part of a message."""

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Keep that a choice is whole."""
        self._finish_reasons[choice] = finish_reason
        self._news.set()

    def finish(self, ending: Ending) -> None:
        """Keep the end."""
        self.ending = ending
        self._news.set()

    def fail(self, error: MeshError) -> None:
        """Keep why there is no whole answer."""
        self._error = error
        self._news.set()

    # What the call's task does.

    def close(self) -> None:
        """Nobody reads any more; frees the workers unless the answer is whole."""
        self.is_open = False
        if self.opening is not None:
            self.opening.cancel(Cancelled())

    @property
    def is_over(self) -> bool:
        """Whether the last message was taken."""
        return self.ending is not None and not self._news.is_set()

    @property
    def receipt(self) -> Receipt | None:
        """The first choice's, once the answer is whole."""
        return next(iter(self.ending.receipts), None) if self.ending is not None else None

    def head(self) -> Sequence[Header]:
        """For the initial metadata."""
        return head_of(self.opening, self.placement)

    async def next(self) -> Response:
        """Everything that came since the last message, once there is something; raises the answer's error,
        after what came before it."""
        await self._news.wait()
        self._news.clear()
        if self._pieces or self._finish_reasons or self.ending is not None:
            if self._error is not None:
                self._news.set()
            return self._take()
        raise self._error or RuntimeError("woken for nothing")

    def _take(self) -> Response:
        made = self._message()
        for choice in sorted(self._pieces.keys() | self._finish_reasons.keys()):
            pieces = self._pieces.get(choice)
            piece = join(pieces) if pieces else None
            made.deltas.append(delta_to_wire(choice, piece, self._finish_reasons.get(choice, "")))
        if self._is_placed_anew and self.placement is not None:
            made.placement.CopyFrom(placement_to_wire(self.placement))
        if self.ending is not None and self.opening is not None:
            made.summary.CopyFrom(summary_to_wire(self._request_id, self.opening.model, self.ending))
        self._pieces, self._finish_reasons = {}, {}
        self._size_bytes = 0
        self._is_placed_anew = False
        return made


def head_of(opening: Opening | None, placement: Placement | None) -> Sequence[Header]:
    """What is left of the quota, and where the request runs: as in the head of an HTTP answer."""
    quota = opening.headers if opening is not None else ()
    if placement is None:
        return quota
    return (
        *quota,
        ("x-pdmesh-path", placement.path.name.lower()),
        ("x-pdmesh-path-reason", placement.reason),
        *placement.worker_headers(),
    )
