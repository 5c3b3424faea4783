"""Kappa as scikit-learn has it, alpha as published, a judge against people by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from selfmoa.bench import binary_agreement, cohen_kappa, krippendorff_alpha, proportion

# Krippendorff's example of four observers and twelve units with values missing (2011, part D)
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = list(zip(*OBSERVERS, strict=True))


def test_alpha_of_the_published_example() -> None:
    assert krippendorff_alpha(UNITS) == pytest.approx(0.743, abs=0.0005)
    assert krippendorff_alpha(UNITS, scale="interval") == pytest.approx(0.849, abs=0.0005)


def test_alpha_by_hand() -> None:
    # two raters, units (a,a) (a,b) (b,b): coincidences aa 2, bb 2, ab and ba 1 each; totals 3 and 3 of 6
    # disagreement seen 2, expected 2 * 3 * 3 / 5 = 18/5; alpha = 1 - 2 / (18/5) = 4/9
    assert krippendorff_alpha([("a", "a"), ("a", "b"), ("b", "b")]) == pytest.approx(4 / 9)


def test_alpha_where_nothing_can_be_said() -> None:
    assert math.isnan(krippendorff_alpha([]))
    assert math.isnan(krippendorff_alpha([("a", None), ("b", None)])), "no unit has two ratings"
    assert math.isnan(krippendorff_alpha([("a", "a"), ("a", "a")])), "one class only"
    assert krippendorff_alpha([(1, 1), (2, 2)], scale="interval") == 1.0


def test_kappa_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first = rng.integers(6, size=80)
        second = np.where(rng.random(80) < 0.5, first, rng.integers(6, size=80))
        weight = rng.uniform(0.5, 3, size=80)
        pair = first.tolist(), second.tolist()
        assert cohen_kappa(*pair) == pytest.approx(cohen_kappa_score(first, second))
        assert cohen_kappa(*pair, scale="quadratic") == pytest.approx(
            cohen_kappa_score(first, second, weights="quadratic", labels=range(6))
        )
        assert cohen_kappa(*pair, weights=weight.tolist()) == pytest.approx(
            cohen_kappa_score(first, second, sample_weight=weight)
        )


def test_kappa_takes_words_and_knows_its_limits() -> None:
    assert cohen_kappa(["full", "partial"], ["full", "partial"]) == 1.0
    assert math.isnan(cohen_kappa(["full", "full"], ["full", "full"]))
    assert math.isnan(cohen_kappa([], []))
    with pytest.raises(ValueError, match="2 and 1 ratings"):
        cohen_kappa([1, 2], [1])


def test_a_judge_by_hand() -> None:
    # people: 20 yes, 30 no; the judge finds 15 of the 20 and calls 6 of the 30
    truth = [True] * 20 + [False] * 30
    said = [True] * 15 + [False] * 5 + [True] * 6 + [False] * 24
    found = binary_agreement(truth, said)
    assert (found.n, found.positives) == (50, 20)
    assert found.sensitivity.value == 0.75 and found.specificity.value == 0.8 and found.accuracy.value == 39 / 50
    for estimate, k, n in ((found.sensitivity, 15, 20), (found.specificity, 24, 30), (found.accuracy, 39, 50)):
        wilson = proportion(k, n)
        assert (estimate.low, estimate.high) == pytest.approx((wilson.low, wilson.high))
    # by chance: 20/50 * 21/50 + 30/50 * 29/50 = 0.516
    assert found.kappa.value == pytest.approx((0.78 - 0.516) / (1 - 0.516))
    assert found.kappa.value == pytest.approx(cohen_kappa_score(truth, said))
    assert 0.2 < found.kappa.low < found.kappa.value < found.kappa.high < 0.85


def test_weights_undo_an_unequal_draw() -> None:
    """Ten of 100 agreeing items and ten of ten disagreeing ones: the weighted accuracy is 100/110, not 1/2."""
    truth, said = [True, False] * 10, [True, False] * 5 + [False, True] * 5
    found = binary_agreement(truth, said, weights=[10.0] * 10 + [1.0] * 10)
    assert found.accuracy.value == pytest.approx(100 / 110)
    assert found.accuracy.low < proportion(100, 110).low, "20 items, not 110, carry the interval"
    assert found.kappa.value == pytest.approx(cohen_kappa_score(truth, said, sample_weight=[10.0] * 10 + [1.0] * 10))


def test_one_class_has_a_rate_and_no_kappa() -> None:
    found = binary_agreement([False] * 30, [False] * 28 + [True] * 2)
    assert found.positives == 0 and found.sensitivity.n == 0 and math.isnan(found.sensitivity.value)
    assert found.specificity.value == pytest.approx(28 / 30)
    assert found.kappa.value == 0.0
    assert not binary_agreement([False] * 30, [False] * 30).kappa.known
    assert not binary_agreement([True, False] * 4, [True, False] * 4).kappa.known, "8 of 8 are no certainty"
    assert binary_agreement([], []).n == 0


def test_kappas_interval_holds_the_prompts_together() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random(40) < 0.5).tolist()
    said = [value if rng.random() < 0.8 else not value for value in truth]
    alone = binary_agreement(truth, said).kappa
    doubled = binary_agreement(truth * 2, said * 2, groups=[*range(40), *range(40)]).kappa
    assert doubled.value == pytest.approx(alone.value)
    assert doubled.high - doubled.low == pytest.approx(alone.high - alone.low, rel=0.15)
