"""Text that others have written, on a terminal."""

import sys

KEPT = "\n\t"
# A model's text may hold escape sequences, which would move the cursor, rename the window, or worse.
HARMLESS = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in KEPT}


def show(text: str) -> None:
    """Print a piece of an answer at once, control characters replaced where a terminal would obey them."""
    print(text.translate(HARMLESS) if sys.stdout.isatty() else text, end="", flush=True)
