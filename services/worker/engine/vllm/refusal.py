"""What vLLM says of a request that it refuses, in words for the caller."""

import re

from services.common.domain import SHAPE_REFUSED, Job
from services.worker.engine.vllm.complaints import in_short

_ABOUT_SHAPE = re.compile(r"grammar|structur|schema|regex|choice", re.IGNORECASE)


def refusal(said: str, job: Job) -> str:
    """One line; it begins with `SHAPE_REFUSED` where the shape of the answer is at fault."""
    line = in_short(said)
    is_about_shape = job.sampling.structured is not None and _ABOUT_SHAPE.search(line)
    return f"{SHAPE_REFUSED}{line}" if is_about_shape else line
