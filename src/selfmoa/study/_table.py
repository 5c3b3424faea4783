"""Summaries of arms as one table: a row a figure, a column an arm, seeds put together."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from selfmoa.bench import DEFINED, Definition, counted_on
from selfmoa.errors import UsageError, nearest

__all__ = ["Table", "markdown", "table", "tables_by_model", "written_into"]

Summary = dict[str, Any]
_COSTS = (
    ("pairs", "Pairs", 1),
    ("judged_tokens", "Judged tokens", 1),
    ("trained_tokens", "Trained tokens", 1),
    ("seconds", "Minutes", 60),
    ("peak_memory_mb", "Peak memory, MB", 1),
)
_START, _END = re.compile(r"<!-- table: start((?: [a-z_]+)*) -->\n?"), "<!-- table: end -->"
"""Names behind the word start are the figures and costs that are shown, in brief; without any, all are, in full."""
_NOTE = (
    "Mean over seeds; in brackets a seed's 95 % interval, of several seeds the lowest and the highest bound. After the "
    "semicolon the paired change against the untrained model on the same prompts; where its bounds include zero, the "
    "smallest change that one seed's prompts would have shown (80 % power). Uncorrected by people's labels."
)
_BRIEF_NOTE = (
    "Mean over seeds; after the semicolon the paired change against the untrained model on the same prompts, with its "
    "95 % interval: of several seeds the lowest and the highest bound. Uncorrected by people's labels."
)


@dataclass(frozen=True, slots=True)
class Table:
    """Text to print."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = _NOTE
    """What the cells mean."""


def table(summaries: Sequence[Summary], title: str = "", only: Collection[str] = ()) -> Table:
    """Arms in the order of their first summary. A figure that an arm lacks is a dash.

    `only` names the rows to show, in brief: a cell has one interval, that of the change where there is one.
    """
    arms: dict[str, list[Summary]] = {}
    for summary in summaries:
        arms.setdefault(str(summary["arm"]), []).append(summary)
    figures = dict.fromkeys(name for summary in summaries for name in summary["metrics"])
    rows = [_figure_row(name, arms, brief=bool(only)) for name in figures if not only or name in only]
    rows += [
        (label, "", "lower", *(_cost(name, found, unit) for found in arms.values()), "")
        for name, label, unit in _COSTS
        if not only or name in only
    ]
    named = [f"{arm} ({_seeds(found)})" for arm, found in arms.items()]
    return Table(title, ("Figure", "n", "better", *named, "judge"), tuple(rows), _BRIEF_NOTE if only else _NOTE)


def markdown(found: Table) -> str:
    """The table as Markdown, with what its cells mean."""
    lines = [f"### {found.title}", ""] if found.title else []
    lines += [_line(found.header), _line(["---"] * len(found.header)), *map(_line, found.rows), "", found.note]
    return "\n".join(lines) + "\n"


def tables_by_model(summaries: Sequence[Summary], only: Collection[str] = ()) -> list[str]:
    """A Markdown table of each model's arms."""
    models = dict.fromkeys(str(summary["model"]) for summary in summaries)
    return [markdown(table([one for one in summaries if one["model"] == model], model, only)) for model in models]


def written_into(text: str, summaries: Sequence[Summary]) -> str:
    """A document with the tables of the summaries, one a model, between its marks; around them nothing changes.

    `<!-- table: start attack_success pairs -->` asks for these rows only. Raises `UsageError` where the document has no
    marks or names a figure that nobody has.
    """
    start = _START.search(text)
    if not start or _END not in text[start.end() :]:
        raise UsageError(
            f"The document has no marks <!-- table: start --> and {_END}; put them where the tables shall stand."
        )
    only = start[1].split()
    known = [name for one in summaries for name in one["metrics"]] + [name for name, _, _ in _COSTS]
    for name in only:
        if summaries and name not in known:
            raise UsageError(f"The document asks for a row {name!r}, which no summary has.{nearest(name, known)}")
    after = text[start.end() :].partition(_END)[2]
    body = "\n".join(tables_by_model(summaries, only)) or "No results yet.\n"
    return f"{text[: start.start()]}{start[0].rstrip()}\n{body}{_END}{after}"


def _figure_row(name: str, arms: dict[str, list[Summary]], *, brief: bool) -> tuple[str, ...]:
    definition = DEFINED.get(name)
    found = [[one["metrics"][name] for one in summaries if name in one["metrics"]] for summaries in arms.values()]
    every = [figure for figures in found for figure in figures]
    label = _label(definition) if definition else name.replace("_", " ").capitalize()
    unit = definition.unit if definition else "share"
    counts = sorted({int(figure["n"]) for figure in every})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    judges = " / ".join(dict.fromkeys(figure["judge"] for figure in every))
    direction = definition.direction if definition else "higher"
    cells = [_cell(figures, unit, brief=brief) for figures in found]
    return (label, n, "" if direction == "none" else direction, *cells, judges)


def _label(definition: Definition) -> str:
    counted = counted_on(definition.set)
    return definition.label if counted.split()[0] in definition.label else f"{definition.label}; {counted}"


_UNCHANGED: Summary = {"value": 0.0, "low": 0.0, "high": 0.0, "detectable": None}
"""Of a seed whose model is the untrained one: beside seeds that changed it counts as no change."""


def _cell(figures: Sequence[Summary], unit: str, *, brief: bool) -> str:
    changed = any("change" in figure for figure in figures)
    changes = [figure.get("change", _UNCHANGED) for figure in figures if changed]
    value = _spread(figures, unit, bounds=not (brief and changes))
    if not value:
        return "–"
    change = _spread(changes, unit, signed=True)
    return "; ".join(filter(None, (value, change and change + ("" if brief else _unseen(changes, unit)))))


def _spread(figures: Sequence[Summary], unit: str, *, signed: bool = False, bounds: bool = True) -> str:
    """The mean over seeds, with `bounds` the lowest and the highest bound; '' where nothing is known."""
    values, lows, highs = ([f[key] for f in figures if f[key] is not None] for key in ("value", "low", "high"))
    if not values:
        return ""

    def shown(number: float) -> str:
        scale, digits = (100, 1) if unit == "share" else (1, 2)
        return f"{scale * number:{'+' if signed else ''}.{digits}f}"

    told = shown(fmean(values)) + (" %" if unit == "share" and not signed else "")
    return f"{told} [{shown(min(lows))}, {shown(max(highs))}]" if bounds and lows and highs else told


def _unseen(changes: Sequence[Summary], unit: str) -> str:
    """How large a change one seed's prompts would have shown, where the bounds hold zero."""
    known = [one for one in changes if None not in (one["detectable"], one["low"], one["high"])]
    if not any(one["low"] <= 0 <= one["high"] for one in known):
        return ""
    least = max(one["detectable"] for one in known)
    return f" (seen from {100 * least:.1f})" if unit == "share" else f" (seen from {least:.2f})"


def _cost(name: str, summaries: Sequence[Summary], unit: float) -> str:
    return f"{fmean(summary['cost'].get(name, 0) for summary in summaries) / unit:,.0f}"


def _seeds(summaries: Sequence[Summary]) -> str:
    seeds = [str(summary["seed"]) for summary in summaries]
    told = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(seeds)}"
    return f"{told}; reset control" if any(summary.get("reset_control") for summary in summaries) else told


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
