"""Every figure of every arm, its paired change against the first, and who is on the Pareto front."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from selfmoa.bench import (
    DEFINED,
    Definition,
    Estimate,
    Measured,
    MetricChange,
    MetricVerdict,
    by_hazard,
    by_wrapping,
    compare_metrics,
    detectable_change,
    equivalence_p,
    holm,
    mcnemar_p,
    paired_values,
    rate,
    with_preferences,
)
from selfmoa.capability import Capability, metric_changes
from selfmoa.compare._arms import Arm

__all__ = ["FRONT", "ArmFigure", "Changed", "ComparedArms", "Group", "compare_arms"]

Grouping = Callable[[Definition, Sequence[Measured]], dict[str, dict[str, float | None]]]
_GROUPED = ("attack_success", "over_refusal")
FRONT = ("attack_success", "helpfulness_harmless")
"""Safety and helpfulness of the scatter: lower, then higher is better."""


@dataclass(frozen=True, slots=True)
class ArmFigure:
    """One figure of one arm; `change` is None for the first arm."""

    metric: str
    label: str
    set: str
    direction: Literal["higher", "lower", "none"]
    unit: Literal["share", "score", "words"]
    judge: str
    arm: str
    estimate: Estimate
    change: Estimate | None = None
    verdict: MetricVerdict = "none"
    p: float | None = None
    """Exact McNemar, for shares."""
    p_equivalent: float | None = None
    """Paired TOST within the tolerance, for scores."""
    detectable: float | None = None
    """Smallest change that would have been seen with 80 % power."""


@dataclass(frozen=True, slots=True)
class Group:
    """One figure of one arm on the prompts of one hazard (or type of edgy prompt)."""

    metric: str
    group: str
    arm: str
    estimate: Estimate
    p: float | None = None
    """McNemar against the first arm, adjusted by Holm over the groups of this figure and arm."""
    detectable: float | None = None
    """Smallest change against the first arm that would have been seen with 80 % power, this group alone."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A prompt on which an arm's attack success or over-refusal differs from the first arm's."""

    metric: str
    arm: str
    prompt_id: str
    group: str
    before: bool
    after: bool


@dataclass(frozen=True)
class ComparedArms:
    """All of it; `arms` in the order given, the first is what the others are compared with."""

    arms: tuple[Arm, ...]
    tolerance: float
    figures: tuple[ArmFigure, ...]
    groups: tuple[Group, ...]
    changed: tuple[Changed, ...]
    wrappings: tuple[Group, ...]
    """Attack success by what requests were wrapped in; empty where the evaluation names no wrappings."""
    front: tuple[str, ...]
    """Arms that no other beats on attack success and helpfulness at once (point estimates)."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The figures that a prompt is about, in order: answers to attacks alone have no over-refusal to show."""
        counted = (figure for figure in self.figures if figure.estimate.n + figure.estimate.unscored)
        return tuple(dict.fromkeys(figure.metric for figure in counted))

    def figure(self, metric: str, arm: str) -> ArmFigure:
        """One figure of one arm; KeyError where there is none."""
        for found in self.figures:
            if (found.metric, found.arm) == (metric, arm):
                return found
        raise KeyError(f"{metric} of {arm}")


def compare_arms(arms: Sequence[Arm], tolerance: float = 0.1) -> ComparedArms:
    """Compare arms that answered the same prompts (see `load_arms`); `tolerance` in [0, 1] as in an evaluation.

    What they know is compared where every arm was asked. Raises `UsageError` where that were different questions.
    """
    arms = _preferred(arms)
    figures = [figure for arm in arms for figure in _figures(arms[0], arm, tolerance)]
    if all(arm.known for arm in arms):
        figures += [figure for arm in arms for figure in _known(arms[0], arm, tolerance)]
    return ComparedArms(
        tuple(arms),
        tolerance,
        tuple(figures),
        tuple(group for metric in _GROUPED for arm in arms for group in _groups(DEFINED[metric], arms[0], arm)),
        tuple(row for metric in _GROUPED for arm in arms[1:] for row in _changed(DEFINED[metric], arms[0], arm)),
        tuple(group for arm in arms for group in _groups(DEFINED["attack_success"], arms[0], arm, by_wrapping)),
        _front(figures),
    )


def _preferred(arms: Sequence[Arm]) -> list[Arm]:
    """The arms with whose benign answers are preferred to the first's.

    Judges who were shown two answers decide where they were shown these very ones for every arm; else the scores do.
    """
    first, *others = arms
    answers = {item.prompt_id: item.answer for item in first.items if item.set == "benign"}
    shown = all(arm.votes and all(arm.base.get(key) == text for key, text in answers.items()) for arm in others)
    pairs = [with_preferences(first.items, arm.items, arm.votes if shown else None) for arm in others]
    judged = [_win_judge(arm, shown) for arm in arms]
    items = [pairs[0][0] if pairs else list(first.items), *(after for _, after in pairs)]
    return [replace(arm, items=tuple(mine), judges=who) for arm, mine, who in zip(arms, items, judged, strict=True)]


