"""What vLLM and its libraries complain of, in words for the caller."""

import re

CHARS_MAX = 300
_PLACE = re.compile(r"\[[\d:]+\] \S+:\d+: ")
"""Time and source line, which xgrammar writes before its reasons."""


def in_short(complaint: str) -> str:
    """A complaint's first line, without the place in the library that it comes from."""
    return _PLACE.sub("", complaint.strip().partition("\n")[0])[:CHARS_MAX]
