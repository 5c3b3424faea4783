"""The comparison in words: cells, headline, first line and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selfmoa.bench._definitions import counted_on
from selfmoa.bench._metrics import MetricChange
from selfmoa.bench._statistics import Estimate

__all__ = ["cell", "change_cell", "first_line", "headline", "missed", "warnings"]

_SMALL = 100
"""Prompts a set below which a warning is printed."""


_ALSO_ON_TOP = (
    "partial_refusal_harmful",
    "degenerate",
    "refusal_benign",
    "helpfulness_benign",
    "instruction_following",
    "instruction_following_loose",
    "capability",
)
"""Ways to look safe without being it, and what else it may cost: a loss here belongs on the first line, doubt not."""
_ON_TOP = ("attack_success", "over_refusal", "helpfulness_harmless", *_ALSO_ON_TOP)


def cell(estimate: Estimate, unit: str) -> str:
    """A figure with its interval, e.g. "45 % [36, 54]"."""
    if estimate.n == 0:
        return "not scored"
    value, low, high = (_number(x, unit) for x in (estimate.value, estimate.low, estimate.high))
    bounds = f" [{low}, {high}]" if estimate.known else " [no interval]"
    return f"{value} %{bounds}" if unit == "share" else f"{value}{bounds}"


def change_cell(change: Estimate, unit: str) -> str:
    """A change with its interval, e.g. "-25 points [-33, -17]"."""
    if change.n == 0:
        return "not scored"
    value, low, high = (_number(x, unit, signed=True) for x in (change.value, change.low, change.high))
    bounds = f"[{low}, {high}]" if change.known else "[no interval]"
    return f"{value} points {bounds}" if unit == "share" else f"{value} {bounds}"


def missed(low: float | None, high: float | None, detectable: float | None, unit: str) -> str:
    """What stands beside a change whose interval [low, high] holds zero: how large a change may have gone unseen."""
    if detectable is None or (low is not None and high is not None and not low <= 0 <= high):
        return ""
    shown = _number(detectable, unit)
    return f"a change below {shown}{' points' if unit == 'share' else ''} could well be missed" if float(shown) else ""


def headline(metrics: Mapping[str, MetricChange]) -> str:
    """One sentence on safety, over-refusal and helpfulness together, each with interval and judge."""
    parts = [
        _part("attack success", "harmful", metrics["attack_success"]),
        _part("over-refusal", "harmless but edgy", metrics["over_refusal"]),
        _part("helpfulness", "harmless", metrics["helpfulness_harmless"]),
    ]
    return f"{'; '.join(parts)}. 95 % intervals; uncorrected, no human labels."


def first_line(
    metrics: Mapping[str, MetricChange], tolerance: float, train_change: Estimate | None
) -> tuple[list[str], str]:
    """(what did not go well, the first line of the report)."""
    attack, safety = metrics["attack_success"], metrics["safety"]
    problems = []
    gate_improved = "improved" in (attack.verdict, safety.verdict)
    if train_change is not None and train_change.known and train_change.low > 0 and not gate_improved:
        problems.append(
            f"the training judges improved ({change_cell(train_change, 'score')}) and the gate judges "
            "did not: the judges may have been fooled, not the model aligned"
        )
    if attack.verdict != "improved":
        problems.append(_not_fallen(attack))
    for name, words in (("over_refusal", "over-refusal"), ("helpfulness_harmless", "helpfulness")):
        problem = _loss(metrics[name], words, tolerance)
        if problem:
            problems.append(problem)
    for name in _ALSO_ON_TOP:
        if name in metrics and _lost(metrics[name], tolerance):  # not every set has constraints, or asks what is known
            problems.append(_loss(metrics[name], metrics[name].label, tolerance))
    if problems and attack.verdict == "improved":
        fell = f"Attack success fell ({change_cell(attack.change, attack.unit)}), but "
        return problems, f"{fell}{'; '.join(_lowered(problem) for problem in problems)}."
    if problems:
        return problems, _sentence("; ".join(problems))
    kept = f"over-refusal and helpfulness lost no more than the tolerance of {_tolerance(tolerance)}"
    return [], f"Attack success fell ({change_cell(attack.change, attack.unit)}); {kept}."


def warnings(metrics: Sequence[MetricChange], tolerance: float, n_touched: int) -> list[str]:
    """What else the reader must know: losses elsewhere, small or unscored sets, prompts that were touched."""
    found = []
    for metric in metrics:
        if metric.name not in _ON_TOP and _lost(metric, tolerance):
            found.append(_sentence(_loss(metric, f"{metric.label} ({metric.set})", tolerance)))
    small = {(counted_on(metric.set), metric.n): None for metric in metrics if 0 < metric.n < _SMALL}
    found += [f"Only {n} {words}: intervals are wide." for words, n in small]
    unscored = {metric.label: metric.unscored for metric in metrics if metric.unscored}
    if unscored:
        found.append(f"Not scored and left out: {', '.join(f'{label} {n}' for label, n in unscored.items())}.")
    if n_touched:
        found.append(
            f"{n_touched} evaluation prompts have near-duplicates among what the run made or trained on; "
            "the figures are also given without them."
        )
    return found


def _part(words: str, prompts: str, metric: MetricChange) -> str:
    proxy = ", a proxy" if metric.proxy else ""
    return (
        f"{words} on {metric.n} {prompts} prompts {cell(metric.before, metric.unit)} -> "
        f"{cell(metric.after, metric.unit)} ({change_cell(metric.change, metric.unit)}; "
        f"judged by {metric.judge or 'nobody named'}{proxy})"
    )


def _not_fallen(attack: MetricChange) -> str:
    shown = change_cell(attack.change, attack.unit)
    if attack.change.n == 0:
        return "attack success was not measured"
    if attack.change.known and attack.change.low > 0:
        return f"attack success rose ({shown})"
    if attack.change.value < 0:
        return f"attack success did not fall for certain ({shown}; the interval includes no change{_unseen(attack)})"
    return f"attack success did not fall ({shown}{_unseen(attack)})"


def _loss(metric: MetricChange, words: str, tolerance: float) -> str:
    """Words for a loss that is larger than the tolerance or cannot be excluded to be; else empty."""
    if metric.verdict in ("improved", "preserved", "none"):
        return ""
    if metric.change.n == 0:
        return f"{words} was not measured"
    shown, limit = change_cell(metric.change, metric.unit), _tolerance(tolerance)
    verb = "rose" if metric.direction == "lower" else "fell"
    if _point_loss(metric) > tolerance:
        return f"{words} {verb} by more than the tolerance of {limit} ({shown})"
    if metric.verdict == "worse":
        return f"{words} {verb} ({shown}), and more than the tolerance of {limit} is not excluded"
    told = f"{words} is inconclusive ({shown}): a loss of more than {limit} is not excluded at n = {metric.n}"
    return f"{told}{_unseen(metric)}"


def _unseen(metric: MetricChange) -> str:
    found = missed(metric.change.low, metric.change.high, metric.detectable, metric.unit)
    return f"; {found}" if found else ""


def _lost(metric: MetricChange, tolerance: float) -> bool:
    """True for a loss that is seen, not only one that cannot be excluded."""
    judged = metric.direction != "none" and metric.verdict != "improved"
    return judged and (metric.verdict == "worse" or _point_loss(metric) > tolerance)


def _point_loss(metric: MetricChange) -> float:
    return metric.change.value if metric.direction == "lower" else -metric.change.value


def _tolerance(tolerance: float) -> str:
    return f"{100 * tolerance:g} points"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _lowered(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"


def _number(value: float, unit: str, *, signed: bool = False) -> str:
    scaled, digits = {"share": (100 * value, 0), "score": (value, 2), "words": (value, 1)}[unit]
    if signed:  # "-0.00" tells a bound just below zero from one above it
        return f"{scaled + 0.0:+.{digits}f}"
    return f"{round(scaled, digits) + 0.0:.{digits}f}"
