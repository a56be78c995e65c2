"""Rows as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def format_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """The columns of the rows, each as wide as its widest cell; ``None`` is shown as a dash."""
    cells = [[column.upper() for column in columns]]
    cells += [[_cell(row[column]) for column in columns] for row in rows]
    return format_cells(cells)


def format_cells(cells: Sequence[Sequence[str]]) -> str:
    """Lines of cells, each column as wide as its widest cell; the first line is the head."""
    layout = "  ".join(f"%-{max(map(len, column))}s" for column in zip(*cells, strict=True))
    return "\n".join([(layout % tuple(line)).rstrip() for line in cells])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
