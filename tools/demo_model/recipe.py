"""The training schedule: which rows, how many, at what rate."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 7
MUON_RATE = 0.02
ADAM_RATE = 0.004
TOKENIZER_CONVERSATIONS = 4000


@dataclass(frozen=True)
class Stage:
    """``steps`` updates of about ``step_tokens``; row lengths take turns, the rate is linear in the step.

    The first token of an answer decides what is copied; it weighs ``first_token_weight`` times as much.
    """

    steps: int
    step_tokens: int
    row_tokens: tuple[int, ...]
    copy_share: float
    rate_start: float = 1.0
    rate_end: float = 1.0
    first_token_weight: float = 1.0


STAGES: tuple[Stage, ...] = (
    Stage(steps=60, step_tokens=4096, row_tokens=(128,), copy_share=0.8, rate_start=0.05),
    Stage(steps=140, step_tokens=4096, row_tokens=(128,), copy_share=0.4),
    Stage(steps=400, step_tokens=4096, row_tokens=(256,), copy_share=0.1),
    Stage(steps=500, step_tokens=4096, row_tokens=(512, 256), copy_share=0.1, rate_start=0.6, rate_end=0.5),
    Stage(
        steps=100,
        step_tokens=6144,
        row_tokens=(1024, 512, 1024, 256),
        copy_share=0.08,
        rate_start=0.5,
        rate_end=0.4375,
    ),
    Stage(
        steps=50,
        step_tokens=4608,
        row_tokens=(2304, 1024, 256, 512),
        copy_share=0.08,
        rate_start=0.4375,
        rate_end=0.4125,
    ),
    Stage(
        steps=150,
        step_tokens=4608,
        row_tokens=(2304, 1024, 256, 512),
        copy_share=0.05,
        rate_start=0.4125,
        rate_end=0.3375,
        first_token_weight=4.0,
    ),
    Stage(
        steps=100,
        step_tokens=4608,
        row_tokens=(2304, 1024, 256, 512),
        copy_share=0.05,
        rate_start=0.3375,
        rate_end=0.1375,
        first_token_weight=4.0,
    ),
    Stage(
        steps=50,
        step_tokens=4608,
        row_tokens=(2304, 1024, 256, 512),
        copy_share=0.05,
        rate_start=0.1375,
        rate_end=0.005,
        first_token_weight=4.0,
    ),
)
