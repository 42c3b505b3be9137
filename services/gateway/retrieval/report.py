"""What became of looking passages up."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that may help to answer, and where it is from. `score`: 1 is the same, 0 is unrelated."""

    passage_id: str
    text: str
    source: str
    score: float


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """For the answer: it says so when the passages could not be had."""

    status: str
    """ "ok", "empty", or why there are none: "timeout", "unavailable", "failed", "suspended"."""
    took_ms: float = 0.0
    passages: tuple[Passage, ...] = ()
    """Those in the prompt."""
    prompt_tokens: int = 0
    """Tokens of these."""

    @property
    def has_failed(self) -> bool:
        """Whether passages could not be looked up."""
        return self.status not in ("ok", "empty")

    def as_json(self) -> dict[str, Any]:
        """For people and programs; without the texts."""
        return {
            "status": self.status,
            "prompt_tokens": self.prompt_tokens,
            "took_ms": round(self.took_ms, 3),
            "passages": [
                {"id": one.passage_id, "source": one.source, "score": round(one.score, 4)}
                for one in self.passages
            ],
        }
