"""Dawid and Skene's model of several imperfect judges, for two classes (Applied Statistics 28, 1979).

Each judge has an unknown sensitivity and specificity, each answer an unknown class; expectation-maximisation finds
both from the votes alone. It assumes that judges err independently given the class. Judges of one kin (the same
base or encoder) do not: their votes are down-weighted so that a kin speaks with one voice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

__all__ = ["dawid_skene"]

_ROUNDS = 200
_PRIOR = 1.0
"""Beta(1 + _PRIOR, 1) on sensitivity and specificity: a judge is rather right than wrong, and never certain."""


def dawid_skene(votes: np.ndarray, kin: Sequence[str]) -> np.ndarray:
    """P(positive) of each answer, in [0, 1], NaN where nobody voted.

    votes: (n, judges), 1.0 positive, 0.0 negative, NaN abstained. kin: one name a judge; votes of equal names share
    the weight of one. Raises `ValueError` for fewer than three judges, of which the votes alone say nothing.
    """
    n_judges = votes.shape[1]
    if n_judges < 3:
        raise ValueError(f"Dawid-Skene needs at least 3 judges, got {n_judges}.")
    known = ~np.isnan(votes)
    yes, no = np.where(known, votes, 0.0), np.where(known, 1.0 - votes, 0.0)
    weight = np.array([1.0 / Counter(kin)[name] for name in kin])
    counts = known @ weight
    posterior = np.divide(yes @ weight, counts, out=np.full(len(votes), 0.5), where=counts > 0)
    for _ in range(_ROUNDS):
        before = posterior
        rate = (posterior.sum() + 1.0) / (len(votes) + 2.0)
        sensitivity = (posterior @ yes + _PRIOR) / (posterior @ (yes + no) + _PRIOR + 1e-9)
        specificity = ((1.0 - posterior) @ no + _PRIOR) / ((1.0 - posterior) @ (yes + no) + _PRIOR + 1e-9)
        sensitivity, specificity = np.clip(sensitivity, 0.01, 0.99), np.clip(specificity, 0.01, 0.99)
        odds = np.log(rate / (1.0 - rate))
        odds = odds + yes @ (weight * np.log(sensitivity / (1.0 - specificity)))
        odds = odds + no @ (weight * np.log((1.0 - sensitivity) / specificity))
        posterior = 1.0 / (1.0 + np.exp(-odds))
        if np.abs(posterior - before).max(initial=0.0) < 1e-6:
            break
    return np.where(counts > 0, posterior, np.nan)
