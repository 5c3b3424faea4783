"""selfmoa compare A B [C ...]"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import UsageError

if TYPE_CHECKING:
    from selfmoa.compare import ComparedArms, PooledRuns

__all__ = ["compare"]


def compare(
    arms: Annotated[
        list[str],
        typer.Argument(help="Runs or evaluations; DIR:before is a run's base. The first is compared with."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write compare.html, .json, .csv, .tex and items.parquet here.")
    ] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Loss to be excluded, in [0, 1].")] = 0.1,
    pool: Annotated[
        bool, typer.Option("--pool", help="Pool runs of one recipe over seeds: each run's own change, and their mean.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on stdout.")] = False,
) -> None:
    """Models on the same prompts, side by side: paired changes, hazards, the Pareto front, costs."""
    if not 0 <= tolerance <= 1:
        raise UsageError(f"--tolerance is {tolerance}; expected a share in [0, 1].")
    from selfmoa import compare as room
    from selfmoa.bench import cell, change_cell, counted_on, missed

    if pool:
        _pool(room.pool_runs(arms, tolerance), out, as_json)
        return
    found = room.compare_arms(room.load_arms(arms), tolerance)
    if out:
        _write(found, out)
    if as_json:
        show_json(room.to_json(found))
        return
    names = [arm.name for arm in found.arms]
    rows = []
    for metric in found.metrics:
        row = [found.figure(metric, name) for name in names]
        shown = [cell(row[0].estimate, row[0].unit)]
        for figure in row[1:]:
            assert figure.change is not None
            told = [cell(figure.estimate, figure.unit), change_cell(figure.change, figure.unit)]
            told += [figure.verdict] if figure.verdict != "none" else []
            unseen = missed(figure.change.low, figure.change.high, figure.detectable, figure.unit)
            shown.append("; ".join([*told, unseen] if unseen else told))
        rows.append((row[0].label, counted_on(row[0].set), row[0].estimate.n, *shown))
    show_table(("figure", "prompts", "n", *names), rows, title=f"Against {names[0]}, paired, 95 % intervals")
    if found.wrappings:
        _show_wrappings(found, names)
    say(f"On the front of attack success and helpfulness: {', '.join(found.front)}")
    if out:
        say(f"Comparison: {out / 'compare.html'}")


def _show_wrappings(found: ComparedArms, names: list[str]) -> None:
    from selfmoa.bench import cell

    by_name = {(group.group, group.arm): group for group in found.wrappings}
    rows = []
    for wrapping in sorted({group.group for group in found.wrappings}):
        row = [by_name[wrapping, name] for name in names]
        shown = [cell(group.estimate, "share") + _changed(group.p, group.detectable) for group in row]
        rows.append((wrapping, row[0].estimate.n, *shown))
    title = f"Attack success by wrapping, each with prompts of its own; * changed against {names[0]} (Holm, p < 0.05)"
    show_table(("wrapping", "n", *names), rows, title=title)


def _changed(p: float | None, detectable: float | None) -> str:
    if p is None or detectable is None:
        return ""
    return " *" if p < 0.05 else f"; seen from {100 * detectable:.0f} points"


def _pool(found: PooledRuns, out: Path | None, as_json: bool) -> None:
    from selfmoa import compare as room
    from selfmoa.bench import Estimate, change_cell, counted_on, missed
    from selfmoa.report import write_pooled
    from selfmoa.run import write_text

    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_pooled(found, out / "pooled.html")
        write_text(out / "pooled.json", json.dumps(room.pooled_json(found), indent=1) + "\n")
        write_text(out / "pooled.csv", room.pooled_csv(found))
    if as_json:
        show_json(room.pooled_json(found))
        return
    rows = []
    for figure in found.figures:
        pooled = figure.pooled
        change = change_cell(Estimate(pooled.value, pooled.low, pooled.high, pooled.runs), figure.unit)
        seeds = "-" if math.isnan(pooled.seed_sd) else f"{pooled.seed_sd:.3f}"
        own = [change_cell(one, figure.unit) for one in figure.changes]
        unseen = missed(pooled.low, pooled.high, pooled.detectable, figure.unit)
        change = "; ".join(filter(None, (change, unseen))) if pooled.runs > 1 else "one run only"
        rows.append((figure.label, counted_on(figure.set), change, seeds, figure.verdict, *own))
    header = ("figure", "prompts", "pooled change", "SD between seeds", "verdict", *found.names)
    show_table(header, rows, title=f"{len(found.names)} runs, paired changes, 95 % intervals over prompts and seeds")
    if out:
        say(f"Pooled: {out / 'pooled.html'}")


def _write(found: ComparedArms, out: Path) -> None:
    from selfmoa import compare as room
    from selfmoa.report import write_comparison
    from selfmoa.run import write_table, write_text

    out.mkdir(parents=True, exist_ok=True)
    write_comparison(found, out / "compare.html")
    write_text(out / "compare.json", json.dumps(room.to_json(found), indent=1) + "\n")
    write_text(out / "compare.csv", room.to_csv(found))
    write_text(out / "compare.tex", room.to_latex(found))
    write_table(out / "items.parquet", room.items_table(found))
