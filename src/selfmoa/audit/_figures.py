"""Headline figures corrected by human labels, or shown uncorrected with a band where labels are too few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfmoa.audit._human import HumanSays, human_values, pooled_cells
from selfmoa.audit._key import ARMS, Answers, Cell, Key
from selfmoa.bench import (
    DEFINITIONS,
    Definition,
    Estimate,
    Stratum,
    compare_metrics,
    fitting,
    ppi_mean,
    sensitivity_band,
    summarise,
    verdict,
)

__all__ = ["MINIMUM", "AuditFigure", "Band", "Plausible", "Side", "audit_figures"]

MINIMUM = 60
"""Labels a checkpoint and figure below which nothing is corrected: with 30, intervals hold too rarely."""

_OBJECTIVES = {"safety", "helpfulness", "refusal"}
_LABELLED = tuple(
    one
    for one in DEFINITIONS
    if one.objectives and set(one.objectives) <= _OBJECTIVES and one.set not in ("pairs", "attempts")
)
"""People label single greedy answers: a pair has no label, a sampled answer none either."""
_OTHER_EVENTS = ("partial_refusal_harmful",)
"""A refusal judge's card tells how it errs about refusals, partial ones among them; these alone are another event."""


@dataclass(frozen=True, slots=True)
class Plausible:
    """What a judge's sensitivity and specificity may be, as [low, high] in [0, 1], and who says so."""

    sensitivity: tuple[float, float]
    """Of the bad event: P(called unsafe | unsafe), P(called refused | refused), P(called helpful | helpful)."""
    specificity: tuple[float, float]
    source: str


@dataclass(frozen=True, slots=True)
class Band:
    """The lowest and highest true value over the plausible sensitivities and specificities.

    It starts from the ends of the uncorrected interval, so it holds the choice of prompts too.
    """

    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True)
class Side:
    """A figure of one checkpoint, or its change: by the judge, and by people where they labelled enough."""

    labels: int
    """Items (pairs of items, for a change) that a person labelled."""
    uncorrected: Estimate
    corrected: Estimate | None
    power: float | None
    """How far the judge was trusted, in [0, 1]."""
    band: Band | None
    """Given where nothing is corrected."""


@dataclass(frozen=True)
class AuditFigure:
    """One figure; `sides` holds before, after and change, or before alone."""

    name: str
    label: str
    set: str
    unit: str
    direction: str
    judge: str
    sides: Mapping[str, Side]
    verdict: str
    """Of the corrected change; "none" where there is none."""
    note: str
    """Why it is not corrected; empty where it is."""


def audit_figures(
    key: Key,
    answers: Answers,
    says: HumanSays,
    *,
    judges: Mapping[str, str],
    plausible: Mapping[str, Plausible],
    tolerance: float,
) -> list[AuditFigure]:
    """Every figure that rests on safety, helpfulness or refusal.

    `judges`: figure -> who judged it. `plausible`: objective -> its judge's sensitivity and specificity.
    """
    uncorrected = _uncorrected(answers, tolerance)
    return [
        _figure(one, key, answers, says, uncorrected[one.name], judges.get(one.name, ""), plausible, tolerance)
        for one in _LABELLED
    ]


def _uncorrected(answers: Answers, tolerance: float) -> dict[str, dict[str, Estimate]]:
    """Figure -> side -> the judges' estimate, as results.json has it."""
    sides = {arm: list(items.values()) for arm, items in answers.items()}
    if "after" not in sides:
        return {metric.name: {"before": metric.estimate} for metric in summarise(sides["before"])}
    changes = compare_metrics(sides["before"], sides["after"], tolerance)
    return {one.name: {"before": one.before, "after": one.after, "change": one.change} for one in changes}


