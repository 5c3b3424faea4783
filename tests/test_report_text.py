"""Figures and hostile text as words."""

from __future__ import annotations

import pytest

from selfmoa.report._results import tone, weakness
from selfmoa.report._text import change, duration, estimate, points, visible


def test_visible_escapes_what_steers_and_keeps_what_reads() -> None:
    assert visible("a\x1b[2J\x00\r\x9b\u202eb\u2028\U000e0041\ud800") == (
        "a\\x1b[2J\\x00\\x0d\\x9b\\u202eb\\u2028\\U000e0041\\ud800"
    )
    kept = "line\n\ttab é 漢字 👩\u200d💻 <b>"
    assert visible(kept) == kept


def test_estimates() -> None:
    interval = {"value": 0.314, "low": 0.24, "high": 0.39}
    assert estimate(interval) == "31 % [24, 39]"
    assert estimate(interval, "score") == "0.31 [0.24, 0.39]"
    assert estimate({"value": 0.5, "low": None, "high": None}) == "50 %"
    assert estimate({"value": float("nan")}) == estimate(None) == "–"


def test_changes_have_a_true_minus_and_their_sign_where_they_round_to_zero() -> None:
    assert change({"value": -0.12, "low": -0.2, "high": -0.004}) == "−12 points [−20, −0]"
    assert change({"value": 0.05, "low": -0.01, "high": 0.11}, "score") == "+0.05 [−0.01, +0.11]"
    assert points(0.001) == "+0" and points(0.0) == points(-0.0) == "0" and points(2.34, "words") == "+2.3"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.2, "4.2 s"), (48, "48 s"), (125, "2 min 5 s"), (7810, "2 h 10 min"), (None, "–")],
)
def test_duration(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_unknown_verdicts_are_never_good() -> None:
    assert tone("improved") == "good" and tone("worse") == "bad" and tone("preserved") == "held"
    assert tone("not improved") == tone("") == tone(None) == "neutral"


def test_weakness_names_its_reason() -> None:
    assert "counting words" in weakness({"auc": {"value": 0.79}, "baseline_auc": 0.87})
    assert "21 of 100" in weakness({"auc": 0.79, "baseline_auc": 0.7})
    assert "opening is swapped" in weakness({"auc": 0.95, "swapped_accuracy": 0.5})
    assert weakness({"auc": 0.93, "baseline_auc": 0.9, "swapped_accuracy": 0.8}) == ""
