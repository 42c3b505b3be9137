"""How far apart frames of tokens are: they join the tokens of many streams, and not two of the same."""

from collections.abc import Sequence

INTERVAL_MS_LEAST = 0.5
"""However fast a stream is, its tokens wait so long for others."""
STREAMS_FEW = 8
"""Of more streams, frames cost more than tokens that come in pairs."""
GROWTH = 1.02


class TokenPace:
    """Until when tokens wait for more. It adapts: few streams, each faster than the interval, shorten it."""

    __slots__ = ("_interval_ms_max", "due_ms", "interval_ms")

    def __init__(self, interval_ms_max: float, now_ms: float) -> None:
        self._interval_ms_max = self.interval_ms = float(interval_ms_max)
        self.due_ms = now_ms + self.interval_ms
        """When the next frame of tokens may go."""

    def sent(self, now_ms: float) -> None:
        """Count a frame. On average they are an interval apart.

        One that came half an interval late must not delay those after it, or frames that come at that pace
        from another link would each wait for a timer.
        """
        interval_ms = self.interval_ms
        due_ms = max(self.due_ms + interval_ms, now_ms + interval_ms / 2.0)
        self.due_ms = min(due_ms, now_ms + interval_ms)

    def joined(self, streams: Sequence[int]) -> None:
        """Learn from a frame whose tokens waited for others: `streams` are theirs, one for each token."""
        if self._holds_back(streams):
            least = min(INTERVAL_MS_LEAST, self._interval_ms_max)
            self.interval_ms = max(self.interval_ms / 2.0, least)
        else:
            self.interval_ms = min(self.interval_ms * GROWTH, self._interval_ms_max)

    def _holds_back(self, streams: Sequence[int]) -> bool:
        """Whether a stream's next token came while its last one waited, and there are few."""
        distinct = len(set(streams))
        return distinct <= STREAMS_FEW and distinct < len(streams)
