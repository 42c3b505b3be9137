"""Rows for people."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Aligned lines: numbers to the right, text to the left."""
    columns = list(zip(*[head, *rows], strict=True))
    widths = [max(len(str(cell)) for cell in column) for column in columns]
    rights = [
        all(isinstance(cell, int | float) for cell in column[1:]) and len(column) > 1 for column in columns
    ]
    return [_line(row, widths, rights) for row in (head, *rows)]


def _line(row: Sequence[object], widths: Sequence[int], rights: Sequence[bool]) -> str:
    cells = zip(row, widths, rights, strict=True)
    return "  ".join(
        f"{cell!s:>{width}}" if right else f"{cell!s:<{width}}" for cell, width, right in cells
    ).rstrip()
