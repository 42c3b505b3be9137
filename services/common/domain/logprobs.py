"""How likely tokens were: log probabilities of those generated and of the most likely ones beside them."""

from array import array
from dataclasses import dataclass, field

from services.common.domain.tokens import tokens


def logprobs(values: "list[float] | tuple[float, ...]" = ()) -> "array[float]":
    """Natural logarithms of probabilities, 32 bits each."""
    return array("f", values)


@dataclass(slots=True)
class TokenLogprobs:
    """Of consecutive tokens of one stream, in their order: `chosen` has one entry for each token.

    `top_ids` and `top` have `alternatives` entries for each token, the most likely first; the chosen token
    is among them only if it is as likely. An impossible token has minus infinity.
    """

    alternatives: int = 0
    chosen: "array[float]" = field(default_factory=logprobs)
    top_ids: "array[int]" = field(default_factory=tokens)
    top: "array[float]" = field(default_factory=logprobs)

    def __len__(self) -> int:
        """Tokens described."""
        return len(self.chosen)

    def extend(self, other: "TokenLogprobs") -> None:
        """Append those of the stream's next tokens."""
        self.chosen.extend(other.chosen)
        self.top_ids.extend(other.top_ids)
        self.top.extend(other.top)

    def part(self, begin: int, end: int) -> "TokenLogprobs":
        """Those of tokens `begin` to `end - 1`."""
        k = self.alternatives
        return TokenLogprobs(
            k, self.chosen[begin:end], self.top_ids[begin * k : end * k], self.top[begin * k : end * k]
        )


@dataclass(slots=True)
class LogprobColumns:
    """Logprobs of one step as a structure of arrays, for the streams that asked for them.

    `streams`, `counts` (tokens) and `alternatives` have one entry for each such stream; a stream that has
    several entries has them in the order of its tokens. The other columns are those of `TokenLogprobs`,
    stream after stream.
    """

    streams: "array[int]" = field(default_factory=tokens)
    counts: "array[int]" = field(default_factory=tokens)
    alternatives: "array[int]" = field(default_factory=tokens)
    chosen: "array[float]" = field(default_factory=logprobs)
    top_ids: "array[int]" = field(default_factory=tokens)
    top: "array[float]" = field(default_factory=logprobs)

    def add(self, stream: int, of_tokens: TokenLogprobs) -> None:
        """Append one stream's."""
        self.streams.append(stream)
        self.counts.append(len(of_tokens))
        self.alternatives.append(of_tokens.alternatives)
        self.chosen.extend(of_tokens.chosen)
        self.top_ids.extend(of_tokens.top_ids)
        self.top.extend(of_tokens.top)

    def extend(self, other: "LogprobColumns") -> None:
        """Append another step's."""
        self.streams.extend(other.streams)
        self.counts.extend(other.counts)
        self.alternatives.extend(other.alternatives)
        self.chosen.extend(other.chosen)
        self.top_ids.extend(other.top_ids)
        self.top.extend(other.top)

    def is_well_formed(self) -> bool:
        """Whether the columns' lengths agree, and each stream has one number of alternatives."""
        if not len(self.streams) == len(self.counts) == len(self.alternatives):
            return False
        if len(set(zip(self.streams, self.alternatives, strict=True))) != len(set(self.streams)):
            return False
        beside = sum(n * k for n, k in zip(self.counts, self.alternatives, strict=True))
        return sum(self.counts) == len(self.chosen) and beside == len(self.top_ids) == len(self.top)

    def by_stream(self) -> dict[int, TokenLogprobs]:
        """Each stream's, once even where the columns hold several steps."""
        found: dict[int, TokenLogprobs] = {}
        begin = top_begin = 0
        for stream, count, k in zip(self.streams, self.counts, self.alternatives, strict=True):
            end, top_end = begin + count, top_begin + count * k
            part = TokenLogprobs(
                k, self.chosen[begin:end], self.top_ids[top_begin:top_end], self.top[top_begin:top_end]
            )
            begin, top_begin = end, top_end
            if stream in found:
                found[stream].extend(part)
            else:
                found[stream] = part
        return found
