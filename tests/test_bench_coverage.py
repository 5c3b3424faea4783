"""Every interval that is printed covers what it says, whole clusters included; each function is named here."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from scipy.stats import norm

import selfmoa.bench
from selfmoa.bench import binary_agreement, mean, paired_mean_change
from selfmoa.judge._measure import auc, interval

SIMULATED = {
    "proportion": "test_bench_statistics.py: exact",
    "rate": "is proportion",
    "mean": "test_bench_statistics.py: plain and clustered; here: ties of a win rate",
    "paired_proportion_change": "test_bench_statistics.py: Tango",
    "paired_mean_change": "here: plain and clustered",
    "binary_agreement": "here: rates and kappa, clustered",
    "pool": "test_compare_pool.py: seeds, shared prompts",
    "ppi_mean": "test_bench_ppi.py, test_audit.py",
}


def test_no_interval_is_without_a_simulation() -> None:
    """Functions of the room that give an estimate; `selfmoa.judge` has one of its own (`interval`), simulated below."""
    kinds = ("Estimate", "Corrected", "Pooled", "Agreement")
    functions = {name: getattr(selfmoa.bench, name) for name in selfmoa.bench.__all__}
    found = {
        name
        for name, value in functions.items()
        if inspect.isfunction(value) and str(inspect.signature(value).return_annotation) in kinds
    }
    assert found - {"read_estimate"} == set(SIMULATED)  # it reads what was computed


def held(low: float, high: float, truth: float) -> bool:
    return low <= truth <= high


def test_a_paired_mean_change_covers() -> None:
    """Scores in [0, 1], most of them unchanged: differences far from normal. True change 0.3 * 0.1."""
    rng, hits = np.random.default_rng(11), []
    for _ in range(1000):
        before = rng.uniform(0.2, 0.6, size=60)
        after = before + (rng.random(60) < 0.3) * rng.uniform(-0.1, 0.3, size=60)
        found = paired_mean_change(before.tolist(), after.tolist())
        hits.append(held(found.low, found.high, 0.03))
    assert 0.92 < np.mean(hits) < 0.975


def test_a_clustered_paired_change_covers_where_the_plain_one_does_not() -> None:
    """Twenty-five families of five prompts that move together."""
    rng, groups = np.random.default_rng(12), np.repeat(np.arange(25), 5).tolist()
    plain, clustered = [], []
    for _ in range(150):
        before = rng.uniform(0.2, 0.6, size=125)
        moved = np.repeat(rng.normal(0.05, 0.1, size=25), 5) + rng.normal(0, 0.03, size=125)
        after = (before + moved).tolist()
        for hits, chosen in ((plain, None), (clustered, groups)):
            found = paired_mean_change(before.tolist(), after, chosen)
            hits.append(held(found.low, found.high, 0.05))
    assert np.mean(clustered) > 0.9 and np.mean(plain) < 0.75


def test_a_win_rate_with_ties_covers() -> None:
    rng, hits = np.random.default_rng(13), []
    for _ in range(120):
        found = mean(rng.choice([0.0, 0.5, 1.0], p=[0.2, 0.5, 0.3], size=60).tolist())
        hits.append(held(found.low, found.high, 0.55))
    assert np.mean(hits) > 0.92


@pytest.mark.parametrize("alike", [1, 3])
def test_a_judge_against_people_covers(alike: int) -> None:
    """Answers of 60 prompts, `alike` a prompt on which judge and people say the same; half of the yes were drawn.

    People say yes to 40 %; the judge is right on 90 % of the yes and 80 % of the no.
    """
    rng = np.random.default_rng(14)
    truth = {"accuracy": 0.84, "sensitivity": 0.9, "specificity": 0.8, "kappa": _true_kappa(0.4, 0.9, 0.8)}
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    for _ in range(150):
        yes = rng.random(200) < 0.4
        said = np.where(yes, rng.random(200) < 0.9, rng.random(200) >= 0.8)
        drawn = np.flatnonzero(rng.random(200) < np.where(yes, 0.5, 1.0))[:80]
        weights, groups = np.where(yes[drawn], 2.0, 1.0), np.arange(len(drawn))
        columns = [np.repeat(column, alike).tolist() for column in (yes[drawn], said[drawn], weights, groups)]
        found = binary_agreement(columns[0], columns[1], weights=columns[2], groups=columns[3])
        for name, value in truth.items():
            figure = getattr(found, name)
            hits[name].append(held(figure.low, figure.high, value))
    assert min(map(np.mean, hits.values())) > 0.9, {name: float(np.mean(row)) for name, row in hits.items()}


def _true_kappa(yes: float, sensitivity: float, specificity: float) -> float:
    said = yes * sensitivity + (1 - yes) * (1 - specificity)
    agreed = yes * sensitivity + (1 - yes) * specificity
    chance = yes * said + (1 - yes) * (1 - said)
    return (agreed - chance) / (1 - chance)


def test_a_judges_auc_covers_whole_objectives() -> None:
    """Forty objectives of five answers; the judge has an opinion of each objective too. True AUC by the normal law."""
    rng, groups = np.random.default_rng(15), np.repeat(np.arange(40), 5)
    truth = float(norm.cdf(1.5 / math.sqrt(2 * (0.5**2 + 1.0))))
    hits, alone = [], []
    for _ in range(120):
        labels = rng.random(200) < 0.5
        logits = 1.5 * labels + np.repeat(rng.normal(0, 0.5, 40), 5) + rng.normal(size=200)
        found = interval(auc, logits, labels, groups, draws=300)
        hits.append(held(found["low"], found["high"], truth))
        alone.append(found["high"] - found["low"])
    assert np.mean(hits) > 0.9 and np.mean(alone) < 0.2
