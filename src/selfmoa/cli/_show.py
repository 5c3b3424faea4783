"""Printing: JSON for programs, tables for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["say", "show_json", "show_table"]


def say(text: str) -> None:
    """One line on stdout."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False, emoji=False)


def show_json(value: Any) -> None:
    """JSON on stdout."""
    json.dump(value, sys.stdout, indent=1, ensure_ascii=False, default=str)
    sys.stdout.write("\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """A table on stdout."""
    table = Table(*columns, title=title or None, title_justify="left", header_style="bold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console = Console(highlight=False)
    # without a terminal nothing is cut to 80 columns
    Console(highlight=False, width=None if console.is_terminal else 160).print(table, markup=False, emoji=False)
