"""selfmoa study STUDY | results DIR"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from selfmoa.cli._runs import AGAIN, Json, Override, Quiet, mode, stoppable
from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import SelfMoaError, UsageError

__all__ = ["results", "study"]


def study(
    target: Annotated[
        str, typer.Argument(metavar="STUDY", help="A shipped study (main, efficiency, ablations) or a YAML file.")
    ],
    smoke: Annotated[bool, typer.Option("--smoke", help="Every arm tiny, first seed only.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Where it is written (default runs/NAME).")] = None,
    override: Override = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Several recipes with several seeds on the same prompts; run it again to go on, what is finished is read."""
    from selfmoa import study as room

    found = room.load_study(target, override or [], smoke=smoke)
    if smoke:
        found = found.model_copy(update={"seeds": found.seeds[:1]})
    where = out or Path("runs") / f"{found.name}{'-smoke' if smoke else ''}"
    with stoppable(AGAIN):
        result = room.run_study(found, where, smoke=smoke, progress=mode(quiet))
    told = room.write_study(result)
    if json:
        show_json(
            {"directory": str(where), "runs": [asdict(run) for run in result.runs], "summaries": result.summaries}
        )
    else:
        show_table(told.header, told.rows, title=told.title)
        for run in result.runs:
            if run.reason:
                say(f"{run.arm}, seed {run.seed}: {run.status}: {run.reason}")
        say(f"Study: {where / 'study.html'}")
    if not result.complete:
        raise typer.Exit(SelfMoaError.exit_code)


def results(
    directory: Annotated[Path, typer.Argument(help="A folder of summaries, one JSON an arm and seed.")],
    write: Annotated[Path | None, typer.Option("--write", help="Put the tables into this document.")] = None,
) -> None:
    """Summaries of studies as Markdown tables, one a model."""
    from selfmoa import study as room
    from selfmoa.run import write_text

    summaries = room.read_summaries(directory)
    if write is None:
        for found in room.tables_by_model(summaries):
            say(found)
        return
    if not write.is_file():
        raise UsageError(f"There is no document {write}.")
    write_text(write, room.written_into(write.read_text(encoding="utf-8"), summaries))
    say(f"Tables of {len(summaries)} summaries: {write}")
