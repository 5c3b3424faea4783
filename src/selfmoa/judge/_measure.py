"""Figures of a head with intervals: AUC and accuracy, bootstrapped by objective."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

__all__ = ["accuracy", "auc", "interval"]

Array = np.ndarray
Figure = dict[str, float]


def auc(logits: Array, labels: Array) -> float:
    """Probability that a positive answer gets the higher logit than a negative one; NaN with one label only."""
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(logits)
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def accuracy(logits: Array, labels: Array) -> float:
    """Share of answers on the right side of logit 0."""
    return float(np.mean((logits >= 0) == labels))


def interval(
    measure: Callable[[Array, Array], float], logits: Array, labels: Array, groups: Array, *, draws: int = 500
) -> Figure:
    """{value, low, high}: percentile 95 % interval over draws of whole objective clusters."""
    rng = np.random.default_rng(0)
    names, inverse = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(inverse == number) for number in range(len(names))]
    drawn = []
    for _ in range(draws):
        rows = np.concatenate([members[number] for number in rng.integers(len(names), size=len(names))])
        drawn.append(measure(logits[rows], labels[rows]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": measure(logits, labels), "low": float(low), "high": float(high)}
