"""How many characters of a text one token can stand for, at most."""

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

RUN_CHARS = 4_096
BOUNDLESS_CHARS = 1_024
"""A token that stands for so many characters stands for any number."""
_RUNS = (
    *(" ", "\n", "\t", "a", "=", ".", "é", "e\u0301", "\u1112\u1161\u11ab", "ﬁ", "中", "😀", "\U00020000"),
    *("\x00", "\u200b", "\u0301", "\ufffd", "\ue000", "a ", " a\n"),
)
"""What tokenizers join, shorten, leave out or do not know."""


def chars_per_token_max(tokenizer: Tokenizer, encode: Callable[[str], Sequence[int]]) -> int | None:
    """The length of the vocabulary's longest token, if texts are never longer than their tokens.

    Some tokenizers leave out blanks, or make one token of a whole run of characters that they do not know:
    for those there is no such number, and `None` says so. It is found out by trying.
    """
    longest = max(map(len, tokenizer.get_vocab(with_added_tokens=True)), default=0)
    for run in _RUNS:
        text = run * (RUN_CHARS // len(run))
        chars = len(text) / max(1, len(encode(text)))
        if chars > max(longest, BOUNDLESS_CHARS):
            return None
        longest = max(longest, int(chars) + 1 if chars > longest else 0)
    return longest
