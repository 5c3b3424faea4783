"""Prediction-powered means: equal to the authors' package, unbiased, covering, honest where nothing varies."""

from __future__ import annotations

import numpy as np
import pytest

from selfmoa.bench import Stratum, ppi_mean, proportion, rogan_gladen, sensitivity_band


def data(seed: int, n: int, m: int, *, binary: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels, judge on the labelled, judge on the rest) of a judge that is right four times in five."""
    rng = np.random.default_rng(seed)
    if binary:
        truth = (rng.random(n + m) < 0.3).astype(float)
        judge = np.where(rng.random(n + m) < 0.8, truth, 1 - truth)
    else:
        truth = rng.normal(size=n + m)
        judge = truth + rng.normal(size=n + m) + 0.5
    return truth[:n], judge[:n], judge[n:]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("n", "m"), [(30, 60), (60, 390), (200, 100)])
def test_it_is_the_authors_estimate_and_interval(n: int, m: int, binary: bool) -> None:
    package = pytest.importorskip("ppi_py", reason="ppi-python is a development dependency")
    for seed in range(20):
        labels, scores, rest = data(seed, n, m, binary=binary)
        ours = ppi_mean([Stratum(labels, scores, rest)], lowest=None, small_sample=False).estimate
        low, high = package.ppi_mean_ci(labels, scores, rest, alpha=0.05)
        value = package.ppi_mean_pointestimate(labels, scores, rest)
        assert (ours.value, ours.low, ours.high) == pytest.approx((value.item(), low.item(), high.item()), abs=1e-6)


def test_a_paired_difference_is_the_authors_too() -> None:
    package = pytest.importorskip("ppi_py", reason="ppi-python is a development dependency")
    for seed in range(20):
        before, after = data(seed, 60, 120), data(seed + 100, 60, 120)
        labels, scores, rest = (now - then for then, now in zip(before, after, strict=True))
        ours = ppi_mean([Stratum(labels, scores, rest)], lowest=-1.0, small_sample=False).estimate
        low, high = package.ppi_mean_ci(labels, scores, rest, alpha=0.05)
        assert (ours.low, ours.high) == pytest.approx((low.item(), high.item()), abs=1e-6)


def test_power_by_hand() -> None:
    # cov(labels, scores), dividing by n = 4: mean of products 1/4 - (1/2)(1/2) = 0 -> the judge is of no use
    useless = Stratum(np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 1, 0]))
    found = ppi_mean([useless], small_sample=False)
    assert found.power == 0.0 and found.estimate.value == 0.5
    # a perfect judge, n = m = 4: cov 1/4; variance of the eight scores (four ones) 2/7; 1/4 / (2/7 * (1 + 4/4)) = 7/16
    perfect = Stratum(np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 0, 0]), np.array([1.0, 1, 0, 0]))
    found = ppi_mean([perfect], small_sample=False)
    assert found.power == pytest.approx(7 / 16)
    assert found.estimate.value == 0.5
    # labels - 7/16 scores is 9/16 or 0: variance (9/16)^2 / 4; 7/16 rest: (7/16)^2 / 4; each over 4 items
    error = np.sqrt(((9 / 16) ** 2 / 4 + (7 / 16) ** 2 / 4) / 4)
    assert found.estimate.high == pytest.approx(0.5 + 1.959964 * error, abs=1e-6)


def test_strata_by_hand() -> None:
    # shares 2/3 and 1/3, everything labelled: 2/3 * 1/4 + 1/3 * 1/2 = 1/3
    none = np.zeros(0)
    strata = [
        Stratum(np.array([1.0, 0, 0, 0]), np.zeros(4), none),
        Stratum(np.array([1.0, 0]), np.zeros(2), none),
    ]
    found = ppi_mean(strata, lowest=None)
    assert found.estimate.value == pytest.approx(1 / 3) and found.power == 0.0
    # variances 1/4 and 1/2 (unbiased) over 4 and 2 items; between: 2/3 (1/4 - 1/3)^2 + 1/3 (1/2 - 1/3)^2 over 6 items
    within = 4 / 9 * (1 / 4) / 4 + 1 / 9 * (1 / 2) / 2
    between = (2 / 3 * (1 / 12) ** 2 + 1 / 3 * (1 / 6) ** 2) / 6
    assert found.estimate.high - 1 / 3 == pytest.approx(2.776445 * np.sqrt(within + between), abs=1e-5)  # t, 4 df


def test_with_a_useless_judge_it_is_wilsons_interval() -> None:
    labels = np.array([1.0] * 3 + [0.0] * 57)
    made = ppi_mean([Stratum(labels, np.zeros(60), np.zeros(100))]).estimate
    wilson = proportion(3, 60)
    assert made.value == wilson.value
    # the t quantile and the unbiased variance make it slightly wider
    assert made.low == pytest.approx(wilson.low, abs=0.002) and made.high == pytest.approx(wilson.high, abs=0.006)
    assert made.low <= wilson.low and made.high >= wilson.high


@pytest.mark.parametrize("value", [0.0, 0.6, 1.0])
def test_equal_labels_do_not_give_an_interval_of_width_zero(value: float) -> None:
    made = ppi_mean([Stratum(np.full(60, value), np.full(60, value), np.full(60, value))]).estimate
    assert made.value == pytest.approx(value) and made.high - made.low > 0.05
    assert made.low <= value + 1e-12 and made.high >= value - 1e-12
    change = ppi_mean([Stratum(np.zeros(60), np.zeros(60), np.zeros(60))], lowest=-1.0).estimate
    assert change.low < -0.05 and change.high > 0.05


@pytest.mark.parametrize(("rate", "right"), [(0.5, 0.9), (0.1, 0.7), (0.03, 0.9)])
def test_it_covers_and_is_unbiased(rate: float, right: float) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(600):
        truth = (rng.random(300) < rate).astype(float)
        judge = np.where(rng.random(300) < right, truth, 1 - truth)
        made = ppi_mean([Stratum(truth[:60], judge[:60], judge[60:])]).estimate
        found.append((made.value, made.low <= rate <= made.high))
    value, covered = np.mean(found, axis=0)
    assert abs(value - rate) < 0.01, "the judge's own rate is off by (1 - right) (1 - 2 rate)"
    assert covered > 0.925


def test_strata_drawn_unequally_are_unbiased() -> None:
    """Half of a rare stratum and a tenth of the common one are labelled; the judge errs in the rare one only."""
    rng = np.random.default_rng(2)
    rare, common = (rng.random(60) < 0.7).astype(float), (rng.random(400) < 0.2).astype(float)
    judges = np.zeros(60), common.copy()
    truth = float(np.concatenate([rare, common]).mean())
    found = []
    for _ in range(400):
        strata = []
        for labels, judge, n in ((rare, judges[0], 30), (common, judges[1], 40)):
            order = rng.permutation(len(labels))
            strata.append(Stratum(labels[order[:n]], judge[order[:n]], judge[order[n:]]))
        made = ppi_mean(strata).estimate
        found.append((made.value, made.low <= truth <= made.high))
    value, covered = np.mean(found, axis=0)
    assert abs(value - truth) < 0.012, "tuning leaves a bias of order 1/n; the judge alone is off by 0.09"
    assert covered > 0.93


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(ValueError, match="no stratum"):
        ppi_mean([])
    with pytest.raises(ValueError, match="got 1 labels"):
        ppi_mean([Stratum(np.ones(1), np.ones(1), np.ones(4))])
    with pytest.raises(ValueError, match="3 labels and 2 scores"):
        ppi_mean([Stratum(np.ones(3), np.ones(2), np.ones(4))])


def test_rogan_gladen_by_hand() -> None:
    # true rate 0.4, sensitivity 0.9, specificity 0.8: seen 0.4 * 0.9 + 0.6 * 0.2 = 0.48
    assert rogan_gladen(0.48, 0.9, 0.8) == pytest.approx(0.4)
    assert rogan_gladen(0.1, 0.9, 0.8) == 0.0
    assert rogan_gladen(0.5, 0.5, 0.5) is None


def test_the_band_is_the_range_over_the_grid() -> None:
    # lowest at the best sensitivity and worst specificity: (0.5 + 0.8 - 1) / (1 + 0.8 - 1); highest the other way round
    assert sensitivity_band(0.5, (0.8, 1.0), (0.8, 1.0)) == pytest.approx((0.375, 0.625))
    assert sensitivity_band(0.3, (0.9, 0.9), (0.9, 0.9)) == pytest.approx((0.25, 0.25))
    assert sensitivity_band(0.3, (0.3, 0.9), (0.7, 0.9)) == (0.0, 1.0), "no better than chance"
    low, high = sensitivity_band(0.13, (0.8, 0.9), (0.6, 0.8))
    assert (low, high) == pytest.approx((0.0, 0.13 / 0.8)), "0.13 is below the false alarms alone: specificity up to 1"
    low, high = sensitivity_band(0.97, (0.8, 0.9), (0.9, 1.0))
    assert low == pytest.approx((0.97 - 0.1) / 0.9) and high == 1.0
