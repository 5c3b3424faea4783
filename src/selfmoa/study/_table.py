"""Summaries of arms as one table: a row a figure, a column an arm, seeds put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from selfmoa.bench import DEFINED, counted_on
from selfmoa.errors import UsageError

__all__ = ["Table", "markdown", "table", "tables_by_model", "written_into"]

Summary = dict[str, Any]
_COSTS = (
    ("pairs", "Pairs", 1),
    ("judged_tokens", "Judged tokens", 1),
    ("trained_tokens", "Trained tokens", 1),
    ("seconds", "Minutes", 60),
    ("peak_memory_mb", "Peak memory, MB", 1),
)
_START, _END = "<!-- table: start -->", "<!-- table: end -->"
NOTE = (
    "Mean over seeds; in brackets a seed's 95 % interval, of several seeds the lowest and the highest bound. "
    "Figures of one arm alone: paired changes are on each seed's page. Uncorrected by people's labels."
)


@dataclass(frozen=True, slots=True)
class Table:
    """Text to print."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(summaries: Sequence[Summary], title: str = "") -> Table:
    """Arms in the order of their first summary. A figure that an arm lacks is a dash."""
    arms: dict[str, list[Summary]] = {}
    for summary in summaries:
        arms.setdefault(str(summary["arm"]), []).append(summary)
    figures = dict.fromkeys(name for summary in summaries for name in summary["metrics"])
    rows = [_figure_row(name, arms) for name in figures]
    rows += [
        (label, "", "lower", *(_cost(name, found, unit) for found in arms.values()), "") for name, label, unit in _COSTS
    ]
    named = [f"{arm} ({_seeds(found)})" for arm, found in arms.items()]
    return Table(title, ("Figure", "n", "better", *named, "judge"), tuple(rows))


def markdown(found: Table) -> str:
    """The table as Markdown, with what its cells mean."""
    lines = [f"### {found.title}", ""] if found.title else []
    lines += [_line(found.header), _line(["---"] * len(found.header)), *map(_line, found.rows), "", NOTE]
    return "\n".join(lines) + "\n"


def tables_by_model(summaries: Sequence[Summary]) -> list[str]:
    """A Markdown table of each model's arms."""
    models = dict.fromkeys(str(summary["model"]) for summary in summaries)
    return [markdown(table([one for one in summaries if one["model"] == model], model)) for model in models]


def written_into(text: str, summaries: Sequence[Summary]) -> str:
    """A document with the tables of the summaries, one a model, between its marks; around them nothing changes.

    Raises `UsageError` where the document has no such marks.
    """
    before, sign, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not sign or not end:
        raise UsageError(f"The document has no marks {_START} and {_END}; put them where the tables shall stand.")
    body = "\n".join(tables_by_model(summaries)) or "No results yet.\n"
    return f"{before}{_START}\n{body}{_END}{after}"


def _figure_row(name: str, arms: dict[str, list[Summary]]) -> tuple[str, ...]:
    definition = DEFINED.get(name)
    found = [[one["metrics"][name] for one in summaries if name in one["metrics"]] for summaries in arms.values()]
    every = [figure for figures in found for figure in figures]
    label = f"{definition.label}; {counted_on(definition.set)}" if definition else name.replace("_", " ").capitalize()
    unit = definition.unit if definition else "share"
    counts = sorted({int(figure["n"]) for figure in every})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    judges = " / ".join(dict.fromkeys(figure["judge"] for figure in every))
    direction = definition.direction if definition else "higher"
    return (label, n, "" if direction == "none" else direction, *(_cell(figures, unit) for figures in found), judges)


def _cell(figures: Sequence[Summary], unit: str) -> str:
    known = [figure for figure in figures if figure["value"] is not None]
    if not known:
        return "–"
    values = [figure["value"] for figure in known]
    lows = [figure["low"] for figure in known if figure["low"] is not None]
    highs = [figure["high"] for figure in known if figure["high"] is not None]
    scale, digits, sign = (100, 1, " %") if unit == "share" else (1, 2, "")
    shown = f"{scale * fmean(values):.{digits}f}{sign}"
    return f"{shown} [{scale * min(lows):.{digits}f}, {scale * max(highs):.{digits}f}]" if lows and highs else shown


def _cost(name: str, summaries: Sequence[Summary], unit: float) -> str:
    return f"{fmean(summary['cost'].get(name, 0) for summary in summaries) / unit:,.0f}"


def _seeds(summaries: Sequence[Summary]) -> str:
    seeds = [str(summary["seed"]) for summary in summaries]
    told = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"
    return f"{told}; reset control" if any(summary.get("reset_control") for summary in summaries) else told


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