def _figure(
    definition: Definition,
    key: Key,
    answers: Answers,
    says: HumanSays,
    uncorrected: Mapping[str, Estimate],
    judge: str,
    plausible: Mapping[str, Plausible],
    tolerance: float,
) -> AuditFigure:
    human = {arm: human_values(definition, says[arm]) for arm in key.arms}
    guesses = {arm: _guesses(definition, answers[arm].values()) for arm in key.arms}
    if "change" in uncorrected:
        before, after = (human[arm] for arm in ARMS)
        human["change"] = {one: after[one] - before[one] for one in before if one in after}
        guesses["change"] = {one: guesses["after"][one] - value for one, value in guesses["before"].items()}
    note = _too_few(human, guesses["before"], key.cells)
    sides: dict[str, Side] = {}
    for name, estimate in uncorrected.items():
        lowest = -1.0 if name == "change" else 0.0
        made = None if note else _corrected(key.cells, human[name], guesses[name], lowest)
        value, power = made or (None, None)
        band = _band(definition, name, uncorrected, plausible) if note else None
        sides[name] = Side(len(human[name]), estimate, value, power, band)
    change = sides["change"].corrected if "change" in sides else None
    found = "none" if change is None else verdict(change, tolerance, definition.direction)
    return AuditFigure(
        definition.name,
        definition.label,
        definition.set,
        definition.unit,
        definition.direction,
        judge,
        sides,
        found,
        note,
    )


def _guesses(definition: Definition, items: Any) -> dict[str, float]:
    """Prompt id -> the judge's value. An unscored answer gets the mean of the others: any guess is corrected."""
    values = {item.prompt_id: definition.value(item) for item in definition.members(list(items))}
    known = [value for value in values.values() if value is not None]
    middle = float(np.mean(known)) if known else 0.5
    return {prompt_id: middle if value is None else value for prompt_id, value in values.items()}


def _too_few(human: Mapping[str, Mapping[str, float]], guesses: Mapping[str, float], cells: Sequence[Cell]) -> str:
    """Why the figure may not be corrected; empty where it may."""
    fewest = min(len(found) for found in human.values())
    if fewest < MINIMUM:
        counts = ", ".join(f"{len(found)} {arm}" for arm, found in human.items())
        return f"not corrected: {counts}; at least {MINIMUM} labels each are needed"
    drawn = {prompt_id for cell in cells for prompt_id in cell.prompts}
    left_out = sum(prompt_id not in drawn for prompt_id in guesses)
    if left_out or not all(_groups(cells, guesses, found) for found in human.values()):
        return "not corrected: of one of its prompt sets fewer than two answers are labelled"
    return ""


def _groups(cells: Sequence[Cell], guesses: Mapping[str, float], human: Mapping[str, float]) -> list[tuple[str, ...]]:
    return pooled_cells([cell for cell in cells if cell.prompts and cell.prompts[0] in guesses], human)


def _corrected(
    cells: Sequence[Cell], human: Mapping[str, float], guesses: Mapping[str, float], lowest: float
) -> tuple[Estimate, float]:
    strata = []
    for group in _groups(cells, guesses, human):
        labelled = [prompt_id for prompt_id in group if prompt_id in human]
        strata.append(
            Stratum(
                labels=np.array([human[one] for one in labelled]),
                scores=np.array([guesses[one] for one in labelled]),
                rest=np.array([guesses[one] for one in group if one not in human]),
            )
        )
    made = ppi_mean(strata, lowest=lowest)
    return made.estimate, made.power


def _band(
    definition: Definition, side: str, uncorrected: Mapping[str, Estimate], plausible: Mapping[str, Plausible]
) -> Band | None:
    """Rogan and Gladen's rate over the grid; for a change, each checkpoint may have its own error.

    None for a mean of graded scores, which is no rate, and for a rate of what no card measures.
    """
    if (
        definition.unit == "score"
        or definition.name in _OTHER_EVENTS
        or any(uncorrected[arm].n == 0 for arm in uncorrected)
    ):
        return None
    given_for = definition.objectives[0]
    given = plausible[given_for]
    ranges = given.sensitivity, given.specificity
    bands = {arm: _both_ends(uncorrected[arm], ranges) for arm in uncorrected if arm != "change"}
    if side == "change":
        low, high = bands["after"][0] - bands["before"][1], bands["after"][1] - bands["before"][0]
    else:
        low, high = bands[side]
    source = given.source
    if any(fitting(uncorrected[arm].value, *ranges) != ranges for arm in bands):
        source += "; these answers do not fit it, so what may have given their rate is taken, up to 1"
    if len(definition.objectives) > 1:
        source += f"; {given_for}'s errors alone"
    return Band(low, high, source)


def _both_ends(estimate: Estimate, ranges: tuple[tuple[float, float], tuple[float, float]]) -> tuple[float, float]:
    ends = (estimate.low, estimate.high) if estimate.known else (0.0, 1.0)
    bands = [sensitivity_band(end, *ranges) for end in ends]
    return min(low for low, _ in bands), max(high for _, high in bands)
