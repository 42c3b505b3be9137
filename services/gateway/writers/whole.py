"""Answering once, at the end."""

from services.common.clock import Clock
from services.gateway.call import Call
from services.gateway.http import Exchange, HttpResponse
from services.gateway.openai.format import FormatType, WholeChoice
from services.gateway.writers.interface import Ending
from services.gateway.writers.piece import Piece, join
from services.gateway.writers.rest import RestWriter


class WholeWriter(RestWriter):
    """Collects the pieces of all choices and answers once."""

    __slots__ = ("_choices", "_pieces")

    def __init__(self, exchange: Exchange, call: Call, format_type: FormatType, clock: Clock) -> None:
        super().__init__(exchange, call, format_type, clock)
        self._pieces: dict[int, list[Piece]] = {}
        self._choices: list[WholeChoice] = []

    def write(self, choice: int, piece: Piece) -> None:
        """Keep it; what a choice can hold is bounded by its max_tokens."""
        self._pieces.setdefault(choice, []).append(piece)

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Put a choice together."""
        piece = join(self._pieces.pop(choice, [Piece()]))
        self._choices.append(WholeChoice(choice, piece, finish_reason, stop_reason))

    def finish(self, ending: Ending) -> None:
        """Answer."""
        choices = sorted(self._choices, key=lambda choice: choice.number)
        body = self._format.body(choices, ending)
        self._exchange.respond(HttpResponse(200, body, headers=self._headers()))
