"""Output that waits for its reader is bounded; what is dropped is counted and reported."""

import pytest

from services.common.telemetry.waiting_output import WaitingOutput


class Reader:
    """Where output goes; it may be full or gone."""

    def __init__(self) -> None:
        self.read = b""
        self.is_gone = False

    def write(self, data: bytes) -> None:
        if self.is_gone:
            raise BrokenPipeError
        self.read += data


def waiting(size_bytes_max: int = 10) -> WaitingOutput:
    return WaitingOutput(size_bytes_max, lambda lines: f"<{lines} lost>")


def flush(output: WaitingOutput, reader: Reader) -> bytes:
    """Write all that waits; what was read."""
    output.close(0.0)
    while output.write_next(reader.write):
        pass
    return reader.read


@pytest.mark.parametrize(
    ("chunks", "read", "lost"),
    [
        ([b"one\n", b"two\n"], b"one\ntwo\n", 0),
        ([b"one\n", b"two\n", b"three\n"], b"<1 lost>\ntwo\nthree\n", 1),
        ([b"one\n", b"two\nthree\n", b"4\n"], b"<3 lost>\n4\n", 3),
        ([b"12345678", b"90\nnext\n"], b"<1 lost>\nnext\n", 1),
        ([b"0123", b"4567", b"89", b"0\n1\n"], b"<1 lost>\n1\n", 1),
        ([b"0123456789", b"rest\n", b"last\n"], b"<1 lost>\nlast\n", 1),
    ],
)
def test_past_the_bound_whole_lines_are_dropped_and_reported(
    chunks: list[bytes], read: bytes, lost: int
) -> None:
    output, reader = waiting(), Reader()
    for chunk in chunks:
        output.put(chunk)
    assert flush(output, reader) == read
    assert output.lines_dropped == lost


def test_a_notice_begins_a_line_of_its_own() -> None:
    output, reader = waiting(), Reader()
    output.put(b"half a li")
    assert output.write_next(reader.write)
    for chunk in (b"ne\n", b"whole\n", b"last\n"):
        output.put(chunk)
    assert flush(output, reader) == b"half a li\n<2 lost>\nlast\n"


def test_a_reader_that_has_left_costs_its_lines_and_may_come_back() -> None:
    output, reader = waiting(), Reader()
    reader.is_gone = True
    for _ in range(3):
        output.put(b"one\ntwo\n")
        assert output.write_next(reader.write)
    reader.is_gone = False
    output.put(b"three\n")
    assert flush(output, reader) == b"<6 lost>\nthree\n"
    assert output.lines_dropped == 6


def test_the_end_does_not_wait_for_a_reader_that_has_left() -> None:
    output, reader = waiting(), Reader()
    reader.is_gone = True
    output.put(b"one\n")
    assert flush(output, reader) == b""
