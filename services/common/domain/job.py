"""One piece of work for one worker."""

from array import array
from dataclasses import field
from enum import IntEnum

from services.common.domain.embedding import EmbeddingAsk
from services.common.domain.handoff import HandoffTicket
from services.common.domain.record import record
from services.common.domain.sampling import Sampling
from services.common.domain.tokens import no_tokens


class JobKind(IntEnum):
    """What the worker is to do with the prompt."""

    PREFILL = 1
    """Run the prompt, sample one token, offer the KV."""
    ADOPT = 2
    """Take an offered KV over and generate from the second token."""
    LOCAL = 3
    """Run the prompt and generate."""
    EMBED = 4
    """Run the prompt and give its vector, with the job's end."""


@record
class Job:
    """Work for an engine, named by `stream`, which is unique within the engine's life.

    The text so far is `prompt + delivered`; only tokens after it are reported. An ADOPT job's
    ticket covers the KV of all of that text but the last token, which the prefill worker sampled.
    """

    stream: int
    kind: JobKind
    request_id: str
    prompt: "array[int]"
    sampling: Sampling
    delivered: "array[int]" = field(default_factory=no_tokens)
    cache_salt: str = ""
    lora: str = ""
    priority: int = 0
    """Lower runs first."""
    handoff: HandoffTicket | None = None
    """Set for ADOPT jobs."""
    embedding: EmbeddingAsk | None = None
    """Set for EMBED jobs, whose sampling says nothing."""

    @property
    def tokens_left(self) -> int:
        """Tokens that this job may still generate."""
        return self.sampling.max_tokens - len(self.delivered)
