"""How lists are printed: a table on a terminal, aligned columns of whole words elsewhere."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 2  # spaces between columns


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] | None = None) -> None:
    """Nothing is cut off, so that scripts and people can copy what they see; ``styles`` colour whole cells by text."""
    console = Console(highlight=False)
    if not console.is_terminal:
        for line in aligned(columns, rows):
            print(line)
        return
    table = Table(box=box.SIMPLE, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, (styles or {}).get(cell, "")) for cell in row))
    console.print(table)


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[index]) for line in lines) + GAP for index in range(len(columns))]
    return ["".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
