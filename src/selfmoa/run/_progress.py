"""Progress of long steps: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress", "Task"]

_EVERY = 20.0
"""Seconds between plain lines of one step."""


class Task:
    """One long step; call `advance` as it goes on."""

    def __init__(self, owner: Progress, label: str, total: int, unit: str) -> None:
        self._owner, self._label, self._total, self._unit = owner, label, total, unit
        self._done = 0
        self._start = self._said = time.monotonic()
        self._bar = owner.bar.add_task(label, total=total, rate="") if owner.bar else None

    def advance(self, amount: int = 1, note: str = "") -> None:
        """`amount` units more are done."""
        self._done += amount
        now = time.monotonic()
        elapsed = max(now - self._start, 1e-6)
        rate = f"{self._done / elapsed:.1f} {self._unit}/s {note}".rstrip()
        if self._owner.bar is not None and self._bar is not None:
            self._owner.bar.update(self._bar, completed=self._done, rate=rate)
        elif now - self._said > _EVERY:
            self._said = now
            left = elapsed / max(self._done, 1) * max(self._total - self._done, 0)
            self._owner.say(f"  {self._label}: {self._done}/{self._total}, {rate}, about {left:.0f} s left")

    def close(self) -> None:
        """Take the bar away; say in one line what was done."""
        elapsed = time.monotonic() - self._start
        if self._owner.bar is not None and self._bar is not None:
            self._owner.bar.remove_task(self._bar)
        if self._done:
            self._owner.say(f"  {self._label}: {self._done} {self._unit} in {elapsed:.0f} s")


class Progress:
    """Where a run speaks to its user. `quiet` says nothing; `json` keeps stdout free for the result."""

    def __init__(self, mode: Literal["auto", "quiet"] = "auto") -> None:
        self._quiet = mode == "quiet"
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.bar: RichProgress | None = None

    def say(self, line: str) -> None:
        """One line for the user; never attack text or answers."""
        if not self._quiet:
            self.console.print(line, markup=False)

    @contextmanager
    def task(self, label: str, total: int, unit: str = "items") -> Iterator[Task]:
        """Show one long step."""
        if not self._quiet and self.console.is_terminal:
            with RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            ) as bar:
                self.bar = bar
                try:
                    yield from self._run(label, total, unit)
                finally:
                    self.bar = None
        else:
            yield from self._run(label, total, unit)

    def _run(self, label: str, total: int, unit: str) -> Iterator[Task]:
        task = Task(self, label, total, unit)
        try:
            yield task
        finally:
            task.close()
