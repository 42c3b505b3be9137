"""Finding stop strings in text that comes in pieces."""

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until a stop string is complete in it.

    The answer does not depend on how the text was cut into pieces: it ends where the first stop string to be
    completed begins (of several completed by the same character, the longest). Text that may yet become a
    stop string is held back, so that nothing has to be taken back.
    """

    __slots__ = ("_exempt_chars", "_held", "_is_shown", "_stops", "stopped_by")

    def __init__(self, stops: Sequence[str], *, is_shown: bool = False) -> None:
        self._stops = sorted(stops, key=len, reverse=True)
        self._is_shown = is_shown
        self._held = ""
        self._exempt_chars = 0
        """So much of what is held back was passed over: no stop string ends in it."""
        self.stopped_by: str | None = None

    def pass_over(self, text: str) -> str:
        """The text that can be shown of some in which none ends; one that begins in it may end later."""
        text = self._held + text
        self._exempt_chars = len(text)
        return self._hold_back(text)

    def push(self, text: str) -> str:
        """The text that can be shown; sets `stopped_by` when a stop string is complete."""
        text = self._held + text
        found = self._first_completed(text)
        if found is None:
            return self._hold_back(text)
        end, stop = found
        self.stopped_by = stop
        self._held = ""
        return text[:end] if self._is_shown else text[: end - len(stop)]

    def finish(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        self._exempt_chars = 0
        return held

    def _first_completed(self, text: str) -> tuple[int, str] | None:
        """Where the first completed stop string ends; stops are longest first, so ties go to the longest."""
        ends = [
            (start + len(stop), stop)
            for stop in self._stops
            if (start := text.find(stop, max(0, self._exempt_chars - len(stop) + 1))) >= 0
        ]
        return min(ends, key=lambda end: end[0]) if ends else None

    def _hold_back(self, text: str) -> str:
        for start in range(max(0, len(text) - len(self._stops[0]) + 1), len(text)):
            tail = text[start:]
            if any(stop.startswith(tail) for stop in self._stops):
                return self._hold(text, start)
        return self._hold(text, len(text))

    def _hold(self, text: str, start: int) -> str:
        self._held = text[start:]
        self._exempt_chars = max(0, self._exempt_chars - start)
        return text[:start]
