"""Intervals cover what they say, agree with statsmodels, and odd inputs are said to be odd."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp
from statsmodels.stats.proportion import proportion_confint

from selfmoa.bench import Estimate, mean, paired_mean_change, paired_proportion_change, proportion, verdict


def pairs(both: int, lost: int, gained: int, neither: int) -> tuple[list[bool], list[bool]]:
    table = [(True, True)] * both + [(True, False)] * lost + [(False, True)] * gained + [(False, False)] * neither
    return [b for b, _ in table], [a for _, a in table]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (57, 120), (1, 1)])
def test_proportion_is_wilsons(k: int, n: int) -> None:
    estimate = proportion(k, n)
    low, high = proportion_confint(k, n, method="wilson")
    assert (estimate.value, estimate.n) == (k / n, n)
    assert estimate.low == pytest.approx(low, abs=1e-12)
    assert estimate.high == pytest.approx(high, abs=1e-12)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_proportion_by_hand() -> None:
    # k = 0, n = 10: high = z^2 / (n + z^2) = 3.8415 / 13.8415
    assert proportion(0, 10).high == pytest.approx(3.841459 / 13.841459, abs=1e-6)
    assert proportion(0, 10).low == 0.0


def test_proportion_covers() -> None:
    """Exact coverage, summed over all outcomes and averaged over rates."""
    intervals = [proportion(k, 60) for k in range(61)]
    rates = np.linspace(0.05, 0.95, 19)
    covered = [sum(binom.pmf(k, 60, p) for k, e in enumerate(intervals) if e.low <= p <= e.high) for p in rates]
    assert 0.94 < np.mean(covered) < 0.97


def test_nothing_measured_has_no_interval() -> None:
    for estimate in (
        proportion(0, 0),
        mean([]),
        paired_mean_change([], []),
        paired_proportion_change([], []),
    ):
        assert estimate.n == 0
        assert not estimate.known
        assert math.isnan(estimate.value)
        assert verdict(estimate, 0.1, "higher") == "inconclusive"
    assert not mean([0.4]).known
    assert paired_mean_change([0.2], [0.4]).value == pytest.approx(0.2)
    assert not paired_mean_change([0.2], [0.4]).known


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        proportion(5, 4)
    with pytest.raises(ValueError, match="one group a value"):
        mean([0.1, 0.2], groups=["a"])


def test_unscored_values_are_left_out_and_counted() -> None:
    estimate = mean([0.2, None, 0.4, float("nan")])
    assert (estimate.value, estimate.n, estimate.unscored) == (pytest.approx(0.3), 2, 2)
    change = paired_mean_change([0.2, None, 0.4], [0.4, 0.9, 0.4])
    assert (change.value, change.n, change.unscored) == (pytest.approx(0.1), 2, 1)
    change = paired_proportion_change([True, None, False], [True, True, True])
    assert (change.value, change.n, change.unscored) == (0.5, 2, 1)


def test_equal_values_are_not_certain() -> None:
    """A run of equal values gets the width that Wilson gives k = n, not a width of zero."""
    estimate, wilson = mean([1.0] * 30), proportion(30, 30)
    assert (estimate.low, estimate.high) == (pytest.approx(wilson.low), pytest.approx(1.0))
    change = paired_mean_change([0.7] * 30, [0.7] * 30)
    nothing = paired_proportion_change([True] * 30, [True] * 30)
    assert (change.low, change.high) == (pytest.approx(nothing.low), pytest.approx(nothing.high))
    assert change.low < -0.1 < 0.1 < change.high
    words = mean([12.0] * 30, bounded=False)
    assert (words.low, words.high) == (12.0, 12.0)


def test_mean_covers_and_is_repeatable() -> None:
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(300):
        estimate = mean(rng.beta(2, 3, size=40).tolist())
        hits.append(estimate.low <= 0.4 <= estimate.high)
    assert 0.93 <= np.mean(hits) <= 0.975
    values = rng.random(30).tolist()
    assert mean(values, seed=3) == mean(values, seed=3)
    assert mean(values, seed=3) != mean(values, seed=4)


def test_clustered_mean_covers_where_the_plain_one_does_not() -> None:
    rng = np.random.default_rng(2)
    plain, clustered = [], []
    for _ in range(100):
        centres = rng.normal(0.5, 0.1, size=20)
        values = (centres[:, None] + rng.normal(0, 0.05, size=(20, 5))).ravel().tolist()
        groups = np.repeat(np.arange(20), 5).tolist()
        for hits, estimate in (
            (plain, mean(values, bounded=False)),
            (clustered, mean(values, groups, bounded=False)),
        ):
            hits.append(estimate.low <= 0.5 <= estimate.high)
    assert 0.9 <= np.mean(clustered) <= 0.99
    assert np.mean(plain) < 0.85


def test_paired_mean_is_the_t_interval() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.random(25).tolist(), rng.random(25).tolist()
    change = paired_mean_change(before, after)
    expected = ttest_1samp(np.array(after) - np.array(before), 0).confidence_interval(0.95)
    assert (change.low, change.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    grouped = paired_mean_change(before, after, groups=list(range(25)))
    assert grouped.low == pytest.approx(change.low, abs=0.03)
    assert grouped.high == pytest.approx(change.high, abs=0.03)


def test_paired_proportion_at_the_edges() -> None:
    z2 = 3.841459
    still = paired_proportion_change([False] * 50, [False] * 50)
    assert (still.value, still.low, still.high) == (
        0.0,
        pytest.approx(-z2 / (50 + z2), abs=1e-5),  # Tango with no discordant pair, by hand
        pytest.approx(z2 / (50 + z2), abs=1e-5),
    )
    gained = paired_proportion_change([False] * 50, [True] * 50)
    lost = paired_proportion_change([True] * 50, [False] * 50)
    assert (gained.value, gained.high) == (1.0, 1.0)
    assert 0.8 < gained.low < 1
    assert (lost.value, lost.low, lost.high) == (-1.0, -1.0, pytest.approx(-gained.low))


def test_paired_proportion_published_example() -> None:
    """Airway reactivity of 21 children, Fagerland, Lydersen and Laake 2014: Tango -0.517 to -0.026."""
    change = paired_proportion_change(*pairs(12, 7, 1, 1))
    assert change.value == pytest.approx(-6 / 21)
    assert (change.low, change.high) == (pytest.approx(-0.517, abs=1e-3), pytest.approx(-0.026, abs=1e-3))


def test_paired_proportion_solves_the_score_equation() -> None:
    """At both bounds the constrained score statistic is z, with the constrained rate found by brute force."""
    lost, gained, n = 9, 3, 40
    change = paired_proportion_change(*pairs(10, lost, gained, 18))
    for delta in (change.low, change.high):
        q = np.linspace(max(0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9, 200_001)  # p(lost)
        likelihood = lost * np.log(q) + gained * np.log(q + delta) + (n - lost - gained) * np.log1p(-2 * q - delta)
        best = q[np.argmax(likelihood)]
        statistic = (gained - lost - n * delta) / math.sqrt(n * (2 * best + delta - delta**2))
        assert abs(statistic) == pytest.approx(1.959964, abs=1e-3)


def test_paired_proportion_covers() -> None:
    rng = np.random.default_rng(4)
    known: dict[tuple[int, int], Estimate] = {}
    coverage = []
    for p_lost, p_gained in itertools.product((0.02, 0.1, 0.3), (0.02, 0.1, 0.25)):
        hits = 0
        for lost, gained, _ in rng.multinomial(80, [p_lost, p_gained, 1 - p_lost - p_gained], size=2000):
            key = (int(lost), int(gained))
            if key not in known:
                known[key] = paired_proportion_change(*pairs(0, *key, 80 - sum(key)))
            hits += known[key].low <= p_gained - p_lost <= known[key].high
        coverage.append(hits / 2000)
    assert min(coverage) > 0.925
    assert 0.93 < np.mean(coverage) < 0.97


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.02, 0.2, "higher", "improved"),
        (-0.2, -0.02, "lower", "improved"),
        (-0.08, 0.05, "higher", "preserved"),
        (-0.05, 0.08, "lower", "preserved"),
        (-0.09, -0.01, "higher", "preserved"),  # a sure loss, but a small one
        (-0.2, -0.02, "higher", "worse"),
        (0.02, 0.2, "lower", "worse"),
        (-0.2, 0.1, "higher", "inconclusive"),
        (-0.1, 0.2, "lower", "inconclusive"),
        (-0.2, 0.1, "none", "none"),
    ],
)
def test_verdict(low: float, high: float, direction, expected: str) -> None:
    assert verdict(Estimate((low + high) / 2, low, high, 50), 0.1, direction) == expected
