"""Numbers for server-sent events, so that a client can say which was the last that it has."""

from services.gateway.idempotency.tape import Tape

_END = b"\n\n"


class EventNumbers:
    """Writes `id: RUN-NUMBER` before each event. Ids of two runs for one key are never the same."""

    def __init__(self, run: str) -> None:
        self._run = run.encode("ascii")
        self._last = 0

    def added(self, data: bytes) -> bytes:
        """Some whole events, each with its id."""
        if data.count(_END) == 1 and data.endswith(_END):  # as nearly always
            self._last += 1
            return b"id: %b-%d\n%b" % (self._run, self._last, data)
        events = data.split(_END)
        rest = events.pop()
        return b"".join(map(self._with_id, events)) + rest

    def _with_id(self, event: bytes) -> bytes:
        self._last += 1
        return b"id: %b-%d\n%b\n\n" % (self._run, self._last, event)


def run_of(event_id: str) -> str:
    """The run that an event's id names."""
    return event_id.rpartition("-")[0]


def after(tape: Tape, event_id: str) -> int:
    """The position in the body that follows an event; -1 while that is not there.

    Payloads are JSON or single words, so a line that begins with `id: ` is an id.
    """
    found = tape.find(b"id: %b\n" % event_id.encode("latin-1", "replace"))
    end = tape.find(_END, found) if found >= 0 else -1
    return end + len(_END) if end >= 0 else -1
