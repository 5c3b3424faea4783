"""What the pairs gain on each objective, and what each adds to the loss."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from selfmoa.records import from_text
from selfmoa.report._load import RunData, Step, read_rows
from selfmoa.report._text import integer, number, share

__all__ = ["objective_rows", "objective_values"]

Row = dict[str, Any]
_FIRST = ("safety", "helpfulness")


def objective_rows(run: RunData) -> list[Row]:
    """One row an objective; empty where the run knows safety and helpfulness only and pairs by another rule."""
    pairs, trained = _rows(run.rounds), _rows(run.stages)
    names = list(dict.fromkeys(name for row in pairs for name in objective_values(row, "chosen")))
    prefer = run.recipe.get("prefer") or {}
    if len(names) <= len(_FIRST) and prefer.get("pairing") != "pareto":
        return []
    margins: dict[str, list[float]] = defaultdict(list)
    for row in trained:
        for name, margin in from_text(str(row.get("margin_by_objective") or "")).items():
            margins[name].append(margin or 0.0)
    return [_row(name, pairs, margins[name]) for name in names]


def objective_values(pair: Row, side: str) -> dict[str, float | None]:
    """Objective -> value of one answer of a pair, in [0, 1]; None where nobody scored it."""
    first = {name: number(pair.get(f"{side}_{name}")) for name in _FIRST}
    return {**first, **from_text(str(pair.get(f"{side}_further") or ""))}


def _row(name: str, pairs: list[Row], margins: list[float]) -> Row:
    both = [(objective_values(row, "chosen").get(name), objective_values(row, "rejected").get(name)) for row in pairs]
    gains = [one - other for one, other in both if one is not None and other is not None]
    return {
        "name": name,
        "n": integer(len(gains)),
        "as_good": share(sum(gain >= 0 for gain in gains) / len(gains)) if gains else "–",
        "gain": _signed(gains, 2),
        "margin": _signed(margins, 4),
    }


def _signed(values: list[float], digits: int) -> str:
    return f"{sum(values) / len(values):+.{digits}f}".replace("-", "−") if values else "–"


def _rows(steps: list[Step]) -> list[Row]:
    return [row for step in steps for row in read_rows(step.directory / "pairs.parquet") or []]
