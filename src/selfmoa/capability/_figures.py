"""Figures from answered questions: each task's, the pooled one, and what changed between two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeVar

from selfmoa.bench import (
    Estimate,
    Metric,
    MetricChange,
    detectable_change,
    paired_proportion_change,
    plain_json,
    rate,
    verdict,
)
from selfmoa.capability._items import Answered
from selfmoa.errors import UsageError

__all__ = [
    "POOLED",
    "Capability",
    "Change",
    "Figure",
    "compare_capability",
    "figure_names",
    "metric_changes",
    "metrics",
    "to_json",
]

Each = TypeVar("Each")

POOLED = "all tasks"
"""Name of the figure over the questions of every task, each with the same weight."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Accuracy of one model on one task, shares in [0, 1], higher = better."""

    task: str
    chance: float
    """Expected accuracy of a model that guesses."""
    acc: Estimate
    acc_norm: Estimate
    """n is 0 where the task does not define it."""


@dataclass(frozen=True)
class Capability:
    """Every answered question of one model."""

    items: tuple[Answered, ...]

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """One a task, then the pooled one, with Wilson intervals (95 %)."""
        return tuple(_figure(name, items) for name, items in _by_task(self.items).items())

    def figure(self, task: str = POOLED) -> Figure:
        """The figure of one task, or the pooled one."""
        for figure in self.figures:
            if figure.task == task:
                return figure
        raise UsageError(f"There is no task {task!r}. Known: {', '.join(figure.task for figure in self.figures)}.")

    def right(self, metric: str) -> dict[tuple[str, str], float]:
        """(task, question) -> 1 where the answer is right, else 0, of the questions that a figure counts."""
        return {(item.task, item.item): float(item.acc) for item in self.items if metric in figure_names(item)}


@dataclass(frozen=True, slots=True)
class Change:
    """One task before and after, on the same questions."""

    before: Figure
    after: Figure
    acc: Estimate
    """After - before, in [-1, 1], with Tango's paired interval (95 %)."""
    acc_norm: Estimate
    detectable: float | None
    """The smallest true change of `acc` that these questions show with 80 % power; None below two."""


def compare_capability(before: Capability, after: Capability) -> list[Change]:
    """Every task's change and the pooled one. Raises `UsageError` where the two did not answer the same questions."""
    then, now = _by_task(before.items), _by_task(_in_order(before.items, after.items))
    return [_change(name, then[name], now[name]) for name in then]


def metrics(found: Capability) -> list[Metric]:
    """The figures as results.json holds them: `capability` (pooled) and `capability_TASK`, both of `acc`."""
    return [
        Metric(_metric(figure.task), _label(figure), "capability", "higher", "lm-eval", False, figure.acc, "share")
        for figure in _pooled_first(found.figures)
    ]


def metric_changes(before: Capability, after: Capability, tolerance: float) -> list[MetricChange]:
    """The same before and after; a loss of more than `tolerance` (a share) is what the verdict must exclude."""
    changes = compare_capability(before, after)
    return [
        MetricChange(
            _metric(change.before.task),
            _label(change.before),
            "capability",
            "higher",
            "lm-eval",
            False,
            "share",
            n=change.acc.n,
            unscored=change.acc.unscored,
            before=change.before.acc,
            after=change.after.acc,
            change=change.acc,
            verdict=verdict(change.acc, tolerance, "higher"),
            detectable=change.detectable,
        )
        for change in _pooled_first(changes)
    ]


def figure_names(item: Answered) -> tuple[str, str]:
    """The figures of results.json that a question counts in: the pooled one and its task's."""
    return _metric(POOLED), _metric(item.task)


def to_json(before: Capability, after: Capability | None = None) -> dict[str, Any]:
    """A flat row a task: of one model its figures, of two `before`, `after`, `change`, `change_norm`, `detectable`."""
    if after is None:
        return {"tasks": [plain_json(asdict(figure)) for figure in before.figures]}
    rows = [
        {
            "task": change.before.task,
            "chance": change.before.chance,
            "before": {"acc": asdict(change.before.acc), "acc_norm": asdict(change.before.acc_norm)},
            "after": {"acc": asdict(change.after.acc), "acc_norm": asdict(change.after.acc_norm)},
            "change": asdict(change.acc),
            "change_norm": asdict(change.acc_norm),
            "detectable": change.detectable,
        }
        for change in compare_capability(before, after)
    ]
    return {"tasks": [plain_json(row) for row in rows]}


def _by_task(items: Sequence[Answered]) -> dict[str, list[Answered]]:
    found: dict[str, list[Answered]] = {}
    for item in items:
        found.setdefault(item.task, []).append(item)
    return {**found, POOLED: list(items)}


def _figure(name: str, items: Sequence[Answered]) -> Figure:
    chance = sum(1 / item.choices for item in items) / len(items) if items else float("nan")
    return Figure(name, chance, rate([item.acc for item in items]), rate([item.acc_norm for item in items]))


def _change(name: str, before: Sequence[Answered], after: Sequence[Answered]) -> Change:
    then, now = [item.acc for item in before], [item.acc for item in after]
    norms = [item.acc_norm for item in before], [item.acc_norm for item in after]
    return Change(
        before=_figure(name, before),
        after=_figure(name, after),
        acc=paired_proportion_change(then, now),
        acc_norm=paired_proportion_change(*norms),
        detectable=detectable_change([float(right) for right in then], [float(right) for right in now]),
    )


def _in_order(before: Sequence[Answered], after: Sequence[Answered]) -> list[Answered]:
    """The questions of `after` in the order of `before`."""
    keys, found = [(item.task, item.item) for item in before], {(item.task, item.item): item for item in after}
    if set(keys) != found.keys() or not len(keys) == len(found) == len(after):
        odd = len(set(keys) ^ found.keys())
        raise UsageError(f"Before and after differ in {odd} questions; measure both with the same tasks, n and seed.")
    return [found[key] for key in keys]


def _pooled_first(found: Sequence[Each]) -> list[Each]:
    return [*found[-1:], *found[:-1]]


def _metric(task: str) -> str:
    return "capability" if task == POOLED else f"capability_{task}"


def _label(figure: Figure) -> str:
    return f"Right answers, {figure.task} (chance {figure.chance:.0%})"