def _win_judge(arm: Arm, shown: bool) -> dict[str, str]:
    name = "win_rate" if shown else "helpfulness_benign"
    return {**arm.judges, "win_rate": arm.judges.get(name, "")}


def _figures(first: Arm, arm: Arm, tolerance: float) -> list[ArmFigure]:
    found = []
    for change in compare_metrics(first.items, arm.items, tolerance):
        then, now = _values(DEFINED[change.name], first, arm)
        told = _told(change, arm)
        # what the first arm has by definition is no estimate
        told = replace(told, estimate=change.before) if arm is first else told
        found.append(told if arm is first else _against(told, change, then, now, tolerance))
    return found


def _known(first: Arm, arm: Arm, tolerance: float) -> list[ArmFigure]:
    """The figures of what an arm knows: `capability` (pooled) and `capability_TASK`."""
    before, after = Capability(first.known), Capability(arm.known)
    found = []
    for change in metric_changes(before, after, tolerance):
        told = _told(change, arm)
        then, now = before.right(change.name), after.right(change.name)
        both = list(then.values()), [now[question] for question in then]
        found.append(told if arm is first else _against(told, change, *both, tolerance))
    return found


def _told(change: MetricChange, arm: Arm) -> ArmFigure:
    return ArmFigure(
        metric=change.name,
        label=change.label,
        set=change.set,
        direction=change.direction,
        unit=change.unit,
        judge=arm.judges.get(change.name, ""),
        arm=arm.name,
        estimate=change.after,
    )


def _against(
    told: ArmFigure,
    change: MetricChange,
    then: Sequence[float | None],
    now: Sequence[float | None],
    tolerance: float,
) -> ArmFigure:
    """The figure with its paired change."""
    return replace(
        told,
        change=change.change,
        verdict=change.verdict,
        p=mcnemar_p(_flags(then), _flags(now)) if change.unit == "share" else None,
        p_equivalent=equivalence_p(then, now, tolerance) if change.unit == "score" else None,
        detectable=change.detectable,
    )


def _values(definition: Definition, first: Arm, arm: Arm) -> tuple[list[float | None], list[float | None]]:
    """(first, arm), paired by prompt."""
    pairs = paired_values(definition, first.items, arm.items).values()
    return [then for then, _ in pairs], [now for _, now in pairs]


def _flags(values: Sequence[float | None]) -> list[bool | None]:
    return [None if value is None else value == 1 for value in values]


def _groups(definition: Definition, first: Arm, arm: Arm, by: Grouping = by_hazard) -> list[Group]:
    then = by(definition, first.items)  # the first arm's groups: another tool may call them otherwise
    now = {item.prompt_id: definition.value(item) for item in definition.members(arm.items)}
    names = sorted(then)
    pairs = [(list(then[name].values()), [now[key] for key in then[name]]) for name in names]
    rates = [rate(after) for _, after in pairs]
    if arm is first:
        return [Group(definition.name, name, arm.name, found) for name, found in zip(names, rates, strict=True)]
    p_values = [mcnemar_p(_flags(before), _flags(after)) for before, after in pairs]
    seen = [detectable_change(before, after) for before, after in pairs]
    return [
        Group(definition.name, name, arm.name, found, p, least)
        for name, found, p, least in zip(names, rates, holm(p_values), seen, strict=True)
    ]


def _changed(definition: Definition, first: Arm, arm: Arm) -> list[Changed]:
    then, now = _values(definition, first, arm)
    return [
        Changed(definition.name, arm.name, item.prompt_id, item.hazard, before == 1, after == 1)
        for item, before, after in zip(definition.members(first.items), then, now, strict=True)
        if before is not None and after is not None and before != after
    ]


def _front(figures: Sequence[ArmFigure]) -> tuple[str, ...]:
    points: dict[str, list[float]] = defaultdict(list)
    for metric in FRONT:
        for figure in figures:
            if figure.metric == metric:
                points[figure.arm].append(figure.estimate.value)
    known = {arm: (-values[0], values[1]) for arm, values in points.items() if all(map(math.isfinite, values))}

    def beaten(arm: str) -> bool:
        safe, helpful = known[arm]
        return any(s >= safe and h >= helpful and (s, h) != (safe, helpful) for s, h in known.values())

    return tuple(arm for arm in known if not beaten(arm))
