"""What both writers of the REST API share: the answer's head, and how it fails before that."""

from services.common.clock import Clock
from services.common.domain import PATH_NAMES
from services.common.errors import MeshError
from services.gateway.call.call import Call
from services.gateway.call.writers.interface import Ending, Header, Opening
from services.gateway.call.writers.piece import Piece
from services.gateway.http import Exchange, Template
from services.gateway.links.streams import Placement
from services.gateway.rest.openai.errors import error_response
from services.gateway.rest.openai.format import AnswerFormat, FormatType


class RestWriter:
    """Writes to an HTTP exchange (a `Writer`); how, its subclasses know."""

    __slots__ = ("_call", "_clock", "_exchange", "_format", "_format_type", "_placement", "_quota_headers")

    def __init__(self, exchange: Exchange, call: Call, format_type: FormatType, clock: Clock) -> None:
        self._exchange = exchange
        self._call = call
        self._format_type = format_type
        self._clock = clock
        self._format: AnswerFormat
        self._placement: Placement | None = None
        self._quota_headers: tuple[Header, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self._exchange.is_open

    def open(self, opening: Opening) -> None:
        """Prepare the format, and hear of a client that leaves."""
        self._format = self._format_type(self._call, opening)
        self._quota_headers = opening.headers
        self._exchange.on_gone = opening.cancel

    def on_placed(self, placement: Placement) -> None:
        """Take what the head tells of the placement."""
        self._placement = placement

    def write(self, choice: int, piece: Piece) -> None:
        """Write what a choice gained."""
        raise NotImplementedError

    def template(self, choice: int) -> Template | None:
        """Nothing that may be used instead of `write`."""
        return None

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Write that a choice is whole."""
        raise NotImplementedError

    def finish(self, ending: Ending) -> None:
        """Write the end."""
        raise NotImplementedError

    def fail(self, error: MeshError) -> None:
        """Answer with the error."""
        self._exchange.notes["error"] = error
        self._exchange.headers = (*self._exchange.headers, *self._quota_headers)
        self._exchange.respond((self._exchange.error_response or error_response)(error))

    def _refuse_late(self, error: MeshError) -> None:
        """End the answer from here: free its workers, and say why."""
        self._exchange.on_gone(error)
        RestWriter.fail(self, error)

    def _headers(self, ending: Ending | None = None) -> tuple[Header, ...]:
        """Those of the answer; after its end they say what happened, before it what is planned."""
        took_ms = self._clock.now_ms() - self._exchange.request.received_ms
        own = (("openai-processing-ms", f"{took_ms:.0f}"), *self._quota_headers)
        return (*own, *_placement_headers(_taken(ending) or self._placement))


def _taken(ending: Ending | None) -> Placement | None:
    """Where the first choice ran in the end; None where the router was lost before its word of it."""
    first = next(iter(ending.receipts), None) if ending is not None else None
    if first is None or first.path is None:
        return None
    return Placement(first.path, first.path_reason, first.prefill_worker, first.decode_worker)


def _placement_headers(placement: Placement | None) -> tuple[Header, ...]:
    if placement is None:
        return ()
    return (
        ("x-pdmesh-path", PATH_NAMES[placement.path]),
        ("x-pdmesh-path-reason", placement.reason),
        *placement.worker_headers(),
    )
