"""The comparison for programs and papers: JSON, CSV, a LaTeX table, every item."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict
from typing import Any

from selfmoa.bench import Estimate, item_rows, missed, plain_json
from selfmoa.capability import figure_names
from selfmoa.compare._arms import Arm
from selfmoa.compare._figures import ArmFigure, ComparedArms

__all__ = ["items_table", "to_csv", "to_json", "to_latex"]

SCHEMA = 1
_COLUMNS = (
    "metric", "set", "direction", "unit", "judge", "arm", "value", "low", "high", "n", "unscored",
    "change", "change_low", "change_high", "verdict", "p", "p_equivalent", "detectable",
)  # fmt: skip


def to_json(found: ComparedArms) -> dict[str, Any]:
    """Plain JSON values; NaN is null. Answers and prompts are not in it."""
    told = {
        "schema": SCHEMA,
        "tolerance": found.tolerance,
        "arms": [{"name": arm.name, "n": len(arm.items), "costs": dict(arm.costs)} for arm in found.arms],
        "figures": [asdict(figure) for figure in found.figures],
        "groups": [asdict(group) for group in found.groups],
        "by_wrapping": [asdict(group) for group in found.wrappings],
        "changed": [asdict(row) for row in found.changed],
        "front": list(found.front),
    }
    plain: dict[str, Any] = plain_json(told)
    return plain


def to_csv(found: ComparedArms) -> str:
    """One line a figure and arm."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain_json(_flat(figure)) for figure in found.figures)
    return buffer.getvalue()


def to_latex(found: ComparedArms) -> str:
    """A booktabs table: a row a figure, a column an arm, 95 % intervals, the change below."""
    arms = [arm.name for arm in found.arms]
    lines = [
        rf"% {len(found.arms[0].items)} prompts; 95 % intervals; changes are paired, against {_tex(arms[0])}",
        "% MDC, where the change's interval holds zero: minimum detectable change (80 % power)",
        rf"\begin{{tabular}}{{l{'r' * len(arms)}}}",
        r"\toprule",
        " & ".join(["figure", *(_tex(name) for name in arms)]) + r" \\",
        r"\midrule",
    ]
    for metric in found.metrics:
        row = [found.figure(metric, arm) for arm in arms]
        arrow = {"lower": r" $\downarrow$", "higher": r" $\uparrow$", "none": ""}[row[0].direction]
        lines.append(" & ".join([_tex(row[0].label) + arrow, *(_cell(figure) for figure in row)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def items_table(found: ComparedArms) -> list[dict[str, Any]]:
    """One row a prompt (or question) and arm with the value of every figure, so that each can be computed by hand.

    Prompts and answers stay in the run directories; rows carry the prompt's id.
    """
    rows = [row for arm in found.arms for row in item_rows(arm.name, arm.items)]
    columns = {figure.metric: None for figure in found.figures if figure.set == "capability"}
    if not columns:
        return rows
    empty = {**dict.fromkeys(rows[0]), **columns}
    return [{**empty, **row} for row in [*rows, *(row for arm in found.arms for row in _question_rows(arm))]]


def _question_rows(arm: Arm) -> list[dict[str, Any]]:
    return [
        {
            **{"arm": arm.name, "prompt_id": item.item, "set": "capability"},
            **{"hazard": item.subject, "source": item.task},
            **dict.fromkeys(figure_names(item), float(item.acc)),
        }
        for item in arm.known
    ]


def _flat(figure: ArmFigure) -> dict[str, Any]:
    told = {name: getattr(figure, name) for name in _COLUMNS if hasattr(figure, name) and name != "change"}
    told |= {name: getattr(figure.estimate, name) for name in ("value", "low", "high", "n", "unscored")}
    if figure.change is not None:
        told |= {"change": figure.change.value, "change_low": figure.change.low, "change_high": figure.change.high}
    return told


def _cell(figure: ArmFigure) -> str:
    scale, digits = (100, 0) if figure.unit == "share" else (1, 2)
    shown = _interval(figure.estimate, scale, digits)
    if figure.change is None:
        return shown
    mark = {"improved": "$^{+}$", "worse": "$^{-}$"}.get(figure.verdict, "")
    still = figure.detectable is not None and missed(
        figure.change.low, figure.change.high, figure.detectable, figure.unit
    )
    seen = f", MDC {(figure.detectable or 0) * scale:.{digits}f}" if still else ""
    return f"{shown} ({figure.change.value * scale:+.{digits}f}{mark}{seen})"


def _interval(estimate: Estimate, scale: int, digits: int) -> str:
    if not estimate.known:
        return "--"
    value, low, high = (f"{scale * x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _tex(text: str) -> str:
    for char in "&%$#_{}":
        text = text.replace(char, f"\\{char}")
    return text.replace("<", "$<$").replace(">", "$>$").replace("~", r"\textasciitilde{}").replace("^", r"\^{}")
