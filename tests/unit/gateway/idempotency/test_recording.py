"""What is written down of an answer, and what is for the first client alone."""

from collections.abc import Callable

from services.common.errors import Cancelled, MeshError
from services.gateway.http import Exchange, HttpRequest, HttpResponse
from services.gateway.idempotency.reader import Reader
from services.gateway.idempotency.recording import Recording
from services.gateway.idempotency.tape import State, Tape

REQUEST = HttpRequest("POST", "/v1/x", {}, b"{}", keep_alive=True, chunks_allowed=True, received_ms=0.0)


class Wire:
    """A client's connection."""

    date = "today"
    is_draining = False

    def __init__(self) -> None:
        self.sent = b""
        self.send: Callable[[bytes], None] = self.take

    def take(self, data: bytes) -> None:
        self.sent += data

    def exchange_ended(self, *, closes: bool) -> None:
        pass

    def abort(self) -> None:
        pass


def refused(error: MeshError) -> HttpResponse:
    return HttpResponse(error.http_status, error.reason.encode())


def reading(tape: Tape, *, is_replay: bool) -> tuple[Exchange, Wire]:
    wire = Wire()
    exchange = Exchange(REQUEST, wire)
    exchange.headers = (("x-request-id", "replay" if is_replay else "first"),)
    Reader(exchange, tape, refused, is_replay=is_replay, last_event_id="", lag_bytes_max=100)
    return exchange, wire


def test_what_is_left_of_a_quota_is_told_once() -> None:
    tape = Tape(1_000)
    tape.run = "r"
    origin, first = reading(tape, is_replay=False)
    recording = Recording(origin, tape, "r")
    recording.headers = (*recording.headers, ("x-ratelimit-limit-tokens", "9"))
    headers = (("x-ratelimit-remaining-tokens", "5"), ("x-pdmesh-path", "local"))
    recording.respond(HttpResponse(200, b"answer", headers=headers))
    retry, again = reading(tape, is_replay=True)
    tape.readers[-1].advance()
    assert b"x-ratelimit-remaining-tokens: 5\r\n" in first.sent
    assert b"x-ratelimit-limit-tokens: 9\r\n" in first.sent
    assert b"x-request-id: first\r\n" in first.sent
    assert b"ratelimit" not in again.sent
    assert b"x-request-id: replay\r\n" in again.sent
    assert b"x-pdmesh-path: local\r\n" in again.sent
    assert again.sent.endswith(b"\r\n\r\nanswer")
    assert not retry.is_open
    assert tape.state is State.WHOLE


def test_a_client_that_leaves_ends_neither_the_recording_nor_its_worth() -> None:
    tape = Tape(1_000)
    tape.run = "r"
    origin, _ = reading(tape, is_replay=False)
    recording = Recording(origin, tape, "r")
    told: list[str] = []
    recording.on_gone = lambda why: told.append(why.reason)
    recording.start(200, "text/event-stream")
    recording.write(b"data: a\n\n")
    recording.notes["model"] = "tiny"
    origin.lose(Cancelled("the client closed the connection"))
    assert origin.notes["model"] == "tiny"
    assert recording.is_open
    assert told == []
    recording.finish(b"data: b\n\n")
    assert tape.state is State.WHOLE
    assert tape.read(0) == b"id: r-1\ndata: a\n\nid: r-2\ndata: b\n\n"


def test_giving_up_tells_whoever_answers_and_whoever_reads() -> None:
    tape = Tape(1_000)
    tape.run = "r"
    origin, wire = reading(tape, is_replay=False)
    recording = Recording(origin, tape, "r")
    told: list[str] = []
    recording.on_gone = lambda why: told.append(why.reason)
    recording.lose(Cancelled("enough"))
    recording.write(b"late")
    assert told == ["cancelled"]
    assert tape.state is State.BROKEN
    assert wire.sent.endswith(b"cancelled")


def test_an_answer_that_ends_with_an_error_is_spent() -> None:
    for status, note in ((500, ""), (429, ""), (404, ""), (200, "no_workers")):
        tape = Tape(1_000)
        tape.run = "r"
        origin, _ = reading(tape, is_replay=False)
        recording = Recording(origin, tape, "r")
        if note:
            recording.notes["error"] = note
        recording.respond(HttpResponse(status, b"{}"))
        assert tape.state is State.SPENT
