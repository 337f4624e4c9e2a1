"""What a benchmark found, for the console and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.artifacts import write_text

Cell = str | float | int


@dataclass(frozen=True, slots=True)
class BenchmarkTable:
    """Named columns, one row per thing measured."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    conditions: dict[str, Any] = field(default_factory=dict)
    """What was measured on what."""

    def show(self, console: Console) -> None:
        """Print the table, its notes below."""
        shown = Table(title=self.title, title_justify="left")
        for index, column in enumerate(self.columns):
            shown.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        for row in self.rows:
            shown.add_row(*(_text(cell) for cell in row))
        console.print(shown)
        for note in self.notes:
            console.print(note, highlight=False)

    def write(self, folder: Path) -> Path:
        """Write `<name>.json` with every digit."""
        path = folder / f"{self.name}.json"
        write_text(path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")
        return path


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell.is_integer() else f"{cell:.4g}"
    return str(cell)
