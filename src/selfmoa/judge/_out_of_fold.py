"""What a trained head said about its own training answers while it had not seen their objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfmoa.errors import UsageError, nearest
from selfmoa.judge._data import human_data
from selfmoa.judge._head import probability
from selfmoa.judge._protocol import EvaluatorContext
from selfmoa.judge._refusal_head import refusal_rows, trained_refusal_head
from selfmoa.judge._safety import SAFETY_HEADS, trained_safety_head

__all__ = ["OutOfFold", "out_of_fold_scores", "together"]

Array = np.ndarray


@dataclass(frozen=True)
class OutOfFold:
    """Columns over n training answers, in the order of `ids`."""

    ids: tuple[str, ...]
    probabilities: Array
    """(n,) in [0, 1]: calibrated P(safe), higher = safer; P(declines) for the refusal head."""
    labels: Array
    """(n,) bool: people called it safe (a refusal)."""
    clusters: Array
    """(n,) int: near-duplicate objectives share one; folds and bootstraps never divide it."""
    swapped: Array
    """(n,) P(safe) of the answer after an opener that sounds like the other label; NaN where it was not tried."""


def out_of_fold_scores(name: str, context: EvaluatorContext) -> OutOfFold:
    """Held-out probabilities of a trained head; trains it if it is not in the cache.

    Raises `UsageError` where `name` is not a trained head.
    """
    data = human_data(context.exclude)
    if name in SAFETY_HEADS:
        facts = trained_safety_head(SAFETY_HEADS[name], context)[1]
        rows = data.harm(SAFETY_HEADS[name].side)
        labels = [bool(row.safe) for row in rows]
    elif name == "refusal-head":
        facts = trained_refusal_head(context)[1]
        rows, labels = refusal_rows(data)
    else:
        heads = [*SAFETY_HEADS, "refusal-head"]
        raise UsageError(f"{name!r} is not a trained head; expected one of {', '.join(heads)}.{nearest(name, heads)}")
    slope, offset = facts["calibration"]["slope"], facts["calibration"]["offset"]
    swapped = facts.get("held_out_swapped", {})
    return OutOfFold(
        tuple(row.id for row in rows),
        probability(np.array([facts["held_out"][row.id] for row in rows]) * slope + offset),
        np.array(labels, dtype=bool),
        np.array([row.cluster for row in rows]),
        probability(np.array([swapped.get(row.id, np.nan) for row in rows]) * slope + offset),
    )


def together(heads: Sequence[OutOfFold]) -> OutOfFold:
    """The mean of several heads that were trained on the same answers: of two, also their median."""
    first = heads[0]
    if any(head.ids != first.ids for head in heads):
        raise ValueError("got heads of different answers; expected the same answers in the same order")
    probabilities = np.mean([head.probabilities for head in heads], axis=0)
    swapped = np.mean([head.swapped for head in heads], axis=0)
    return OutOfFold(first.ids, probabilities, first.labels, first.clusters, swapped)
