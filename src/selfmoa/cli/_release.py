"""selfmoa export RUN | front RUN"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from selfmoa.cli._runs import AGAIN, Json, Quiet, mode, stoppable
from selfmoa.cli._show import say, show_json, show_table

__all__ = ["export", "front"]

RunArgument = Annotated[Path, typer.Argument(help="A run directory.")]


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the copies are written; must be new or empty.")],
    merged: Annotated[
        bool | None, typer.Option("--merged/--adapter", help="Only merged safetensors, or only the PEFT adapter.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Load each copy again and ask it the suite's prompts.")
    ] = True,
    suite: Annotated[str, typer.Option("--suite", help="Prompts of the check.")] = "quick",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """The aligned model as a PEFT adapter and merged safetensors with its card, checked against the run's own."""
    from selfmoa import release

    forms: tuple[release.Form, ...] = (
        ("adapter", "merged") if merged is None else ("merged",) if merged else ("adapter",)
    )
    with stoppable(f"remove {out} and run the same command again"):
        found = release.export(run, out, forms=forms, check=check, suite=suite, progress=mode(quiet))
    if json:
        show_json(found)
        return
    if not found["kept_stages"]:
        say("Note: no alignment stage of this run was kept: what is exported is the unaligned model.")
    if found["reset_control"]:
        say("Note: reset control: the safety of its base was trained away before the run, on purpose.")
    for form, copy in ((found["check"] or {}).get("copies") or {}).items():
        show_table(("figure", "prompts", "n", "in the run", "exported", "difference"), _rows(copy), title=form)
        say(f"{form}: {copy['same']} of {copy['n']} greedy answers are the same text ({copy['same_share']:.1%}).")
    say(f"Exported: {', '.join(str(out / form) for form in found['forms'])}")


def front(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="Where points, evaluations and the front are written.")],
    at: Annotated[
        list[float] | None,
        typer.Option("--at", help="Shares of the adapter's change, e.g. --at 0 0.5 1. [default: 0 0.25 0.5 0.75 1]"),
    ] = None,
    # an option takes one value: those that follow the first arrive here
    more: Annotated[list[float] | None, typer.Argument(hidden=True)] = None,
    soup: Annotated[
        Path | None, typer.Option("--soup", help="Another run of the same base: the rest of a point is its adapter's.")
    ] = None,
    suite: Annotated[str, typer.Option("--suite", help="Prompts that every point answers.")] = "quick",
    choose: Annotated[float | None, typer.Option("--choose", help="Save this point as OUT/adapter.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Safety against helpfulness along the strength of a run's adapter: points, figures, the Pareto front."""
    from selfmoa import release

    points = [*(at or ()), *(more or ())] if at else release.AT
    with stoppable(AGAIN):
        found = release.front(run, out, at=points, soup=soup, suite=suite, choose=choose, progress=mode(quiet))
    if json:
        show_json(found)
        return
    header = ("at", "attack success", "helpfulness", "over-refusal", "on the front")
    show_table(header, [_front_row(point) for point in found["points"]])
    say(f"Front: {out / 'front.html'}")
    if choose is not None:
        say(f"Adapter at {choose:g}: {out / 'adapter'}")


def _front_row(point: dict[str, Any]) -> tuple[object, ...]:
    from selfmoa.bench import cell, read_estimate
    from selfmoa.compare import FRONT

    found = [point["figures"].get(name) for name in (*FRONT, "over_refusal")]
    shown = [cell(read_estimate(told), told["unit"]) if told else "-" for told in found]
    return (f"{point['at']:g}", *shown, "yes" if point["on_front"] else "")


def _rows(copy: dict[str, Any]) -> list[tuple[object, ...]]:
    from selfmoa.bench import cell, change_cell, read_estimate

    return [
        (
            row["label"],
            row["set"],
            row["exported"]["n"],
            cell(read_estimate(row["in_run"]), row["unit"]),
            cell(read_estimate(row["exported"]), row["unit"]),
            change_cell(read_estimate(row["difference"]), row["unit"]) if row["difference"] else "-",
        )
        for row in copy["figures"]
    ]
