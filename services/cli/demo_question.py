"""What `pdmesh demo` asks by default: a look-up whose answer stands near the beginning of a long prompt."""

_WORDS = """
    river bridge castle engine forest garden hammer island jacket kettle ladder mirror needle ocean pencil
    queen stone table umbrella valley window yard anchor basket candle door eagle feather glass hill ice jar
    key lamp moon nest orange paper rabbit ship tower van wheel bear cloud drum egg fox goat hat ink jewel
    king leaf map nut owl pear ring star tree vase wolf bell cat dog fish horse lion mouse pig rose sun tiger
    bread milk salt sugar coffee tea train plane boat road city house room wall floor roof book page word
    letter number clock watch chair bottle cup plate spoon fork knife box bag shoe coat
"""
KEYS = tuple(_WORDS.split())
"""One-token words of the demo model."""

VALUE_LEAST = 1_000
VALUES = 9_000
VALUE_STRIDE = 3_571
"""Shares no divisor with `VALUES`, so that no two rows have the same value."""

ASKED = "engine"
SHOWN_FIRST, SHOWN_LAST = 5, 2

ROWS = tuple(f"{key}: {VALUE_LEAST + n * VALUE_STRIDE % VALUES}" for n, key in enumerate(KEYS, start=1))
_LINES = ("Here is a table:", *ROWS, f"What is the value of {ASKED}?")

QUESTION = "\n".join(_LINES)
"""Long enough to be handed over, and its answer stands nowhere but in the KV cache that is."""

RIGHT_ANSWER = next(row for row in ROWS if row.startswith(f"{ASKED}:"))


def shortened() -> str:
    """The question as people read it: with most rows of the table left out."""
    left_out = len(ROWS) - SHOWN_FIRST - SHOWN_LAST
    ellipsis = f"... ({left_out} more rows)"
    return "\n".join([*_LINES[: SHOWN_FIRST + 1], ellipsis, *_LINES[-SHOWN_LAST - 1 :]])
