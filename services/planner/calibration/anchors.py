"""What is measured of a mesh, and the step times that follow.

A prompt of L tokens alone takes a + b L + c L^2. A step of n sequences with a context of C tokens each takes
d + e n + f n C. Both kinds of step meet in one table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import BadSetting
from services.planner.calibration.least_squares import fit, mean_residual
from services.worker.engine.sim.step_times import Curve, StepTimes, Surface

CONTEXT_TOKENS_MAX = 131_072
PROMPT_POINTS = 12


@dataclass(frozen=True, slots=True)
class PromptAnchor:
    """A prompt that ran alone."""

    tokens: int
    ms: float


@dataclass(frozen=True, slots=True)
class DecodeAnchor:
    """So many sequences that decoded together."""

    sequences: int
    context_tokens: float
    """Of each, on average."""
    step_ms: float


@dataclass(frozen=True, slots=True)
class Anchors:
    """All of a mesh."""

    prompts: Sequence[PromptAnchor]
    decoding: Sequence[DecodeAnchor]
    front_ms: float
    kv_token_bytes: int
    kv_blocks: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Step times, and how far they are from what was measured, as a share."""

    times: StepTimes
    prompt_residual: float
    decode_residual: float


def calibrate(anchors: Anchors, name: str) -> Calibration:
    """Fit; raises `BadSetting` where there are too few anchors."""
    if len(anchors.prompts) < 2 or len(anchors.decoding) < 2:
        raise BadSetting("a calibration needs two lengths of prompts and two numbers of sequences at least")
    prompt_rows = [(1.0, float(a.tokens), float(a.tokens) ** 2) for a in anchors.prompts]
    prompt_ms = [a.ms for a in anchors.prompts]
    decode_rows = [(1.0, float(a.sequences), a.sequences * a.context_tokens) for a in anchors.decoding]
    decode_ms = [a.step_ms for a in anchors.decoding]
    prompt, decode = fit(prompt_rows, prompt_ms), fit(decode_rows, decode_ms)
    return Calibration(
        _times(anchors, name, prompt, decode),
        mean_residual(prompt_rows, prompt_ms, prompt),
        mean_residual(decode_rows, decode_ms, decode),
    )


def _times(anchors: Anchors, name: str, prompt: Sequence[float], decode: Sequence[float]) -> StepTimes:
    most = max(a.sequences for a in anchors.decoding)
    longest = max(a.tokens for a in anchors.prompts)
    points = {float(n): decode[0] + decode[1] * n for n in (1, max(2, most))}
    for tokens in (2.0 * most, 4.0 * most, float(longest), 4.0 * longest):
        # Below the shortest prompt, a prompt's step is no quicker than one that decodes as many tokens.
        points.setdefault(tokens, max(prompt[0] + prompt[1] * tokens, decode[0] + decode[1] * most))
    at = tuple(sorted(points))
    zero = Curve((0.0, float(CONTEXT_TOKENS_MAX)), (0.0, 0.0))
    one = Curve((0.0, float(CONTEXT_TOKENS_MAX)), (0.0, decode[2] * CONTEXT_TOKENS_MAX))
    lengths = tuple(CONTEXT_TOKENS_MAX / 2.0**i for i in reversed(range(PROMPT_POINTS)))
    return StepTimes(
        name=name,
        source="fitted",
        dense=Curve(at, tuple(points[tokens] for tokens in at)),
        decode_attention=Surface((0.0, 1.0), (zero, one)),
        prefill_attention=Curve((0.0, *lengths), (0.0, *(prompt[2] * n**2 for n in lengths))),
        kv_token_bytes=anchors.kv_token_bytes,
        kv_blocks=anchors.kv_blocks,
        front_ms=anchors.front_ms,
    )
