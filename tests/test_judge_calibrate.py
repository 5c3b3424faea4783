"""Calibration maps and their figures, worked by hand and on logits whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from selfmoa.judge._calibrate import Calibration, brier, calibration_report, choose, cross_fitted, ece, fit
from selfmoa.judge._head import probability
from selfmoa.judge._human import agreement, hazards
from selfmoa.judge._measure import kappa, length_correlation, share_right


def world(slope: float, offset: float, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that say logistic(x) where the truth is logistic(slope * x + offset)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=n) * 2
    labels = rng.random(n) < probability(slope * logits + offset)
    return logits, labels, np.arange(n) // 4


def test_brier_and_ece_by_hand() -> None:
    said = np.array([0.1, 0.2, 0.8, 0.9])
    so = np.array([False, True, True, True])
    # squares: 0.01, 0.64, 0.04, 0.01
    assert brier(said, so) == pytest.approx(0.70 / 4)
    # two bins of two: said 0.15, is 0.5; said 0.85, is 1.0
    assert ece(said, so, bins=2) == pytest.approx((0.35 * 2 + 0.15 * 2) / 4)
    assert ece(np.array([0.0, 1.0]), np.array([False, True])) == 0.0


def test_rates_and_kappa_by_hand() -> None:
    logits = np.array([1.0, 1.0, -1.0, -1.0, 1.0])
    labels = np.array([True, True, True, False, False])
    assert share_right(logits, labels, of=True) == pytest.approx(2 / 3)
    assert share_right(logits, labels, of=False) == pytest.approx(1 / 2)
    # both say 3 of 5 are safe: they agree on 3/5, by chance on 0.36 + 0.16 = 0.52
    assert kappa(logits, labels) == pytest.approx((0.6 - 0.52) / 0.48)
    assert np.isnan(kappa(np.ones(3), np.ones(3, dtype=bool)))
    assert length_correlation(np.array([0.1, 0.2, 0.9]), np.array([30, 20, 10])) == pytest.approx(-1.0)
    assert np.isnan(length_correlation(np.ones(3), np.arange(3)))


def test_each_map_finds_what_was_done_to_the_logits() -> None:
    logits, labels, _ = world(0.5, 0.0)
    assert fit("temperature", logits, labels).slope == pytest.approx(0.5, abs=0.06)
    logits, labels, _ = world(0.5, 1.0)
    platt = fit("platt", logits, labels)
    assert (platt.slope, platt.offset) == (pytest.approx(0.5, abs=0.08), pytest.approx(1.0, abs=0.12))
    isotonic = fit("isotonic", logits, labels)
    values = isotonic.probability(np.linspace(-9, 9, 50))
    assert (np.diff(values) >= 0).all() and values.min() >= 0.01 and values.max() <= 0.99
    assert brier(isotonic.probability(logits), labels) < brier(Calibration().probability(logits), labels)


def test_the_default_is_chosen_by_held_out_brier() -> None:
    assert choose(*world(0.5, 1.5)).method == "platt"
    # where there is no offset to find, Platt's second parameter costs more than it gives
    logits, labels, groups = world(0.5, 0.0)
    scores = {m: brier(cross_fitted(m, logits, labels, groups), labels) for m in ("temperature", "platt")}
    assert choose(logits, labels, groups).method == min(scores, key=lambda method: scores[method])


def test_cross_fitted_probabilities_do_not_know_their_own_label() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=200), rng.random(200) < 0.5
    held_out = cross_fitted("isotonic", logits, labels, np.arange(200))
    own = fit("isotonic", logits, labels).probability(logits)
    assert brier(own, labels) < brier(held_out, labels)
    assert brier(held_out, labels) > 0.24, "noise cannot be calibrated below a coin"


def test_the_report_stands_before_and_after_and_by_hazard() -> None:
    logits, labels, groups = world(0.4, 0.8, n=400)
    found = calibration_report(
        logits, labels, groups, target=False, hazards=["many" if number < 380 else "few" for number in range(400)]
    )
    before, after = found["methods"]["none"], found["methods"][found["default"]["method"]]
    assert after["brier"] < before["brier"] and after["ece"] < before["ece"]
    assert set(found["methods"]) == {"none", "temperature", "platt", "isotonic"}
    assert before["sensitivity"]["value"] == pytest.approx(share_right(logits, labels, of=False))
    assert before["specificity"]["low"] <= before["specificity"]["value"] <= before["specificity"]["high"]
    assert set(found["by_hazard"]) == {"many"}, "twenty rows carry no map of their own"


def test_agreement_among_raters_by_hand() -> None:
    scores = [[1.0, 1.0, 1.0], [0.0, 0.0, 0.5], [0.0, 0.25, 0.0], [1.0, 0.75, 0.0]]
    table = [{"kind": "harm", "human_scores": row, "objective": "o", "hazard": "h"} for row in scores]
    table.append({"kind": "harm", "human_scores": [1.0], "objective": "o", "hazard": "g"})
    table.append({"kind": "refusal", "human_scores": [1.0, 1.0, 1.0], "objective": "p", "hazard": "none"})
    found = agreement(table)
    assert found is not None
    # at 0.5: 1 1 1 / 0 0 1 / 0 0 0 / 1 1 0. Raters 1 and 2 agree on all (kappa 1); with 3 on two of four,
    # where each calls half harmful: chance 0.5, kappa 0
    assert (found["n"], found["raters"]) == (4, 3)
    assert found["agreement"] == pytest.approx((1.0 + 0.5 + 0.5) / 3)
    assert found["kappa"] == pytest.approx(1 / 3)
    assert agreement(table[4:]) is None
    assert hazards(table) == {"o": "g"}
