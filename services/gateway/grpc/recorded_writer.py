"""An answer that is kept, message after message."""

from collections.abc import Callable
from typing import Any

from services.common.errors import MeshError
from services.gateway.call.writers import Ending, Opening, Piece
from services.gateway.grpc.deltas import Response, delta_to_wire, placement_to_wire, summary_to_wire
from services.gateway.grpc.framing import framed
from services.gateway.grpc.writer import head_of
from services.gateway.http import Exchange
from services.gateway.links.streams import Placement

CONTENT_TYPE = "application/grpc+proto"


class RecordedWriter:
    """Writes an answer's messages to where they are kept (a `Writer`)."""

    def __init__(self, recording: Exchange, message: Callable[[], Response], request_id: str) -> None:
        self._recording = recording
        self._message = message
        self._request_id = request_id
        self._opening: Opening | None = None
        self._placement: Placement | None = None
        self._is_placed_anew = False

    @property
    def is_open(self) -> bool:
        """Whether it is still kept."""
        return self._recording.is_open

    def open(self, opening: Opening) -> None:
        """Take what is known before the first token."""
        self._opening = opening
        self._recording.on_gone = opening.cancel

    def on_placed(self, placement: Placement) -> None:
        """Take where the first choice runs; it travels with the next tokens."""
        self._placement = placement
        self._is_placed_anew = True

    def write(self, choice: int, piece: Piece) -> None:
        """Write what a choice gained."""
        self._recording.write(self._message_of(deltas=[delta_to_wire(choice, piece, "")]))

    def template(self, choice: int) -> None:
        """Every piece becomes part of a message."""

    def end_choice(self, choice: int, finish_reason: str, stop_reason: int | str | None = None) -> None:
        """Write that a choice is whole."""
        self._recording.write(self._message_of(deltas=[delta_to_wire(choice, None, finish_reason)]))

    def finish(self, ending: Ending) -> None:
        """Write the end."""
        model = self._opening.model if self._opening is not None else ""
        self._recording.finish(self._message_of(summary=summary_to_wire(self._request_id, model, ending)))

    def fail(self, error: MeshError) -> None:
        """Tell that there is no whole answer."""
        self._recording.lose(error)

    def _message_of(self, **fields: Any) -> bytes:
        """A message, framed; the answer begins with the first."""
        if not self._recording.is_started:
            self._recording.start(200, CONTENT_TYPE, head_of(self._opening, self._placement))
        made = self._message()
        for name, value in fields.items():
            target = getattr(made, name)
            target.extend(value) if name == "deltas" else target.CopyFrom(value)
        if self._is_placed_anew and self._placement is not None:
            made.placement.CopyFrom(placement_to_wire(self._placement))
            self._is_placed_anew = False
        return framed(made)
