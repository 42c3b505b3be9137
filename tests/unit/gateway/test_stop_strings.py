"""Stop strings are found wherever the text is cut."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.models.rendering import StopMatcher

stops_of_few_letters = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)


def run(stops: list[str], pieces: list[str], *, is_shown: bool = False) -> tuple[str, str | None]:
    matcher = StopMatcher(stops, is_shown=is_shown)
    shown = ""
    for piece in pieces:
        shown += matcher.push(piece)
        if matcher.stopped_by is not None:
            return shown, matcher.stopped_by
    return shown + matcher.finish(), None


def by_definition(stops: list[str], text: str) -> tuple[str, str | None]:
    """Character by character: the first end of any stop string, the longest of those that end there."""
    for end in range(len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            longest = max(done, key=len)
            return text[: end - len(longest)], longest
    return text, None


@given(stops=stops_of_few_letters, pieces=st.lists(st.text("abc", max_size=5), max_size=8))
def test_any_cut_gives_the_same_answer(stops: list[str], pieces: list[str]) -> None:
    expected = by_definition(stops, "".join(pieces))
    assert run(stops, pieces) == expected


@given(stops=stops_of_few_letters, text=st.text("abc", max_size=20))
def test_nothing_certain_is_held_back(stops: list[str], text: str) -> None:
    matcher = StopMatcher(stops)
    shown = "".join(matcher.push(character) for character in text)
    if matcher.stopped_by is None:
        held = text.removeprefix(shown)
        assert held == "" or any(stop.startswith(held) and stop != held for stop in stops)


def test_a_stop_string_across_pieces_is_never_shown() -> None:
    assert run(["\n\nUser:"], ["Hello", "\n", "\nUs", "er: more"]) == ("Hello", "\n\nUser:")


def test_what_only_looked_like_a_stop_string_is_shown() -> None:
    assert run(["STOP"], ["a ST", "ART", " ST"]) == ("a START ST", None)


def test_a_stop_string_can_be_shown() -> None:
    assert run(["END"], ["a EN", "D b"], is_shown=True) == ("a END", "END")


@given(
    stops=stops_of_few_letters,
    free=st.lists(st.text("abc", max_size=4), max_size=4),
    pieces=st.lists(st.text("abc", max_size=4), max_size=6),
)
def test_a_stop_string_may_begin_in_what_is_passed_over_and_not_end_in_it(
    stops: list[str], free: list[str], pieces: list[str]
) -> None:
    passed, text = "".join(free), "".join([*free, *pieces])
    expected: tuple[str, str | None] = (text, None)
    for end in range(len(passed) + 1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            longest = max(done, key=len)
            expected = text[: end - len(longest)], longest
            break
    matcher = StopMatcher(stops)
    shown = "".join(matcher.pass_over(piece) for piece in free)
    for piece in pieces:
        shown += matcher.push(piece)
        if matcher.stopped_by is not None:
            break
    else:
        shown += matcher.finish()
    assert (shown, matcher.stopped_by) == expected
