"""Figures of a judge against people's labels, with intervals bootstrapped by objective."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

__all__ = ["accuracy", "auc", "interval", "kappa", "length_correlation", "share_right"]

Array = np.ndarray
Figure = dict[str, float]


def auc(logits: Array, labels: Array) -> float:
    """Probability that a positive answer gets the higher logit than a negative one; NaN with one label only."""
    positive, negative = logits[labels], np.sort(logits[~labels])
    if not len(positive) or not len(negative):
        return float("nan")
    # Mann-Whitney by bisection, a tie counts half: the bootstrap asks for it ten thousands of times
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def accuracy(logits: Array, labels: Array) -> float:
    """Share of answers on the right side of logit 0."""
    return float(np.mean((logits >= 0) == labels))


def share_right(logits: Array, labels: Array, *, of: bool) -> float:
    """Share of the answers with this label on the right side of logit 0; NaN where there are none."""
    chosen = labels == of
    return float(np.mean((logits[chosen] >= 0) == of)) if chosen.any() else float("nan")


def kappa(logits: Array, labels: Array) -> float:
    """Cohen's kappa in [-1, 1] between the side of logit 0 and the label: agreement beyond chance.

    NaN where both say the same of every answer: then chance alone explains all of it.
    """
    said = logits >= 0
    agreed = float(np.mean(said == labels))
    p, q = float(said.mean()), float(np.mean(labels))
    chance = p * q + (1 - p) * (1 - q)
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def length_correlation(values: Array, lengths: Array) -> float:
    """Spearman's rank correlation in [-1, 1]; NaN where all values or all lengths are equal."""
    if np.ptp(values) == 0 or np.ptp(lengths) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(values), rankdata(lengths))[0, 1])


def interval(
    measure: Callable[[Array, Array], float], logits: Array, labels: Array, groups: Array, *, draws: int = 500
) -> Figure:
    """{value, low, high}: percentile 95 % interval over draws of whole objective clusters."""
    rng = np.random.default_rng(0)
    names, inverse = np.unique(groups, return_inverse=True)
    drawn = []
    for _ in range(draws):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        rows = np.repeat(np.arange(len(inverse)), times[inverse])
        drawn.append(measure(logits[rows], labels[rows]))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return {"value": measure(logits, labels), "low": float(low), "high": float(high)}
