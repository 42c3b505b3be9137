"""Answering once, at the end."""

from services.common.clock import Clock
from services.common.errors import AnswerTooLarge
from services.common.limits import Limits
from services.gateway.call.call import Call
from services.gateway.call.writers.interface import Ending
from services.gateway.call.writers.piece import Piece, join
from services.gateway.http import Exchange, HttpResponse
from services.gateway.rest.openai.format import FormatType, WholeChoice
from services.gateway.rest.writers.rest import RestWriter


class WholeWriter(RestWriter):
    """Collects the pieces of all choices and answers once."""

    __slots__ = ("_choices", "_pieces", "_size_bytes", "_size_bytes_max")

    def __init__(
        self, exchange: Exchange, call: Call, format_type: FormatType, clock: Clock, limits: Limits
    ) -> None:
        super().__init__(exchange, call, format_type, clock)
        self._size_bytes = 0
        self._size_bytes_max = limits.answer_size_bytes_max
        self._pieces: dict[int, list[Piece]] = {}
        self._choices: list[WholeChoice] = []

    def write(self, choice: int, piece: Piece) -> None:
        """Keep it; refuse after all what grows past its bound."""
        self._pieces.setdefault(choice, []).append(piece)
        self._size_bytes += piece.size_bytes()
        if self._size_bytes > self._size_bytes_max:
            self._pieces.clear()
            self._refuse_late(
                AnswerTooLarge("the answer is too large to be kept until its end; ask for a stream")
            )

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Put a choice together."""
        piece = join(self._pieces.pop(choice, [Piece()]))
        self._choices.append(WholeChoice(choice, piece, finish_reason, stop_reason))

    def finish(self, ending: Ending) -> None:
        """Answer."""
        choices = sorted(self._choices, key=lambda choice: choice.number)
        body = self._format.body(choices, ending)
        self._exchange.respond(HttpResponse(200, body, headers=self._headers(ending)))
