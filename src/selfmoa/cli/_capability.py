"""selfmoa capability MODEL"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfmoa import recipes
from selfmoa.cli._runs import AGAIN, mode, stoppable
from selfmoa.cli._show import say, show_json, show_table

if TYPE_CHECKING:
    from selfmoa.capability import Capability

__all__ = ["capability"]


def capability(
    model: Annotated[str, typer.Argument(help="A model: wheel:NAME, directory, .gguf, hub:OWNER/NAME@REVISION.")],
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="A PEFT adapter directory: base against it.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Sets (mmlu), path:FILE, lm-eval's own; default: every set.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Questions a task at the most.")] = 100,
    full: Annotated[bool, typer.Option("--full", help="Every question.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the questions.")] = 0,
    out: Annotated[Path, typer.Option("--out", help="Where figures, items and tasks are written.")] = Path(
        "runs/capability"
    ),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """What a model knows: right answers to multiple-choice questions by lm-eval; with an adapter, the paired change."""
    from selfmoa import capability as room
    from selfmoa.assets import capability_sets
    from selfmoa.run import Progress

    named = [name.strip() for name in tasks.split(",") if name.strip()] if tasks is not None else capability_sets()
    steps = len(named) * (2 if adapter else 1)
    with stoppable(AGAIN), Progress(mode(quiet)).task("capability", total=steps, unit="tasks") as task:
        before, after = room.measure_directory(
            recipes.model_ref(model),
            named,
            n=None if full else n,
            seed=seed,
            adapter=adapter,
            out=out,
            on_task=lambda done: task.advance(note=done),
        )
    if json:
        show_json(room.to_json(before, after))
        return
    _show(before, after)
    say(f"Figures, items, and the tasks for lm-eval: {out}")


def _show(before: Capability, after: Capability | None) -> None:
    title = "Right answers, 95 % intervals"
    if after is None:
        one = ("task", "n", "chance", "acc", "acc_norm")
        show_table(one, [_row(figure) for figure in before.figures], title=title)
        return
    from selfmoa.bench import cell, change_cell
    from selfmoa.capability import compare_capability

    rows = [
        (
            *_row(change.before)[:4],
            cell(change.after.acc, "share"),
            change_cell(change.acc, "share"),
            "-" if change.detectable is None else f"{100 * change.detectable:.0f} points",
            change_cell(change.acc_norm, "share"),
        )
        for change in compare_capability(before, after)
    ]
    two = ("task", "n", "chance", "base", "adapted", "change", "would be seen from", "change of acc_norm")
    show_table(two, rows, title=title)


def _row(figure: Any) -> tuple[object, ...]:
    from selfmoa.bench import cell

    return (
        figure.task,
        figure.acc.n,
        f"{figure.chance:.0%}",
        cell(figure.acc, "share"),
        cell(figure.acc_norm, "share"),
    )
