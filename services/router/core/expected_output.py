"""How many tokens the answers of a pool take, learnt from those that have ended."""

WEIGHT = 0.05
"""Of a new answer in the mean, which so remembers some twenty of them."""


class ExpectedOutput:
    """An exponentially weighted mean of answers' lengths, within bounds.

    It begins at its lower bound, so that a flood of long answers after many short ones finds no less room
    reserved than was configured.
    """

    __slots__ = ("_mean_tokens", "_tokens_max", "_tokens_min")

    def __init__(self, tokens_min: int, tokens_max: int) -> None:
        self._tokens_min, self._tokens_max = tokens_min, max(tokens_min, tokens_max)
        self._mean_tokens = float(tokens_min)

    @property
    def tokens(self) -> int:
        """What to expect of an answer that may be as long as it likes."""
        return max(self._tokens_min, min(round(self._mean_tokens), self._tokens_max))

    def learn(self, tokens: int, *, is_whole: bool) -> None:
        """Take in an answer that has ended after so many tokens.

        One that was cut short (by its own limit, its client or a failure) would have taken more. So it says
        something only where it is already longer than what is expected.
        """
        if is_whole or tokens > self.tokens:
            self._mean_tokens += WEIGHT * (tokens - self._mean_tokens)
