"""Texts on which two tokenizers are likely to differ, if they differ at all."""

import random
from collections.abc import Iterator, Sequence

from tokenizers import AddedToken, Tokenizer

MIXED_TEXTS = 200
"""Random texts of many scripts, with the tokenizer's own tokens between."""
VOCABULARY_TEXTS = 100
"""Texts made of tokens of the vocabulary."""
ADDED_TOKENS_MAX = 48
"""Added tokens that are tried one by one; those that take their neighbours along come first."""

_HARD = (
    *("", " ", "  ", "\n", "\t", "a", " a", "a ", "\x00", "\x7f\x1b[0m", "\ufeffhi", "\ufffd", "\u00ad"),
    *(" " * 70, "\n" * 40, "\r\n" * 20, " \n" * 30, "\t \t" * 20, "a" * 500, "1" * 60, "=-" * 40, "'" * 30),
    "It's DON'T we'll I'M 'S 's 'ſ they'Ve o'clock rock'n'roll",
    "The quick brown fox jumps over the lazy dog. 1234567 3.14159 1,000,000 0x1F 2026-11-30T10:50:25Z",
    "def f(x: int) -> dict[str, int]:\n    return {'a': x ** 2}  # 🦜\n\n\nclass A(B):\n\tpass\n",
    '{"role": "user", "content": "<|im_start|>\\n</s>[INST]<0x41>▁"}',
    "https://example.com/a?b=c&d=%20#e user@example.com C:\\dir\\file.txt $HOME/.config ~/x",
    "Grüße aus Köln, façade, İstanbul, ǅ ß ẞ ﬁ ﬀ ① ½ Ⅷ ™ Å Å e\u0301 o\u0302\u0323 \u0301\u0301",
    "東京タワー、北京大学。한국어 한글 조합형 \u1112\u1161\u11ab ｱｲｳ ＡＢＣ１２３　全角",
    "Москва и ἀρχή עברית עִם נִקּוּד العَرَبِيَّة ١٢٣ हिन्दी क्षत्रिय ภาษาไทย தமிழ் ქართული ᏣᎳᎩ አማርኛ",
    "😀😁😂 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ☺️ ☺ 🦜\u200d\u2060",
    "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g\u200bh\u202ei\u202c \v\f\x1c\x1d\x1e\x1f",
    "\U0001d54f\U0001d7d8 \U00020000\U0002a6d6 \U000e0041 \ue000\uf8ff \U000f0000 \U0010fffd",
)
_SCRIPTS = (
    *((0x20, 0x7E),) * 5,
    *((0x00, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF)),
    *((0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x206F), (0x20A0, 0x2BFF), (0x3000, 0x30FF)),
    *((0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xFB00, 0xFFFF), (0x10000, 0x1FFFF)),
    *((0x1F300, 0x1FAFF), (0xE0000, 0xE01EF)),
)
"""Ranges of characters; none holds surrogates."""
_BETWEEN = (
    *(" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000"),
    *("'s", "123", "1234567", "e\u0301", "▁", " word"),
)
_AROUND = (
    *("a{}b", "{}", " {} ", "  {}  x", "x\n{}\n\ny", "\t{}\u00a0"),
    *("{0}{0}", "{0} {0}", "é{}東", "1{}2", "_{}'s"),
)


def probes(tokenizer: Tokenizer, seed: int = 0, mixed: int = MIXED_TEXTS) -> Iterator[str]:
    """A few hundred texts, the same each time for one seed."""
    chosen = random.Random(seed)
    added = [token.content for token in _by_oddness(tokenizer)]
    yield from _HARD
    for content in added[:ADDED_TOKENS_MAX]:
        yield from (around.format(content) for around in _AROUND)
        yield from (content[:-1], content.upper(), content.lower(), content + added[0])
    for _ in range(mixed):
        yield _mixed(chosen, (*_BETWEEN, *added))
    ids = range(tokenizer.get_vocab_size())
    for _ in range(VOCABULARY_TEXTS if ids else 0):
        yield tokenizer.decode(chosen.choices(ids, k=20), skip_special_tokens=False)


def _by_oddness(tokenizer: Tokenizer) -> Sequence[AddedToken]:
    """Those first that do more than to stand for themselves."""
    return sorted(tokenizer.get_added_tokens_decoder().values(), key=_is_plain)


def _is_plain(token: AddedToken) -> bool:
    return not (token.lstrip or token.rstrip or token.single_word or token.normalized)


def _mixed(chosen: random.Random, between: Sequence[str]) -> str:
    parts = []
    for _ in range(chosen.choice((2, 5, 20, 80))):
        script = chosen.choice(_SCRIPTS)
        parts += [chr(chosen.randint(*script)) for _ in range(chosen.randint(1, 8))]
        if chosen.random() < 0.4:
            parts.append(chosen.choice(between))
    return "".join(parts)
