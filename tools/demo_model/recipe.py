"""The training schedule: which rows, how many, at what rate."""

from __future__ import annotations

from dataclasses import dataclass

SEED = 7
MUON_RATE = 0.02
ADAM_RATE = 0.004
TOKENIZER_CONVERSATIONS = 4000


@dataclass(frozen=True)
class Stage:
    """``steps`` updates of about ``step_tokens``; row lengths take turns, the rate is linear in the step."""

    steps: int
    step_tokens: int
    row_tokens: tuple[int, ...]
    copy_share: float
    rate_start: float = 1.0
    rate_end: float = 1.0


STAGES: tuple[Stage, ...] = (
    Stage(steps=60, step_tokens=4096, row_tokens=(128,), copy_share=0.8, rate_start=0.05),
    Stage(steps=140, step_tokens=4096, row_tokens=(128,), copy_share=0.4),
    Stage(steps=400, step_tokens=4096, row_tokens=(256,), copy_share=0.1),
    Stage(steps=500, step_tokens=4096, row_tokens=(512, 256), copy_share=0.1, rate_start=0.6, rate_end=0.5),
    Stage(
        steps=400,
        step_tokens=6144,
        row_tokens=(1024, 512, 1024, 256),
        copy_share=0.08,
        rate_start=0.5,
        rate_end=0.25,
    ),
    Stage(
        steps=200,
        step_tokens=9216,
        row_tokens=(2304, 1024, 2304, 256),
        copy_share=0.08,
        rate_start=0.25,
        rate_end=0.01,
    ),
)
