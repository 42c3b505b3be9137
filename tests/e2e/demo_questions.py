"""Held-out questions for the demo model, whose one right answer is known, in token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer

from tests.tidy.source import ROOT
from tools.demo_model import chat, prompts
from tools.demo_model.evaluate import token_counter
from tools.demo_model.prompts import Prompt

DEMO_MODEL = ROOT / "models" / "demo"


@dataclass(frozen=True)
class Question:
    """A prompt, and the answer up to the end of the turn."""

    prompt: Prompt
    ids: tuple[int, ...]
    wanted: tuple[int, ...]

    def is_answered_by(self, generated: Sequence[int]) -> bool:
        """Whether the tokens begin with the answer and the end of the turn."""
        return tuple(generated[: len(self.wanted)]) == self.wanted

    def position_of(self, text: str) -> range:
        """The token positions of the first occurrence of `text` in the prompt."""
        rendered = self.prompt.text()
        begin = rendered.index(text)
        before = len(_ids(rendered[:begin]))
        return range(before, before + len(_ids(text)))


def question(task: str, length_tokens: int, index: int) -> Question:
    """Held-out question `index` of a task; short tasks ignore the length."""
    prompt = prompts.heldout(task, length_tokens, index, token_counter(DEMO_MODEL))
    return Question(prompt, tuple(_ids(prompt.text())), tuple(_ids(prompt.answer + chat.TURN_END)))


@cache
def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _ids(text: str) -> list[int]:
    ids: list[int] = _tokenizer(DEMO_MODEL).encode(text).ids
    return ids
