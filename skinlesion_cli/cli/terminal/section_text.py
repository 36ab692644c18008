"""Sections on the terminal, without their figures, and so without matplotlib."""

from collections.abc import Iterator

from rich.console import RenderableType, group

from skinlesion_cli.cli.terminal import console, layout
from skinlesion_cli.common.text import printable
from skinlesion_cli.report.content import Cell, Items, Number, Pairs, Paragraph, Section, Table


@group()
def section_text(section: Section) -> Iterator[RenderableType]:
    """A section without its notes and figures."""
    for block in section.blocks:
        match block:
            case Paragraph(text, kind) if kind != "note":
                yield layout.Paragraph(_plain(text))
            case Items(items):
                yield layout.Paragraph("\n".join(map(_plain, items)))
            case Pairs(pairs):
                yield layout.Paragraph("   ".join(f"{name} {_cell(value)}" for name, value in pairs))
            case Table():
                yield drawn(block)


def drawn(table: Table) -> layout.Table:
    """A table of a section."""
    names = [_plain(column.short or column.name) for column in table.columns]
    rows = [
        [_cell(cell, intervals=column.intervals) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]
    left = [place for place, column in enumerate(table.columns) if not column.numeric]
    return console.table(names, rows, left)


def _cell(cell: Cell, *, intervals: bool = True) -> str:
    if isinstance(cell, Number):
        return f"{cell.written(4)}  {cell.bounds if intervals else ''}".rstrip()
    return _plain(str(cell))


def _plain(text: str) -> str:
    """Text with ordinary spaces, and control characters shown, not executed."""
    return printable(text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NARROW NO-BREAK SPACE}", ","))
