"""How long an engine's steps take: tables of one model on one GPU, whoever they come from.

A step's time is the host's, plus everything but attention for all its tokens, plus attention over the KV of
what decodes, plus attention of the prompts' chunks over themselves and what came before them. Each part is
a table with straight lines between its points and beyond them.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

SOURCES = ("measured", "fitted", "roofline")
"""Where figures come from: kernels timed on the silicon, a mesh of one's own, or peak rates."""

DECODE_TOKENS_MAX = 512
"""A step of more tokens than that runs prompts."""

Chunk = tuple[int, int]
"""Part of a prompt in one step: its tokens, and those that are in the KV cache before them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Milliseconds at some points, which rise; straight lines between them and beyond the last two."""

    at: tuple[float, ...]
    ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.at) != len(self.ms) or len(self.at) < 2:
            raise ValueError("a curve needs two or more points, each with its milliseconds")
        if list(self.at) != sorted(set(self.at)):
            raise ValueError("a curve's points must rise")

    def __call__(self, x: float) -> float:
        """The time at `x`; never negative."""
        at, ms = self.at, self.ms
        i = min(max(bisect_right(at, x), 1), len(at) - 1)
        left = at[i - 1]
        value = ms[i - 1] + (x - left) * (ms[i] - ms[i - 1]) / (at[i] - left)
        return value if value > 0.0 else 0.0

    def rounded(self) -> "Curve":
        """To a tenth of a microsecond."""
        return Curve(self.at, tuple(round(ms, 4) for ms in self.ms))

    def scaled(self, factor: float) -> "Curve":
        """All times multiplied."""
        return Curve(self.at, tuple(ms * factor for ms in self.ms))

    def stretched(self, beyond: float, factor: float) -> "Curve":
        """What is added beyond a point, multiplied."""
        base = self(beyond)
        times = zip(self.at, self.ms, strict=True)
        return Curve(self.at, tuple(ms if x <= beyond else base + (ms - base) * factor for x, ms in times))


@dataclass(frozen=True, slots=True)
class Surface:
    """A curve over context for each of some numbers of sequences; straight lines between the curves."""

    at: tuple[float, ...]
    curves: tuple[Curve, ...]

    def __call__(self, x: float, y: float) -> float:
        """The time of `x` sequences with `y` tokens of context each, on average."""
        at = self.at
        if len(at) == 1:
            return self.curves[0](y) * x / at[0]
        i = min(max(bisect_right(at, x), 1), len(at) - 1)
        low, high = self.curves[i - 1](y), self.curves[i](y)
        value = low + (x - at[i - 1]) * (high - low) / (at[i] - at[i - 1])
        return value if value > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Host:
    """What an engine takes that its kernels do not: constants of its software and its processors."""

    step_ms: float
    """Of each step."""
    sequence_us: float
    """Of each step and decoding sequence."""
    front_ms: float
    """Of each request, outside the steps."""
    prompt_factor: float = 1.0
    """On the kernels of prompts: they are timed one by one, on a GPU that is not at its power limit."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """One engine's times, labelled by their source."""

    name: str
    source: str
    dense: Curve
    """Everything but attention, over all tokens of the step."""
    decode_attention: Surface
    """Over sequences and their mean context."""
    prefill_attention: Curve
    """Of a whole prompt, over its length."""
    kv_token_bytes: int
    """Over all GPUs of the engine."""
    kv_blocks: int
    """Blocks that fit beside the weights."""
    host_ms: float = 0.0
    """Time of a step that no kernel takes: scheduling, sampling, launching."""
    sequence_us: float = 0.0
    """The same, for each decoding sequence."""
    front_ms: float = 0.0
    """Time of a request outside its engine's steps: HTTP, tokens, queues between processes."""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"the source {self.source!r} is none of {', '.join(SOURCES)}")

    def step_ms(
        self, chunks: Iterable[Chunk], decoding: int, context_tokens: int, drafts_each: int = 0
    ) -> float:
        """One step's time; `context_tokens` is the sum over what decodes.

        With speculative decoding so many drafted tokens are checked for each sequence beside its next.
        """
        tokens, took_ms = decoding * (1 + drafts_each), self.host_ms
        if decoding:
            took_ms += decoding * self.sequence_us / 1e3
            took_ms += self.decode_attention(decoding, context_tokens / decoding)
        attention = self.prefill_attention
        fixed_ms = attention.ms[0]
        first = True
        for size, before in chunks:
            tokens += size
            # The launch of the kernels is paid once for all prompts of a step.
            took_ms += attention(before + size) - (attention(before) if before else fixed_ms)
            if first:
                took_ms += fixed_ms
                first = False
        return took_ms + self.dense(tokens)

    def decode_ms(self, sequences: int, context_tokens_each: float) -> float:
        """A step in which so many sequences decode and no prompt runs."""
        return self.step_ms((), sequences, int(sequences * context_tokens_each))

    def prefill_ms(self, tokens: int, batched_tokens_max: int) -> float:
        """A whole prompt by itself, in chunks of at most so many tokens."""
        done, took_ms = 0, 0.0
        while done < tokens:
            size = min(batched_tokens_max, tokens - done)
            took_ms += self.step_ms(((size, done),), 0, 0)
            done += size
        return took_ms

    def with_host(self, host: Host) -> "StepTimes":
        """The same kernels in an engine whose host takes these times."""
        return replace(
            self,
            dense=self.dense.stretched(DECODE_TOKENS_MAX, host.prompt_factor),
            prefill_attention=self.prefill_attention.scaled(host.prompt_factor),
            host_ms=host.step_ms,
            sequence_us=host.sequence_us,
            front_ms=host.front_ms,
        )

    def rounded(self) -> "StepTimes":
        """To a tenth of a microsecond, for a file that people may read."""
        surface = self.decode_attention
        return replace(
            self,
            dense=self.dense.rounded(),
            decode_attention=Surface(surface.at, tuple(curve.rounded() for curve in surface.curves)),
            prefill_attention=self.prefill_attention.rounded(),
        )

    def to_json(self) -> str:
        """As a file holds it."""
        parts = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self._items())
        return "{\n " + ",\n ".join(parts) + "\n}\n"

    def _items(self) -> Iterable[tuple[str, Any]]:
        return {"format": FORMAT, **asdict(self)}.items()

    @classmethod
    def from_json(cls, text: str | bytes) -> "StepTimes":
        """The reverse of `to_json`; raises ValueError, in words, for anything else."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from error
        if not isinstance(given, dict) or given.pop("format", None) != FORMAT:
            raise ValueError(f"no timing profile: its format is not {FORMAT!r}")
        try:
            return cls._of(given)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a broken timing profile: {error!r}") from error

    @classmethod
    def _of(cls, given: Mapping[str, Any]) -> "StepTimes":
        surface = given["decode_attention"]
        parts: dict[str, Any] = {
            "dense": _curve(given["dense"]),
            "prefill_attention": _curve(given["prefill_attention"]),
            "decode_attention": Surface(tuple(surface["at"]), tuple(map(_curve, surface["curves"]))),
        }
        known = {field.name for field in fields(cls)}
        plain = {key: value for key, value in given.items() if key in known and key not in parts}
        return cls(**plain, **parts)


FORMAT = "pdmesh-step-times-1"


def _curve(given: Mapping[str, Sequence[float]]) -> Curve:
    return Curve(tuple(given["at"]), tuple(given["ms"]))
