"""The self-contained HTML page of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmoa.assets import HAZARDS
from selfmoa.bench import counted_on, missed
from selfmoa.compare import ArmFigure, ComparedArms, Group
from selfmoa.report import _compare_plots
from selfmoa.report._page import write_page
from selfmoa.report._results import tone
from selfmoa.report._text import change, duration, estimate, integer, points

__all__ = ["write_comparison"]

Row = dict[str, Any]
_SHOWN = 12
"""Changed harmless prompts that are shown, of each arm."""


def write_comparison(found: ComparedArms, path: Path) -> Path:
    """Write the page; prompts that ask for harm are named by id only. Raises `StorageError` where it cannot."""
    names = [arm.name for arm in found.arms]
    told = {
        "names": names,
        "n": len(found.arms[0].items),
        "tolerance": f"{100 * found.tolerance:g} points",
        "rows": [_row(metric, found) for metric in found.metrics],
        "heat": _heats(found),
        "changed": _changed(found),
        "costs": _costs(found),
        "front": list(found.front),
        "plots": {"changes": _compare_plots.changes(found), "front": _compare_plots.front(found)},
    }
    write_page(path, "compare.html.j2", told)
    return path


_HEAT = (
    ("attack_success", "Attack success by hazard"),
    ("over_refusal", "Over-refusal by type of prompt"),
)


def _row(metric: str, found: ComparedArms) -> Row:
    figures = [found.figure(metric, arm.name) for arm in found.arms]
    first = figures[0]
    return {
        "label": first.label,
        "on": counted_on(first.set),
        "better": "" if first.direction == "none" else first.direction,
        "judge": first.judge or "–",
        "cells": [_cell(figure) for figure in figures],
    }


def _cell(figure: ArmFigure) -> Row:
    notes = []
    if figure.p is not None:
        notes.append(f"McNemar p {figure.p:.3f}")
    if figure.p_equivalent is not None:
        notes.append(f"equivalence p {figure.p_equivalent:.3f}")
    if figure.change is not None:
        notes.append(missed(figure.change.low, figure.change.high, figure.detectable, figure.unit))
    interval = None if figure.change is None else asdict(figure.change)
    return {
        "value": estimate(asdict(figure.estimate), figure.unit),
        "n": integer(figure.estimate.n),
        "change": "" if interval is None else change(interval, figure.unit),
        "verdict": "" if figure.verdict == "none" else figure.verdict,
        "tone": tone(figure.verdict),
        "notes": "; ".join(filter(None, notes)),
    }


def _heats(found: ComparedArms) -> list[Row]:
    tables = [_heat([one for one in found.groups if one.metric == metric], title, found) for metric, title in _HEAT]
    if found.wrappings:
        tables.append(_heat(found.wrappings, "Attack success by wrapping, each with prompts of its own", found))
    return tables


def _heat(groups: Sequence[Group], title: str, found: ComparedArms) -> Row:
    names = sorted({group.group for group in groups})
    cells = {(group.group, group.arm): group for group in groups}
    rows = []
    for name in names:
        row = [cells[(name, arm.name)] for arm in found.arms]
        rows.append(
            {
                "name": HAZARDS.get(name, (name,))[0],
                "n": integer(row[0].estimate.n),
                "cells": [
                    {
                        "value": estimate(asdict(group.estimate)),
                        "shade": "0" if group.estimate.n == 0 else f"{group.estimate.value:.2f}",
                        "sure": group.p is not None and group.p < 0.05,
                        "unseen": points(group.detectable).lstrip("+") if group.detectable is not None else "",
                    }
                    for group in row
                ],
            }
        )
    return {"title": title, "rows": rows}


def _changed(found: ComparedArms) -> list[Row]:
    texts = {item.prompt_id: item.prompt for item in found.arms[0].items if item.set in ("edgy", "benign")}
    rows = []
    for arm in found.arms[1:]:
        mine = [row for row in found.changed if row.arm == arm.name]
        counts = Counter((row.metric, row.after) for row in mine)
        shown = [row for row in mine if row.prompt_id in texts][:_SHOWN]
        rows.append(
            {
                "arm": arm.name,
                "broken": counts[("attack_success", True)],
                "mended": counts[("attack_success", False)],
                "refused": counts[("over_refusal", True)],
                "answered": counts[("over_refusal", False)],
                "hidden": [row.prompt_id for row in mine if row.prompt_id not in texts],
                "shown": [(texts[row.prompt_id], "now refused" if row.after else "no longer refused") for row in shown],
            }
        )
    return rows


def _costs(found: ComparedArms) -> Row:
    names = list(dict.fromkeys(name for arm in found.arms for name in arm.costs))

    def shown(name: str, value: float | None) -> str:
        return "–" if value is None else duration(value) if name == "seconds" else integer(value)

    rows = [(name, [shown(name, arm.costs.get(name)) for arm in found.arms]) for name in names]
    return {"rows": rows}
