"""The training schedule: which rows, how many, at what rate."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 7
MUON_RATE = 0.012
ADAM_RATE = 0.003
CAREFUL_SHARE = 0.1
TOKENIZER_CONVERSATIONS = 4000


@dataclass(frozen=True)
class Stage:
    """``steps`` updates; row lengths take turns, the rate is linear in the step."""

    steps: int
    row_tokens: tuple[int, ...]
    rate_start: float = 1.0
    rate_end: float = 1.0
    step_tokens: int = 4608
    copy_share: float = 0.05
    """Of rows that are pure copying exercises."""
    small_share: float = 0.0
    """Of the other rows, beyond what the corpus has, that are short questions only."""
    repeat_share: float = 0.0
    """Of the rows that are left, beyond what the corpus has, in which a text is to be repeated."""
    first_token_weight: float = 4.0
    """The first token of an answer decides what is copied, so it counts for more."""


LONG = (512, 2304, 256, 1024)

STAGES: tuple[Stage, ...] = (
    Stage(steps=40, row_tokens=(256,), rate_start=0.1),
    Stage(steps=460, row_tokens=(512, 256)),
    Stage(steps=400, row_tokens=(512, 1024, 256), rate_end=0.7, small_share=0.2),
    Stage(steps=100, row_tokens=LONG, rate_start=0.7, rate_end=0.547, small_share=0.2),
    Stage(steps=430, row_tokens=LONG, rate_start=0.547, rate_end=0.01, small_share=0.15, repeat_share=0.35),
)
