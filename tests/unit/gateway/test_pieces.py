"""Pieces that waited for a slow client say the same when they are joined."""

from hypothesis import given
from hypothesis import strategies as st

from services.common.domain.tokens import tokens
from services.gateway.call.writers import Piece, TokenLikelihood, ToolCallDelta
from services.gateway.call.writers.piece import join

CALLS = st.builds(ToolCallDelta, index=st.integers(0, 2), arguments=st.text(max_size=3))
PIECES = st.builds(
    Piece,
    text=st.text(max_size=3),
    token_ids=st.lists(st.integers(0, 9), max_size=2).map(tokens),
    logprobs=st.lists(
        st.builds(TokenLikelihood, st.integers(0, 9), st.just("a"), st.just(b"a"), st.just(-1.0)), max_size=2
    ).map(tuple),
    reasoning=st.text(max_size=3),
    tool_calls=st.lists(CALLS, max_size=3).map(tuple),
)


def arguments(pieces: list[Piece]) -> dict[int, str]:
    found: dict[int, str] = {}
    for call in (call for piece in pieces for call in piece.tool_calls):
        found[call.index] = found.get(call.index, "") + call.arguments
    return found


@given(pieces=st.lists(PIECES, min_size=1, max_size=5))
def test_joining_loses_nothing(pieces: list[Piece]) -> None:
    joined = join(pieces)
    assert joined.text == "".join(piece.text for piece in pieces)
    assert joined.reasoning == "".join(piece.reasoning for piece in pieces)
    assert list(joined.token_ids) == [i for piece in pieces for i in piece.token_ids]
    assert joined.logprobs == tuple(token for piece in pieces for token in piece.logprobs)
    assert arguments([joined]) == arguments(pieces)


def test_the_pieces_themselves_stay_as_they_are() -> None:
    pieces = [Piece(token_ids=tokens([1])), Piece(token_ids=tokens([2]))]
    assert list(join(pieces).token_ids) == [1, 2]
    assert list(pieces[0].token_ids) == [1]


def test_a_call_keeps_its_id_and_name() -> None:
    first = Piece(
        tool_calls=(ToolCallDelta(0, call_id="c", name="f"), ToolCallDelta(1, call_id="d", name="g"))
    )
    second = Piece(tool_calls=(ToolCallDelta(0, arguments="{}"), ToolCallDelta(1, arguments="[]")))
    assert join([first, second]).tool_calls == (
        ToolCallDelta(0, call_id="c", name="f", arguments="{}"),
        ToolCallDelta(1, call_id="d", name="g", arguments="[]"),
    )


def test_what_a_piece_takes_grows_with_what_it_says() -> None:
    plain = Piece("é")
    assert plain.size_bytes() == 2
    token = TokenLikelihood(1, "a", b"a", -1.0)
    more = Piece("é", tokens([1]), (token,), "r", (ToolCallDelta(0, arguments="x"),))
    assert more.size_bytes() > plain.size_bytes() + 64
