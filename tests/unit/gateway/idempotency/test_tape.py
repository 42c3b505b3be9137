"""Tapes: what readers get, what is kept, and how events are numbered."""

from services.common.errors import AnswerLost
from services.gateway.idempotency import events
from services.gateway.idempotency.tape import Head, State, Tape

HEAD = Head(200, "text/event-stream", (), is_stream=True)


class Taker:
    """Takes everything at once."""

    def __init__(self, tape: Tape) -> None:
        self.position = 0
        self.taken = b""
        self.is_slow = False
        self.tape = tape
        tape.join(self)

    def advance(self) -> None:
        if not self.is_slow:
            new = self.tape.read(self.position)
            self.taken += new
            self.position += len(new)


def test_every_reader_gets_every_byte_whenever_it_joins() -> None:
    tape = Tape(100)
    early = Taker(tape)
    tape.begin(HEAD)
    tape.append(b"one")
    late = Taker(tape)
    tape.append(b"two")
    tape.end(b"end", State.WHOLE)
    assert early.taken == late.taken == tape.read(0) == b"onetwoend"
    assert not tape.is_running


def test_past_its_bound_a_tape_holds_only_what_its_readers_lack() -> None:
    tape = Tape(10)
    quick, slow = Taker(tape), Taker(tape)
    slow.is_slow = True
    tape.append(b"x" * 9)
    assert tape.is_kept
    tape.append(b"y" * 3)
    assert not tape.is_kept
    assert tape.held_bytes == 12
    slow.is_slow = False
    slow.advance()
    tape.append(b"z")
    assert tape.held_bytes == 0
    assert quick.taken == slow.taken == b"x" * 9 + b"yyyz"
    slow.is_slow = True
    tape.end(b"last", State.WHOLE)
    assert tape.read(slow.position) == b"last"
    tape.leave(slow)
    assert tape.held_bytes == 0


def test_an_end_past_the_bound_is_not_kept() -> None:
    tape = Tape(3)
    tape.end(b"long", State.WHOLE)
    assert not tape.is_kept


def test_a_tape_fails_once_and_not_after_its_end() -> None:
    told: list[State] = []
    tape = Tape(100)
    tape.on_change = lambda: told.append(tape.state)
    tape.fail(AnswerLost())
    tape.fail(AnswerLost())
    assert told == [State.BROKEN]
    ended = Tape(100)
    ended.end(b"", State.WHOLE)
    ended.fail(AnswerLost())
    assert ended.state is State.WHOLE
    assert ended.error is None


def test_each_event_has_an_id_that_names_its_run() -> None:
    numbers = events.EventNumbers("run")
    assert numbers.added(b"data: a\n\nevent: x\ndata: b\n\n") == (
        b"id: run-1\ndata: a\n\nid: run-2\nevent: x\ndata: b\n\n"
    )
    assert numbers.added(b"data: [DONE]\n\n") == b"id: run-3\ndata: [DONE]\n\n"
    assert numbers.added(b"") == b""
    assert events.run_of("run-12") == "run"
    assert events.run_of("nonsense") == ""


def test_an_event_is_found_by_its_whole_id() -> None:
    tape = Tape(10_000)
    numbers = events.EventNumbers("r")
    for number in range(1, 13):
        tape.append(numbers.added(b'data: "id: r-%d"\n\n' % number))
    assert tape.read(events.after(tape, "r-11")) == b'id: r-12\ndata: "id: r-12"\n\n'
    assert tape.read(events.after(tape, "r-12")) == b""
    assert tape.read(events.after(tape, "r-1")).startswith(b"id: r-2\n")
    assert events.after(tape, "r-13") == -1
    assert events.after(tape, "r-1\n") == -1
