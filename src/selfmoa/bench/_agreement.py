"""How far two raters agree: kappa, alpha, and a judge against people; pure functions, no torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from selfmoa.bench._statistics import Estimate, Z

__all__ = ["Agreement", "binary_agreement", "cohen_kappa", "krippendorff_alpha"]

Array = np.ndarray
_NAN = float("nan")
_DRAWS = 2000
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Agreement:
    """A judge's yes/no against people's, each figure with a 95 % interval; NaN where it cannot be measured."""

    n: int
    positives: int
    """Items of which people say yes."""
    kappa: Estimate
    accuracy: Estimate
    sensitivity: Estimate
    """Share of people's yes that the judge calls yes."""
    specificity: Estimate
    """Share of people's no that the judge calls no."""


def cohen_kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    scale: Literal["nominal", "quadratic"] = "nominal",
    weights: Sequence[float] | None = None,
) -> float:
    """Agreement beyond chance of two raters of the same items, at most 1 (Cohen 1960, 1968).

    `quadratic` counts a disagreement by its squared distance; the categories must then be numbers. `weights`
    are those of the items. NaN where both raters know one and the same class only.
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} ratings; expected the same items")
    classes = sorted({*first, *second}, key=lambda item: (isinstance(item, str), item))
    code = {item: number for number, item in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)))
    rows, columns = [code[item] for item in first], [code[item] for item in second]
    np.add.at(table, (rows, columns), 1.0 if weights is None else np.asarray(weights, dtype=float))
    if scale == "quadratic":
        values = np.array(classes, dtype=float)
        cost = (values[:, None] - values[None, :]) ** 2
    else:
        cost = 1.0 - np.eye(len(classes))
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum() if len(first) else table
    chance = float((cost * expected).sum())
    return 1 - float((cost * table).sum()) / chance if chance > 0 else _NAN


def krippendorff_alpha(
    units: Sequence[Sequence[Hashable | None]], *, scale: Literal["nominal", "interval"] = "nominal"
) -> float:
    """Agreement of any number of raters, at most 1 (Krippendorff, "Computing Krippendorff's alpha-reliability", 2011).

    `units` are the items, each with its ratings; None = not rated. Items with one rating say nothing and are left
    out. NaN where nothing can be paired or all ratings are equal.
    """
    rated = [[value for value in unit if value is not None] for unit in units]
    rated = [unit for unit in rated if len(unit) > 1]
    classes = sorted({value for unit in rated for value in unit}, key=lambda item: (isinstance(item, str), item))
    if len(classes) < 2:
        return _NAN
    code = {item: number for number, item in enumerate(classes)}
    counts = np.zeros((len(rated), len(classes)))
    for row, unit in zip(counts, rated, strict=True):
        for value in unit:
            row[code[value]] += 1
    sizes = counts.sum(1)
    scaled = counts / (sizes - 1)[:, None]
    coincidences = scaled.T @ counts - np.diag(scaled.sum(0))
    if scale == "interval":
        values = np.array(classes, dtype=float)
        distance = (values[:, None] - values[None, :]) ** 2
    else:
        distance = 1.0 - np.eye(len(classes))
    totals = coincidences.sum(0)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    return 1 - float((coincidences * distance).sum()) / float((expected * distance).sum())


def binary_agreement(
    truth: Sequence[bool],
    verdicts: Sequence[bool],
    *,
    weights: Sequence[float] | None = None,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Agreement:
    """A judge's verdicts against people's.

    `weights` (one over the chance to be drawn) undo an unequal draw; intervals of rates are Wilson's at the effective
    n: sum(w)^2 / sum(w^2), over what `groups` (e.g. prompts) whose items err together add to the variance. Kappa's is
    a bootstrap over groups, or over items.
    """
    n = len(truth)
    if n != len(verdicts):
        raise ValueError(f"got {n} labels and {len(verdicts)} verdicts; expected the same items")
    yes, said = np.array(truth, dtype=bool), np.array(verdicts, dtype=bool)
    weight = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    everything, names = np.ones(n, dtype=bool), list(range(n)) if groups is None else list(groups)
    codes = np.array([*map({name: i for i, name in enumerate(dict.fromkeys(names))}.__getitem__, names)], dtype=int)
    return Agreement(
        n,
        int(yes.sum()),
        _kappa(yes, said, weight, codes, seed),
        _rate(yes == said, weight, everything, codes),
        _rate(said, weight, yes, codes),
        _rate(~said, weight, ~yes, codes),
    )


def _rate(hit: Array, weight: Array, among: Array, codes: Array) -> Estimate:
    n = int(among.sum())
    if n == 0:
        return Estimate(_NAN, _NAN, _NAN, 0)
    chosen = weight[among]
    value = float(chosen @ hit[among] / chosen.sum())
    effective = float(chosen.sum() ** 2 / (chosen**2).sum()) / _inflation(hit[among] - value, chosen, codes[among])
    middle = (value + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    half = Z / (1 + Z**2 / effective) * math.sqrt(value * (1 - value) / effective + Z**2 / (4 * effective**2))
    return Estimate(value, max(0.0, middle - half), min(1.0, middle + half), n)


def _inflation(errors: Array, weight: Array, codes: Array) -> float:
    """Variance of a weighted mean with whole groups as units over that with items as units, at least 1."""
    apart = float((weight**2 * errors**2).sum())
    if apart < _LEAST:  # all alike: as if each group said one thing
        return len(codes) / len(np.unique(codes))
    return max(1.0, float((np.bincount(codes, weights=weight * errors) ** 2).sum()) / apart)


def _kappa(yes: Array, said: Array, weight: Array, codes: Array, seed: int) -> Estimate:
    cells = np.zeros((len(yes), 4))
    cells[np.arange(len(yes)), 2 * yes.astype(int) + said] = weight
    clusters = int(codes.max()) + 1 if len(codes) else 0
    sums = np.zeros((clusters, 4))
    np.add.at(sums, codes, cells)
    value = float(_kappas(cells.sum(0)[None, :])[0]) if len(yes) else _NAN
    if clusters < 2 or math.isnan(value):
        return Estimate(value, _NAN, _NAN, len(yes))
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=_DRAWS)
    found = _kappas(drawn @ sums)
    low, high = np.nanquantile(found, [0.025, 0.975])
    if high - low < _LEAST:  # every draw is alike: they tell nothing of what others would say
        return Estimate(value, _NAN, _NAN, len(yes))
    return Estimate(value, float(low), float(high), len(yes))


def _kappas(cells: Array) -> Array:
    """Cohen's kappa of each row of (no/no, no/yes, yes/no, yes/yes) sums; NaN where chance explains all."""
    shares = cells / cells.sum(1, keepdims=True)
    observed = shares[:, 0] + shares[:, 3]
    yes, said = shares[:, 2] + shares[:, 3], shares[:, 1] + shares[:, 3]
    chance = yes * said + (1 - yes) * (1 - said)
    kappas: Array = np.full(len(cells), _NAN)
    np.divide(observed - chance, 1 - chance, out=kappas, where=chance < 1 - 1e-12)
    return kappas
