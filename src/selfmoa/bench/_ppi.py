"""Prediction-powered means: few human labels correct a judge's scores of everything; pure functions, no torch.

PPI: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023 (arXiv 2301.09633). Power tuning (PPI++): Angelopoulos,
Duchi & Zrnic 2023 (arXiv 2311.01453), section 6.1 for the mean. Strata as in Fisch et al. 2024 (arXiv 2406.04291),
with one power for all of them. A paired difference is the mean of the differences, so it needs no function of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selfmoa.bench._statistics import Estimate, Z

__all__ = ["Corrected", "Stratum", "fitting", "ppi_mean", "rogan_gladen", "sensitivity_band"]

Array = np.ndarray
Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Stratum:
    """Items among which those with a human label were drawn at random."""

    labels: Array
    """(n,) what people said of the labelled items."""
    scores: Array
    """(n,) what the judge said of the same items."""
    rest: Array
    """(m,) what the judge said of the items without a label."""

    @property
    def size(self) -> int:
        """Items in the stratum, labelled or not."""
        return len(self.labels) + len(self.rest)


@dataclass(frozen=True, slots=True)
class Corrected:
    """A corrected figure; `estimate.n` counts the labels it rests on."""

    estimate: Estimate
    power: float
    """Lambda in [0, 1]: 0 = the judge was of no use and only the labels count, 1 = plain PPI."""


def ppi_mean(strata: Sequence[Stratum], *, lowest: float | None = 0.0, small_sample: bool = True) -> Corrected:
    """The mean of the labels over all items, whatever the judge's errors are (tuning leaves a bias of order 1/n).

    Values lie in [lowest, 1] and the interval is cut to that; None says that they are unbounded. `small_sample`
    takes unbiased variances, a t quantile with (labels - strata) degrees of freedom and, for values in [0, 1], a
    Wilson-type interval; without it the formulas are those of the paper (and of its package). The interval covers
    the choice of items, like a judge's own.

    Raises `ValueError` where there is no stratum, a stratum has fewer than two labels, or lengths differ.
    """
    _check(strata)
    shares = np.array([stratum.size for stratum in strata], dtype=float)
    total = shares.sum()
    shares /= total
    ddof = 1 if small_sample else 0
    power = _power(strata, shares, ddof)
    parts = [_part(stratum, power, ddof) for stratum in strata]
    means, variances = np.array([mean for mean, _ in parts]), np.array([variance for _, variance in parts])
    value = float(shares @ means)
    # the shares are those of the items at hand, so they vary with the choice of items too
    error = math.sqrt(float(shares**2 @ variances + shares @ (means - value) ** 2 / total))
    n = sum(len(stratum.labels) for stratum in strata)
    quantile = _quantile(n - len(strata) if small_sample else None)
    low, high = value - quantile * error, value + quantile * error
    if small_sample and lowest == 0.0:
        effective = 1 / sum(share**2 / len(stratum.labels) for share, stratum in zip(shares, strata, strict=True))
        low, high = _score_interval(value, error**2, quantile**2 / effective, quantile, _binary(strata))
    if error < 1e-12 and high - low < 1e-12 and lowest is not None:
        # equal values between the ends of the scale: as wide as a Wilson interval at that n, not of width zero
        share = Z**2 / (n + Z**2)
        low, high = value - (value - lowest) * share, value + (1 - value) * share
    if lowest is not None:
        value, low, high = (min(max(x, lowest), 1.0) for x in (value, low, high))
    return Corrected(Estimate(value, low, high, n), power)


def rogan_gladen(observed: float, sensitivity: float, specificity: float) -> float | None:
    """The true rate behind a judge's rate, in [0, 1]; None where the judge is no better than chance.

    Rogan & Gladen 1978 (American Journal of Epidemiology 107, p. 71): (p + sp - 1) / (se + sp - 1).
    """
    informed = sensitivity + specificity - 1
    if informed <= 1e-9:
        return None
    return min(max((observed + specificity - 1) / informed, 0.0), 1.0)


def fitting(observed: float, sensitivity: Range, specificity: Range) -> tuple[Range, Range]:
    """The ranges, each widened to 1 and cut to what can have given the observed rate where a part of it cannot."""
    if observed > sensitivity[0]:
        sensitivity = (observed, 1.0)
    if observed < 1 - specificity[0]:
        specificity = (1 - observed, 1.0)
    return sensitivity, specificity


def sensitivity_band(observed: float, sensitivity: Range, specificity: Range, *, steps: int = 11) -> Range:
    """Lowest and highest true rate over a grid of plausible sensitivities and specificities.

    [0, 1] where the grid reaches a judge that is no better than chance. A rate that a sensitivity or specificity of the
    range cannot have given (a judge that calls fewer bad than its false alarms alone would be) shows that the range
    does not hold for these answers: what could have given it is taken, up to 1. It is no confidence interval.
    """
    sensitivity, specificity = fitting(observed, sensitivity, specificity)
    rates = [
        rogan_gladen(observed, float(se), float(sp))
        for se in np.linspace(*sensitivity, steps)
        for sp in np.linspace(*specificity, steps)
    ]
    known = [rate for rate in rates if rate is not None]
    return (min(known), max(known)) if len(known) == len(rates) else (0.0, 1.0)


def _check(strata: Sequence[Stratum]) -> None:
    if not strata:
        raise ValueError("got no stratum; expected at least one")
    for stratum in strata:
        if len(stratum.labels) != len(stratum.scores):
            raise ValueError(f"got {len(stratum.labels)} labels and {len(stratum.scores)} scores; expected pairs")
        if len(stratum.labels) < 2:
            raise ValueError(f"got {len(stratum.labels)} labels in a stratum; expected at least two")


def _power(strata: Sequence[Stratum], shares: Array, ddof: int) -> float:
    """Lambda that makes the variance smallest, cut to [0, 1]; 0 where the judge's scores do not vary."""
    gain = spread = 0.0
    for share, stratum in zip(shares, strata, strict=True):
        n, m = len(stratum.labels), len(stratum.rest)
        if m == 0:
            continue
        covariance = float(np.cov(stratum.labels, stratum.scores, ddof=ddof)[0, 1])
        variance = float(np.concatenate([stratum.scores, stratum.rest]).var(ddof=1))
        gain += share**2 * covariance / n
        spread += share**2 * variance * (1 / n + 1 / m)
    return min(max(gain / spread, 0.0), 1.0) if spread > 0 else 0.0


