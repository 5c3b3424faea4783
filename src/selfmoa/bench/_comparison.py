"""The before/after comparison: results.json, its sentences and its table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfmoa.bench._definitions import counted_on
from selfmoa.bench._evaluate import JudgeNote, Measured
from selfmoa.bench._metrics import MetricChange, compare_metrics
from selfmoa.bench._sentences import cell, change_cell, first_line, headline, missed, warnings
from selfmoa.bench._sets import Touch
from selfmoa.bench._statistics import Estimate
from selfmoa.errors import UsageError

__all__ = ["Comparison", "compare", "plain_json", "table_rows"]

SCHEMA = 1


@dataclass(frozen=True)
class Comparison:
    """Everything that results.json holds; `to_json` and `from_json` are inverse."""

    metrics: tuple[MetricChange, ...]
    judges: Mapping[str, JudgeNote]
    """Objective -> who judged it."""
    tolerance: float
    headline: str
    """One sentence on attack success, over-refusal and helpfulness, with intervals and judges."""
    first_line: str
    """What a reader must know first: what did not get better, or that nothing got lost."""
    passed: bool
    """True where `first_line` has nothing to complain about."""
    warnings: tuple[str, ...] = ()
    removed: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    """Set -> reason -> prompts left out before anything was measured."""
    touched: tuple[Touch, ...] = ()
    """Prompts that near-duplicates were generated of or trained on, found at the end."""
    metrics_without_touched: tuple[MetricChange, ...] = ()
    """The same figures without those prompts; empty where there are none."""
    train_change: Estimate | None = None
    """Change of the training judges' mean safety on the same harmful prompts ..."""
    watch_change: Estimate | None = None
    """... and of the watch judges'."""
    prompts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Evaluation set, or "attacks of round N" -> the fields of `PromptFacts` as plain JSON values."""

    def metric(self, name: str) -> MetricChange:
        """A figure by name, e.g. `attack_success`, `over_refusal`, `helpfulness_harmless`."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        known = ", ".join(metric.name for metric in self.metrics)
        raise UsageError(f"There is no metric {name!r}. Known: {known}.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; NaN is null. `corrected` is false: no human labels were used."""
        plain = plain_json(dataclasses.asdict(self))
        return {"schema": SCHEMA, "corrected": False, **plain}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` gave. Raises `UsageError` for another schema or missing fields."""
        if values.get("schema") != SCHEMA:
            raise UsageError(f"results.json has schema {values.get('schema')!r}, expected {SCHEMA}; evaluate again.")
        try:
            return cls(
                metrics=tuple(_metric(item) for item in values["metrics"]),
                judges={
                    key: JudgeNote(tuple(item["names"]), bool(item["proxy"])) for key, item in values["judges"].items()
                },
                tolerance=float(values["tolerance"]),
                headline=str(values["headline"]),
                first_line=str(values["first_line"]),
                passed=bool(values["passed"]),
                warnings=tuple(values["warnings"]),
                removed=values["removed"],
                touched=tuple(Touch(**item) for item in values["touched"]),
                metrics_without_touched=tuple(_metric(item) for item in values["metrics_without_touched"]),
                train_change=_estimate_or_none(values["train_change"]),
                watch_change=_estimate_or_none(values.get("watch_change")),
                prompts=values.get("prompts") or {},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"results.json is not complete ({error}); evaluate again.") from error


def compare(
    before: Sequence[Measured],
    after: Sequence[Measured],
    tolerance: float,
    *,
    judges: Mapping[str, JudgeNote],
    train_change: Estimate | None = None,
    watch_change: Estimate | None = None,
    removed: Mapping[str, Mapping[str, int]] | None = None,
    touched: Sequence[Touch] = (),
    notes: Sequence[str] = (),
    counted: Sequence[MetricChange] = (),
) -> Comparison:
    """Compare two models on the same prompts, paired by prompt id.

    `judges` is `GateJudges.notes()`, `removed` `EvaluationSets.removed_counts()`, `touched` the result of
    `check_disjoint`; `notes` are further warnings, e.g. that a judge is weak. `train_change` is the training
    judges' change of safety on the same harmful prompts (higher = safer), `watch_change` the watch judges'.
    `counted` are figures that rest on no answer and no judge (capability); they stand behind the others.
    """
    metrics = [*compare_metrics(before, after, tolerance, judges=judges), *counted]
    ids = {touch.prompt_id for touch in touched}
    strict = compare_metrics(_without(before, ids), _without(after, ids), tolerance, judges=judges) if ids else []
    by_name = {metric.name: metric for metric in metrics}
    problems, line = first_line(by_name, tolerance, train_change)
    return Comparison(
        metrics=tuple(metrics),
        judges=judges,
        tolerance=tolerance,
        headline=headline(by_name),
        first_line=line,
        passed=not problems,
        warnings=(*notes, *warnings(metrics, tolerance, len(ids))),
        removed=removed or {},
        touched=tuple(touched),
        metrics_without_touched=tuple(strict),
        train_change=train_change,
        watch_change=watch_change,
    )


def table_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The before/after table as rows of text; the first row is the header."""
    header: tuple[str, ...] = (
        "figure",
        "prompts",
        "n (unscored)",
        "before",
        "after",
        "change [95 %]",
        "verdict",
        "judge",
    )
    rows = [header]
    for metric in comparison.metrics:
        judge = metric.judge or "-"
        verdict = "" if metric.verdict == "none" else metric.verdict
        unseen = missed(metric.change.low, metric.change.high, metric.detectable, metric.unit)
        rows.append(
            (
                metric.label,
                counted_on(metric.set),
                f"{metric.n} ({metric.unscored})",
                cell(metric.before, metric.unit),
                cell(metric.after, metric.unit),
                change_cell(metric.change, metric.unit),
                "; ".join(filter(None, (verdict, unseen))) or "-",
                f"{judge} (proxy)" if metric.proxy else judge,
            )
        )
    return rows


def _without(items: Sequence[Measured], ids: set[str]) -> list[Measured]:
    """The items without these; a minimal pair that loses one half is no pair any more."""
    broken = {item.pair for item in items if item.prompt_id in ids} - {""}
    return [
        replace(item, pair="", twin_refusal=None) if item.pair in broken else item
        for item in items
        if item.prompt_id not in ids
    ]


def _metric(values: Mapping[str, Any]) -> MetricChange:
    estimates = {key: read_estimate(values[key]) for key in ("before", "after", "change")}
    return MetricChange(**{**values, **estimates})


def _estimate_or_none(values: Mapping[str, Any] | None) -> Estimate | None:
    return None if values is None else read_estimate(values)


def read_estimate(values: Mapping[str, Any]) -> Estimate:
    """An estimate from what JSON holds of it; null is NaN."""
    numbers = {key: float("nan") if values[key] is None else values[key] for key in ("value", "low", "high")}
    return Estimate(**numbers, n=values["n"], unscored=values.get("unscored", 0))


def plain_json(value: Any) -> Any:
    """What JSON can hold: tuples become lists, NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
