"""Tests beside the intervals: exact McNemar, Holm, equivalence, and what a sample could have seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["detectable_change", "detectable_rate_change", "equivalence_p", "holm", "mcnemar_p"]

_SEEN = 1.959963984540054 + 0.8416212335729143
"""z of a two-sided 5 % level plus z of 80 % power."""


def mcnemar_p(before: Sequence[bool | None], after: Sequence[bool | None]) -> float:
    """Two-sided p of the exact McNemar test over pairs scored on both sides; 1 where nothing changed."""
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = [(bool(b), bool(a)) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    gained, lost = sum(a and not b for b, a in pairs), sum(b and not a for b, a in pairs)
    if not gained + lost:
        return 1.0
    same = len(pairs) - gained - lost
    return float(mcnemar([[same, gained], [lost, 0]], exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, for a family of tests of which none may be wrong by chance."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]] if p_values else []


def equivalence_p(before: Sequence[float | None], after: Sequence[float | None], tolerance: float) -> float | None:
    """p of the paired TOST: below 0.05 the mean change is shown to lie within +-`tolerance`.

    None below two pairs, or where all changes are equal.
    """
    from statsmodels.stats.weightstats import ttost_paired

    both = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if len(both) < 2:
        return None
    then, now = (np.array(column, dtype=float) for column in zip(*both, strict=True))
    difference = now - then
    if float(np.ptp(difference)) < 1e-12:  # no spread, no test
        return None
    return float(ttost_paired(now, then, -tolerance, tolerance)[0])


def detectable_rate_change(n: int, changed: float = 0.25) -> float:
    """The smallest true change of a rate that n paired prompts show with 80 % power at the 5 % level.

    `changed` is the share of prompts whose verdict differs between the two models, a quarter where it is not known.
    """
    return _SEEN * math.sqrt(changed / n)


def detectable_change(before: Sequence[float | None], after: Sequence[float | None]) -> float | None:
    """The smallest true mean change that this many pairs of this spread show with 80 % power at the 5 % level.

    For the line "no significant change": it says how large a change would probably have been missed. Where no pair
    changed, the spread is taken as one changed pair's. None below two pairs.
    """
    found = [a - b for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if len(found) < 2:
        return None
    spread = float(np.std(found, ddof=1))
    if spread < 1e-12:
        spread = 1.0 / math.sqrt(len(found))
    return _SEEN * spread / math.sqrt(len(found))
