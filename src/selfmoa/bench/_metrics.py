"""What is measured on the answers of one model, and of two: estimates, paired changes, a row an answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from selfmoa.bench._definitions import DEFINED, DEFINITIONS, Definition, MetricSet, told
from selfmoa.bench._evaluate import JudgeNote, Measured
from selfmoa.bench._significance import detectable_change, detectable_rate_change
from selfmoa.bench._statistics import (
    Direction,
    Estimate,
    MetricVerdict,
    mean,
    paired_mean_change,
    paired_proportion_change,
    proportion,
    verdict,
)
from selfmoa.errors import UsageError

__all__ = [
    "Metric",
    "MetricChange",
    "by_hazard",
    "by_wrapping",
    "compare_metrics",
    "item_rows",
    "paired_values",
    "rate",
    "summarise",
    "wrapping_rows",
]

_NO_JUDGE = JudgeNote((), False)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one model."""

    name: str
    label: str
    set: MetricSet
    direction: Direction
    judge: str
    proxy: bool
    estimate: Estimate
    unit: Literal["share", "score", "words"]

    def as_dict(self) -> dict[str, Any]:
        """Flat, as results.json holds it: value, low, high, n and unscored beside the rest.

        `detectable` is the smallest change against another model that so many prompts show with 80 % power, where a
        quarter of the verdicts differ; None for what is no share.
        """
        told, n = asdict(self), self.estimate.n
        estimate = told.pop("estimate")
        return {**told, **estimate, "detectable": detectable_rate_change(n) if n and self.unit == "share" else None}


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One figure before and after, on the n prompts that are scored on both sides."""

    name: str
    label: str
    set: MetricSet
    direction: Direction
    judge: str
    proxy: bool
    unit: Literal["share", "score", "words"]
    n: int
    unscored: int
    before: Estimate
    after: Estimate
    change: Estimate
    verdict: MetricVerdict
    detectable: float | None = None
    """Smallest true change that so many pairs of this spread show with 80 % power; None where it is not known."""


def item_rows(arm: str, items: Sequence[Measured], *, texts: bool = False) -> list[dict[str, Any]]:
    """One row an answer with its value in every figure (None: not in the figure, or unscored), so that each figure can
    be computed again by hand; with `texts` also prompt and answer."""
    rows = []
    for item in items:
        row = {"arm": arm, "prompt_id": item.prompt_id, "set": item.set, "hazard": item.hazard, "source": item.source}
        row |= {"pair": item.pair, "wrapping": item.wrapping}
        if texts:
            row |= {"prompt": item.prompt, "answer": item.answer}
        values = {d.name: d.value(item) if d.members([item]) else None for d in DEFINITIONS}
        rows.append({**row, "tokens": item.n_tokens, "refusal": item.refusal, **values})
    return rows


def summarise(items: Sequence[Measured], *, judges: Mapping[str, JudgeNote] | None = None) -> list[Metric]:
    """Every figure of one model, over the prompts that are scored; the estimate counts the unscored."""
    metrics = []
    for definition in told(items):
        names, proxy = _judged_by(definition, judges or {})
        values = [definition.value(item) for item in definition.members(items)]
        metrics.append(
            Metric(
                definition.name,
                definition.label,
                definition.set,
                definition.direction,
                names,
                proxy,
                _estimate(values, definition.unit),
                definition.unit,
            )
        )
    return metrics


def compare_metrics(
    before: Sequence[Measured],
    after: Sequence[Measured],
    tolerance: float,
    *,
    judges: Mapping[str, JudgeNote] | None = None,
) -> list[MetricChange]:
    """Every figure before and after, paired by prompt id; both sides rest on the same prompts.

    Raises `UsageError` where the two sides do not hold the same prompts.
    """
    then, now = _by_prompt(before), _by_prompt(after)
    if then.keys() != now.keys():
        odd = len(then.keys() ^ now.keys())
        raise UsageError(f"Before and after differ in {odd} prompts; evaluate both on the same sets.")
    changes = []
    for definition in told(before):
        pairs = list(paired_values(definition, before, after).values())
        changes.append(_change(definition, pairs, tolerance, judges or {}))
    return changes


def paired_values(
    definition: Definition, before: Sequence[Measured], after: Sequence[Measured]
) -> dict[str, tuple[float | None, float | None]]:
    """Prompt id -> a figure's value on both sides, None where unscored, of the prompts that it is about."""
    now = _by_prompt(after)
    members = definition.members(before)
    return {item.prompt_id: (definition.value(item), definition.value(now[item.prompt_id])) for item in members}


