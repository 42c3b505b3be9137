"""Rows of token ids for training: conversations with their answers marked, and pure copying exercises."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from tokenizers import Tokenizer

from tools.demo_model import chat
from tools.demo_model.corpus import Conversation, small_conversation, training_conversation
from tools.demo_model.recipe import Stage

FIRST_PLAIN_ID = 5
"""Ids below are the marks of :mod:`tools.demo_model.tokenizer`; padding is id 0."""

COPY_KNOWN_TOKENS = 2
"""So many tokens of a copied stretch identify it; the rest can be predicted."""


@dataclass(frozen=True)
class Row:
    """Token ids and, for each, whether the model learns to predict it."""

    ids: list[int]
    learned: list[bool]

    def cut(self, length: int) -> Row:
        """The first ``length`` tokens, padded."""
        missing = max(0, length - len(self.ids))
        return Row(self.ids[:length] + [0] * missing, self.learned[:length] + [False] * missing)


class RowMaker:
    """Makes row ``index`` of a corpus seed; equal arguments give equal rows."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._tokenizer = tokenizer
        self._seed = seed
        self._encode_short = lru_cache(maxsize=4096)(self._encode)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def size(self, text: str) -> int:
        """Number of tokens of ``text``."""
        return len(self._encode_short(text)) if len(text) < 80 else len(self._encode(text))

    def row(self, index: str, length: int, stage: Stage) -> Row:
        """One row of exactly ``length`` tokens."""
        rng = Random(f"row {self._seed} {index}")
        if rng.random() < stage.copy_share:
            return copy_exercise(rng, length, self._tokenizer.get_vocab_size())
        return self.conversation_row(self._conversation(rng, length - 8, stage)).cut(length)

    def _conversation(self, rng: Random, budget_tokens: int, stage: Stage) -> Conversation:
        if stage.small_share and rng.random() < stage.small_share:
            return small_conversation(rng, self.size, budget_tokens)
        kind = "repeat" if stage.repeat_share and rng.random() < stage.repeat_share else None
        return training_conversation(rng, self.size, budget_tokens, kind)

    def conversation_row(self, conversation: Conversation) -> Row:
        """All turns; answers and the end of each answer are learned."""
        ids: list[int] = []
        learned: list[bool] = []
        system = chat.system_text(conversation.system, conversation.tools)
        messages = [m for m in conversation.messages() if m.role != "system"]
        for message in ([chat.Message("system", system)] if system else []) + messages:
            head = self._encode_short(chat.turn_head(message.role))
            body = self._encode(message.content + chat.TURN_END)
            ids += [*head, *body, *self._encode_short("\n")]
            learned += [False] * len(head) + [message.role == "assistant"] * len(body) + [False]
        return Row(ids, learned)


def copy_exercise(rng: Random, length: int, vocab_size: int) -> Row:
    """Random tokens, then stretches of what stood before, taken from anywhere."""
    alphabet = rng.sample(range(FIRST_PLAIN_ID, vocab_size), rng.choice((20, 60, 200, 800)))
    ids = [rng.choice(alphabet) for _ in range(int(length * rng.uniform(0.15, 0.5)))]
    learned = [False] * len(ids)
    while len(ids) < length:
        start = rng.randrange(len(ids) - 4)
        stretch = ids[start : start + rng.randint(4, 60)]
        ids += stretch
        learned += [False] * COPY_KNOWN_TOKENS + [True] * (len(stretch) - COPY_KNOWN_TOKENS)
    return Row(ids[:length], learned[:length])
