"""selfmoa inspect-log DIR --out FILE"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from selfmoa.cli._show import say

__all__ = ["inspect_log"]


def inspect_log(
    evaluation: Annotated[str, typer.Argument(help="A run or an evaluation; DIR:before is a run's base.")],
    out: Annotated[Path, typer.Option("--out", help="The log, e.g. logs/mine.json (`inspect view --log-dir logs`).")],
) -> None:
    """Write answers and verdicts as a log of Inspect. It holds attacks and answers in plain words."""
    from selfmoa.compare import load_arm
    from selfmoa.interop import to_inspect
    from selfmoa.run import write_text

    arm = load_arm(evaluation)
    write_text(out, json.dumps(to_inspect(arm.name, arm.items, arm.judges), allow_nan=False) + "\n")
    say(f"{len(arm.items)} answers: {out}")
