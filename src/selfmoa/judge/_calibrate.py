"""Is a judge's 0.8 right eight times in ten? Calibration maps, measured on labels that they were not fitted on.

Logits and labels follow the heads: the logit is that of P(safe) (or P(refused)), label True = safe (refused).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from selfmoa.judge._head import Folds, calibration, folds, probability
from selfmoa.judge._measure import interval, share_right

__all__ = ["Calibration", "Method", "both_right", "brier", "calibration_report", "choose", "cross_fitted", "ece", "fit"]

Array = np.ndarray
Method = Literal["none", "temperature", "platt", "isotonic"]
_STEPLESS: tuple[Method, ...] = ("temperature", "platt")
"""May become a head's default. Isotonic maps have flat steps: answers on one would tie, and pairs have no margin."""
_LEAST_ROWS, _LEAST_OF_A_LABEL, _LEAST_GROUPS = 60, 15, 10
"""A hazard with fewer gets no map of its own."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from a logit to a probability: logistic(slope * logit + offset), or isotonic through `knots`."""

    method: Method = "none"
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def probability(self, logits: Array) -> Array:
        """(n,) in [0, 1]; never falls where the logit rises (slope > 0)."""
        if self.method == "isotonic":
            places, values = np.array(self.knots).T
            return np.interp(logits, places, values)
        return probability(np.asarray(logits) * self.slope + self.offset)


def fit(method: Method, logits: Array, labels: Array) -> Calibration:
    """Fit one map by maximum likelihood (temperature: the slope alone; Platt: slope and offset) or isotonically."""
    if method == "none":
        return Calibration()
    if method == "temperature":
        return Calibration(method, slope=_temperature(logits, labels))
    if method == "platt":
        return Calibration(method, *calibration(logits, labels))
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip").fit(logits, labels.astype(float))
    knots = zip(model.X_thresholds_.tolist(), model.y_thresholds_.tolist(), strict=True)
    return Calibration(method, knots=tuple(knots))


def _temperature(logits: Array, labels: Array) -> float:
    """1 / temperature; found on a logarithmic scale between 0.01 and 100."""
    from scipy.optimize import minimize_scalar

    signed = np.where(labels, logits, -logits)

    def loss(log_slope: float) -> float:
        return float(np.logaddexp(0.0, -np.exp(log_slope) * signed).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.6, 4.6), method="bounded").x))


def cross_fitted(method: Method, logits: Array, labels: Array, groups: Array, split: Folds | None = None) -> Array:
    """(n,) probabilities, each from a map fitted on the other folds (grouped by objective; `split`, where known)."""
    if method == "none":
        return Calibration().probability(logits)
    found = np.zeros(len(logits))
    for others, held_out in split or folds(labels, groups):
        found[held_out] = fit(method, logits[others], labels[others]).probability(logits[held_out])
    return found


def choose(logits: Array, labels: Array, groups: Array, split: Folds | None = None) -> Calibration:
    """The stepless map with the lowest cross-fitted Brier score, fitted on all rows."""
    split = split or folds(labels, groups)
    scores = {method: brier(cross_fitted(method, logits, labels, groups, split), labels) for method in _STEPLESS}
    return fit(min(_STEPLESS, key=scores.__getitem__), logits, labels)


def brier(probabilities: Array, labels: Array) -> float:
    """Mean squared distance to the label in [0, 1]; lower is better, 0.25 = always saying 0.5."""
    return float(np.mean((probabilities - labels) ** 2))


def ece(probabilities: Array, labels: Array, *, bins: int = 10) -> float:
    """Expected calibration error over bins of equal mass: mean distance of what is said from what is so."""
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(probabilities[part].mean() - labels[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(labels))


def calibration_report(
    logits: Array, labels: Array, groups: Array, *, target: bool, hazards: Sequence[str] = ()
) -> dict[str, Any]:
    """Before ("none") and after each map: Brier, ECE, sensitivity and specificity at 0.5, all cross-fitted.

    `target` is the label that the judge is to find: sensitivity is its share found, specificity the share of the
    other left alone; {value, low, high} bootstrapped by objective. `by_hazard` compares the default map with one of
    the hazard's own where there are rows enough.
    """
    split = folds(labels, groups)
    found = {method: cross_fitted(method, logits, labels, groups, split) for method in get_args(Method)}
    default = choose(logits, labels, groups, split)
    methods = {method: _figures(values, labels, groups, target=target) for method, values in found.items()}
    return {
        "n": len(labels),
        "default": {"method": default.method, "slope": default.slope, "offset": default.offset},
        "methods": methods,
        "by_hazard": _by_hazard(logits, labels, groups, hazards, found[default.method]),
    }


def _figures(probabilities: Array, labels: Array, groups: Array, *, target: bool) -> dict[str, Any]:
    told = {"brier": brier(probabilities, labels), "ece": ece(probabilities, labels)}
    return {**told, **both_right(probabilities - 0.5, labels, groups, target=target)}


def both_right(margins: Array, labels: Array, groups: Array, *, target: bool) -> dict[str, dict[str, float]]:
    """Sensitivity (share of the label `target` found) and specificity, margins above zero being verdicts of True."""
    return {
        "sensitivity": interval(partial(share_right, of=target), margins, labels, groups),
        "specificity": interval(partial(share_right, of=not target), margins, labels, groups),
    }


def _by_hazard(
    logits: Array, labels: Array, groups: Array, hazards: Sequence[str], default: Array
) -> dict[str, dict[str, Any]]:
    found = {}
    for hazard in sorted(set(hazards)):
        rows = np.flatnonzero(np.array(hazards) == hazard)
        rarest = min(int(labels[rows].sum()), int((~labels[rows]).sum()))
        if len(rows) < _LEAST_ROWS or rarest < _LEAST_OF_A_LABEL or len(set(groups[rows].tolist())) < _LEAST_GROUPS:
            continue
        own = cross_fitted("platt", logits[rows], labels[rows], groups[rows])
        found[hazard] = {
            "n": len(rows),
            "brier_default": brier(default[rows], labels[rows]),
            "brier_own": brier(own, labels[rows]),
            "ece_default": ece(default[rows], labels[rows]),
            "ece_own": ece(own, labels[rows]),
        }
    return found
