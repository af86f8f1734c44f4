"""Tables as text: in Markdown, or aligned for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def markdown(header: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (header, *rows)]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def aligned(header: Row, rows: Sequence[Row]) -> str:
    """The same in columns of equal width; the first is aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in (header, *rows))
    ]
    return "\n".join(line.rstrip() for line in lines)