def _part(stratum: Stratum, power: float, ddof: int) -> tuple[float, float]:
    """Mean of one stratum and the variance of that mean."""
    if len(stratum.rest) == 0:  # everything is labelled: nothing is left for the judge to say
        return float(stratum.labels.mean()), float(stratum.labels.var(ddof=ddof)) / len(stratum.labels)
    errors = stratum.labels - power * stratum.scores
    guessed = float(stratum.rest.var(ddof=min(ddof, len(stratum.rest) - 1)))
    mean = power * float(stratum.rest.mean()) + float(errors.mean())
    return mean, float(errors.var(ddof=ddof)) / len(errors) + power**2 * guessed / len(stratum.rest)


def _binary(strata: Sequence[Stratum]) -> float:
    """How near the labels in [0, 1] are to plain yes and no: their variance over that of such labels, in [0, 1]."""
    labels = np.concatenate([stratum.labels for stratum in strata])
    most = float(labels.mean() * (1 - labels.mean()))
    return min(float(labels.var()) / most, 1.0) if most > 1e-12 else 1.0


def _score_interval(value: float, variance: float, step: float, quantile: float, binary: float) -> Range:
    """Wilson's interval carried over: the labels' own part of the variance moves with the rate that is tested.

    All x with (value - x)^2 <= quantile^2 * variance + binary * step * (x(1 - x) - value(1 - value)), where `step`
    is quantile^2 over the effective number of labels. A plain interval misses rates near 0 and 1 too often. With a
    judge that is of no use this is Wilson's interval.
    """
    step *= binary
    middle = (value + step / 2) / (1 + step)
    constant = value**2 + step * value * (1 - value) - quantile**2 * variance
    half = math.sqrt(max(middle**2 - constant / (1 + step), 0.0))
    return middle - half, middle + half


def _quantile(freedom: int | None) -> float:
    if freedom is None:
        return Z
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
