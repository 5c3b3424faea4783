"""Tests beside the intervals, worked by hand and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from selfmoa.bench import detectable_change, equivalence_p, holm, mcnemar_p, missed


def test_mcnemar_by_hand() -> None:
    """6 gained, 1 lost: two-sided binomial p = 2 * (C(7,0) + C(7,1)) / 2^7 = 16 / 128."""
    before = [False] * 6 + [True] + [False] * 3 + [None]
    after = [True] * 6 + [False] + [False] * 3 + [True]
    assert mcnemar_p(before, after) == pytest.approx(16 / 128)
    assert mcnemar_p([True, False], [True, False]) == 1.0


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.04: times 3, 2, 1, never falling."""
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def test_equivalence_says_what_an_interval_says() -> None:
    """TOST at 5 % is the 90 % interval within the tolerance."""
    from scipy.stats import t

    rng = np.random.default_rng(1)
    before = rng.uniform(size=80)
    after = before + rng.normal(0.02, 0.1, size=80)
    difference = after - before
    half = t.ppf(0.95, 79) * difference.std(ddof=1) / math.sqrt(80)
    edge = abs(difference.mean()) + half
    assert (equivalence_p(before.tolist(), after.tolist(), edge + 1e-6) or 1) < 0.05
    assert (equivalence_p(before.tolist(), after.tolist(), edge - 1e-6) or 0) > 0.05


def test_equivalence_without_spread_or_without_pairs() -> None:
    assert equivalence_p([0.5, 0.5], [0.5, 0.5], 0.1) is None, "two equal pairs show nothing"
    assert equivalence_p([0.5, None], [None, 0.5], 0.1) is None


def test_a_detectable_change_is_seen_four_times_in_five() -> None:
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(2)
    small = rng.normal(0, 0.05, size=100)
    assert detectable_change([0.0] * 100, small.tolist()) == pytest.approx(2.80 * small.std(ddof=1) / 10, rel=0.01)
    noise = rng.normal(0, 0.3, size=100)
    size = detectable_change([0.0] * 100, noise.tolist())
    assert size is not None and size == pytest.approx(2.80 * noise.std(ddof=1) / 10, rel=0.01)
    seen = [ttest_1samp(rng.normal(size, noise.std(ddof=1), size=100), 0).pvalue < 0.05 for _ in range(1000)]
    assert 0.76 < np.mean(seen) < 0.84


def test_nothing_changed_is_no_proof_that_nothing_can() -> None:
    assert (detectable_change([0.0] * 100, [0.0] * 100) or 0) > 0.02
    assert detectable_change([0.0], [0.0]) is None


def test_what_may_have_been_missed_stands_beside_a_change_that_was_not_seen() -> None:
    assert missed(-0.05, 0.02, 0.1234, "share") == "a change below 12 points could well be missed"
    assert missed(0.0, 0.02, 0.1234, "score") == "a change below 0.12 could well be missed"
    assert missed(0.01, 0.02, 0.1234, "share") == missed(-0.02, -0.01, 0.1234, "share") == ""
    assert missed(-0.05, 0.02, None, "share") == "", "an older result does not know"
    assert missed(None, None, 0.1234, "share"), "no interval, nothing seen"
