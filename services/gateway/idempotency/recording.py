"""An exchange whose answer is written down instead of sent."""

from collections.abc import Sequence

from services.common.errors import MeshError
from services.gateway.http import Exchange, HttpResponse
from services.gateway.http.message import Header
from services.gateway.http.no_client import NoClient
from services.gateway.idempotency.events import EventNumbers
from services.gateway.idempotency.tape import Head, State, Tape

EVENT_STREAM = "text/event-stream"
PASSING_PREFIXES = ("x-ratelimit-", "x-pdmesh-budget-")


class Recording(Exchange):
    """What a handler writes to when its answer is to be kept.

    It is never behind, and it outlives the client that asked: `on_gone` comes only when the last reader
    has been gone for long, or the process ends.
    """

    __slots__ = ("_numbers", "_origin", "_run", "_tape")

    def __init__(self, origin: Exchange, tape: Tape, run: str) -> None:
        super().__init__(origin.request, NoClient())
        self.caller = origin.caller
        self.error_response = origin.error_response
        self.headers = origin.headers
        self.notes = tape.notes
        self.notes.update(origin.notes)
        self._origin = origin
        self._tape = tape
        self._numbers: EventNumbers | None = None
        self._run = run

    def respond(self, response: HttpResponse) -> None:
        """Write down a whole answer."""
        if self._open(response.status, response.headers):
            kept = _kept(response.headers)
            self._tape.begin(Head(response.status, response.content_type, kept, is_stream=False))
            self._close(response.body)

    def start(self, status: int, content_type: str, headers: Sequence[Header] = ()) -> None:
        """Begin a streamed answer."""
        if self._open(status, headers):
            if content_type.startswith(EVENT_STREAM):
                self._numbers = EventNumbers(self._run)
            self._tape.begin(Head(status, content_type, _kept(headers), is_stream=True))

    def write(self, data: bytes) -> None:
        """Write down a part."""
        if self.is_open and data:
            self._tape.append(self._numbered(data))

    def finish(self, data: bytes = b"") -> None:
        """Write down the last part and the end."""
        if self.is_open:
            self._close(self._numbered(data))

    def drop(self, why: MeshError) -> None:
        """The rest will never come."""
        self.lose(why)

    def lose(self, why: MeshError) -> None:
        """Give up, and tell whoever is answering."""
        super().lose(why)
        self._tape.fail(why)

    def _open(self, status: int, headers: Sequence[Header]) -> bool:
        """Headers that are not the answer's own go to the client that asked, and to no other."""
        if not self._begin(status):
            return False
        self._origin.headers = (*self.headers, *(header for header in headers if _is_passing(header)))
        return True

    def _close(self, data: bytes) -> None:
        is_answer = 200 <= self.status < 300 and "error" not in self.notes
        self._end()
        self._tape.end(data, State.WHOLE if is_answer else State.SPENT)

    def _numbered(self, data: bytes) -> bytes:
        return data if self._numbers is None else self._numbers.added(data)


def _kept(headers: Sequence[Header]) -> tuple[Header, ...]:
    return tuple(header for header in headers if not _is_passing(header))


def _is_passing(header: Header) -> bool:
    """Whether a header speaks of a moment: what is left of a quota or a budget."""
    return header[0].startswith(PASSING_PREFIXES)
