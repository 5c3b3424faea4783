"""One change from several runs that differ in their seed: what every run found, and how far seeds scatter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from selfmoa.bench._statistics import Estimate, Z

__all__ = ["Pooled", "pool"]

_NAN = float("nan")
_LEAST = 1e-12
"""A variance of zero would give one run all the weight."""
_MOST_SHARED = 0.9
"""Share of the surest run's variance that may count as shared where runs are weighed."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """The mean change over seeds with a 95 % interval for it; NaN where fewer than two runs know the change."""

    value: float
    low: float
    high: float
    runs: int
    """Runs that know the change."""
    seed_sd: float
    """Standard deviation of the true changes between seeds (DerSimonian and Laird); 0 = what prompts explain."""
    detectable: float | None = None
    """Smallest true change that so many runs show with 80 % power; None where there is no interval."""


def pool(changes: Sequence[Estimate], items: Sequence[Mapping[str, float]]) -> Pooled:
    """Combine the changes of k runs as random effects.

    `items` are the changes behind each of them by prompt. Weights are those of DerSimonian and Laird (1986), the
    interval is Hartung, Knapp, Sidik and Jonkman's with k - 1 degrees of freedom, never narrower than the plain one.
    Runs that were asked the same prompts err together: the mean covariance of their changes is added to the variance,
    as the scatter between runs cannot show it.
    """
    known = [(change, item) for change, item in zip(changes, items, strict=True) if change.known]
    if len(known) < 2:
        return Pooled(_NAN, _NAN, _NAN, len(known), _NAN)
    from scipy.stats import t
    from statsmodels.stats.meta_analysis import combine_effects

    effects = np.array([change.value for change, _ in known])
    variances = np.array([max(((change.high - change.low) / (2 * Z)) ** 2, _LEAST) for change, _ in known])
    shared = max(0.0, _covariance([item for _, item in known]))
    # what differs from run to run; of no run is so little its own that it alone would count
    own = variances - min(shared, _MOST_SHARED * float(variances.min()))
    with np.errstate(all="ignore"):  # statsmodels does not cut a negative variance off at zero, and warns of it
        found = combine_effects(effects, own, method_re="dl", use_t=True)
    scattered = float(found.tau2) > 0
    value = float(found.mean_effect_re if scattered else found.mean_effect_fe)
    errors = (found.sd_eff_w_re_hksj, found.sd_eff_w_re) if scattered else (found.sd_eff_w_fe_hksj, found.sd_eff_w_fe)
    error = math.sqrt(max(float(error) for error in errors) ** 2 + shared)
    sure, power = (float(t.ppf(level, len(known) - 1)) for level in (0.975, 0.8))
    half, seen = sure * error, (sure + power) * error
    return Pooled(value, value - half, value + half, len(known), math.sqrt(max(0.0, float(found.tau2))), seen)


def _covariance(items: Sequence[Mapping[str, float]]) -> float:
    """Mean covariance of two runs' mean changes, by the prompts that both were asked."""
    means = [sum(item.values()) / len(item) if item else _NAN for item in items]
    found = []
    for one, other in combinations(range(len(items)), 2):
        both = items[one].keys() & items[other].keys()
        total = sum((items[one][key] - means[one]) * (items[other][key] - means[other]) for key in both)
        found.append(total / (len(items[one]) * len(items[other])) if both else 0.0)
    return sum(found) / len(found)