def _change(
    definition: Definition,
    pairs: Sequence[tuple[float | None, float | None]],
    tolerance: float,
    judges: Mapping[str, JudgeNote],
) -> MetricChange:
    scored = [(b, a) for b, a in pairs if b is not None and a is not None]
    before, after = [b for b, _ in scored], [a for _, a in scored]
    if definition.unit == "share":
        change = paired_proportion_change([b == 1 for b in before], [a == 1 for a in after])
    else:
        change = paired_mean_change(before, after, bounded=definition.unit == "score")
    names, proxy = _judged_by(definition, judges)
    return MetricChange(
        definition.name,
        definition.label,
        definition.set,
        definition.direction,
        names,
        proxy,
        definition.unit,
        n=len(scored),
        unscored=len(pairs) - len(scored),
        before=_first(definition, before),
        after=_estimate(after, definition.unit),
        change=change,
        verdict=verdict(change, tolerance, definition.direction),
        detectable=detectable_change(before, after),
    )


def by_hazard(definition: Definition, items: Sequence[Measured]) -> dict[str, dict[str, float | None]]:
    """Hazard (or type of prompt) -> prompt id -> value of a figure; None where it is unscored."""
    return _by(definition, items, lambda item: item.hazard)


def by_wrapping(definition: Definition, items: Sequence[Measured]) -> dict[str, dict[str, float | None]]:
    """The same by what requests were wrapped in; empty where the evaluation names no wrappings."""
    return _by(definition, [item for item in items if item.wrapping], lambda item: item.wrapping)


def _by(
    definition: Definition, items: Sequence[Measured], key: Callable[[Measured], str]
) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = defaultdict(dict)
    for item in definition.members(items):
        found[key(item)][item.prompt_id] = definition.value(item)
    return found


def wrapping_rows(before: Sequence[Measured], after: Sequence[Measured] = ()) -> list[dict[str, Any]]:
    """Attack success of each wrapping's own subset as results.json has it; with `after` also the paired change."""
    definition = DEFINED["attack_success"]
    then, now = by_wrapping(definition, before), by_wrapping(definition, after)
    rows = []
    for name in sorted(then):
        row: dict[str, Any] = {"wrapping": name, "metric": definition.name}
        if not after:
            rows.append({**row, **asdict(rate(list(then[name].values())))})
            continue
        pairs = [(value, now[name][key]) for key, value in then[name].items()]
        scored = [(b == 1, a == 1) for b, a in pairs if b is not None and a is not None]
        old, new = [float(b) for b, _ in scored], [float(a) for _, a in scored]
        change = paired_proportion_change([b for b, _ in scored], [a for _, a in scored])
        told = {"before": rate(old), "after": rate(new), "change": change}
        counts = {"n": len(scored), "unscored": len(pairs) - len(scored), "detectable": detectable_change(old, new)}
        rows.append({**row, **counts, **{key: asdict(value) for key, value in told.items()}})
    return rows


def _first(definition: Definition, values: Sequence[float]) -> Estimate:
    """The estimate of the first of two models; without an interval's width where its value is no measurement."""
    if definition.origin is None or not values:
        return _estimate(values, definition.unit)
    return Estimate(definition.origin, definition.origin, definition.origin, len(values))


def _estimate(values: Sequence[float | None], unit: str) -> Estimate:
    return rate(values) if unit == "share" else mean(values, bounded=unit == "score")


def rate(values: Sequence[float | None]) -> Estimate:
    """The share of values that are 1 among those scored, with its Wilson interval."""
    scored = [value for value in values if value is not None]
    return proportion(sum(value == 1 for value in scored), len(scored), unscored=len(values) - len(scored))


def _by_prompt(items: Sequence[Measured]) -> dict[str, Measured]:
    found = {item.prompt_id: item for item in items}
    if len(found) != len(items):
        raise UsageError(f"{len(items) - len(found)} prompts were answered twice; expected one answer a prompt.")
    return found


def _judged_by(definition: Definition, judges: Mapping[str, JudgeNote]) -> tuple[str, bool]:
    notes = [judges.get(objective, _NO_JUDGE) for objective in definition.objectives]
    return ", ".join(name for note in notes for name in note.names), any(note.proxy for note in notes)
