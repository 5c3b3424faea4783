"""Juries: how votes become one value, how far judges part, who is no independent judge."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from selfmoa.judge import combine, disagreement, kin, kin_notes
from selfmoa.judge._dawid_skene import dawid_skene
from selfmoa.recipe import JudgeRef, Judges, JudgeSide
from selfmoa.records import Score

NAN = float("nan")


def votes(*values: float | None) -> list[Score]:
    return [Score("r", "safety", f"j{i}", "h", value, "", None, 0.0) for i, value in enumerate(values)]


def test_median_and_worst() -> None:
    asked = {"a": votes(0.1, 0.9, 0.2), "b": votes(None, 0.7, 0.6), "c": votes(None, None, None)}
    assert combine(asked) == {"a": 0.2, "b": pytest.approx(0.65), "c": None}
    assert combine(asked, "worst") == {"a": 0.1, "b": 0.6, "c": None}


def simulated(n: int, rates: list[tuple[float, float]], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(truth, votes) of judges with these (sensitivity, specificity)."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    chance = np.array([np.where(truth, sensitivity, 1 - specificity) for sensitivity, specificity in rates]).T
    return truth, (rng.random(chance.shape) < chance).astype(float)


def test_dawid_skene_finds_the_good_judge_without_a_label() -> None:
    truth, found = simulated(600, [(0.95, 0.95), (0.6, 0.6), (0.6, 0.6), (0.6, 0.6)])
    posterior = dawid_skene(found, ["a", "b", "c", "d"])
    assert ((posterior >= 0.5) == truth).mean() > 0.93
    assert ((found.mean(axis=1) >= 0.5) == truth).mean() < 0.85, "the majority does worse"


def test_one_kin_speaks_with_one_voice() -> None:
    """Three copies of a bad judge outvote two good ones, unless it is known that they are one."""
    truth, found = simulated(600, [(0.9, 0.9), (0.9, 0.9), (0.65, 0.65)])
    copied = np.hstack([found, found[:, 2:], found[:, 2:]])
    told = dawid_skene(copied, ["a", "b", "c", "c", "c"])
    fooled = dawid_skene(copied, ["a", "b", "c", "d", "e"])
    assert roc_auc_score(truth, told) > 0.93
    assert roc_auc_score(truth, fooled) < 0.85


def test_dawid_skene_leaves_out_who_abstained() -> None:
    _, found = simulated(50, [(0.9, 0.9)] * 3)
    found[0] = NAN
    found[1, 0] = NAN
    posterior = dawid_skene(found, ["a", "b", "c"])
    assert np.isnan(posterior[0]) and not np.isnan(posterior[1:]).any()


def test_dawid_skene_needs_three_judges() -> None:
    with pytest.raises(ValueError, match="at least 3 judges, got 2"):
        dawid_skene(np.ones((4, 2)), ["a", "b"])


def test_dawid_skene_by_name() -> None:
    truth, found = simulated(200, [(0.9, 0.9)] * 3)
    values = combine({i: votes(*row) for i, row in enumerate(found)}, "dawid_skene")
    assert np.mean([(values[i] or 0) >= 0.5 for i in values] == truth) > 0.9


def test_disagreement_by_hand() -> None:
    (row,) = disagreement({0: votes(0.9, 0.8), 1: votes(0.2, 0.7), 2: votes(0.1, 0.1), 3: votes(0.6, None)})
    assert row["judges"] == ["j0", "j1"] and row["n"] == 3
    assert row["opposite"] == pytest.approx(1 / 3)
    assert row["correlation"] == pytest.approx(np.corrcoef([0.9, 0.2, 0.1], [0.8, 0.7, 0.1])[0, 1])


def test_disagreement_where_a_judge_never_varies() -> None:
    (row,) = disagreement({0: votes(0.9, 0.8), 1: votes(0.9, 0.2)})
    assert row["correlation"] is None and row["opposite"] == 0.5
    assert disagreement({0: votes(0.9)}) == []


def test_kin_of_embedded_and_outside_judges() -> None:
    assert kin(JudgeRef(name="minilm")) == kin(JudgeRef(name="minilm-watch"))
    assert kin(JudgeRef(name="tfidf")) == "tfidf"
    assert kin(JudgeRef(name="guard", model="path:/x")) == "path:/x"
    preset = kin(JudgeRef(name="llama-guard-3-8b"))
    assert preset.startswith("hub:") and "@" not in preset
    assert kin(JudgeRef(name="guard", model=f"{preset}@{'0' * 40}")) == preset, "another revision is the same model"
    asked = {"model": "m", "base_url": "http://localhost:1/v1"}
    assert kin(JudgeRef(name="rubric-harm", options=asked)) == kin(JudgeRef(name="rubric", options=asked))


def test_notes_name_what_is_shared() -> None:
    notes = "; ".join(kin_notes(Judges()))
    assert "lm-state (training) reads the target's own base" in notes
    assert "minilm-watch (watch) reads the same model as minilm" in notes
    train = JudgeSide(safety=["tfidf"], helpfulness=["relevance"], refusal="refusal-rules", coherence="coherence")
    assert kin_notes(Judges(train=train, watch=())) == []
    twice = train.model_copy(
        update={"safety": (JudgeRef(name="guard", model="path:/x"), JudgeRef(name="llama-guard-3-1b", model="path:/x"))}
    )
    assert "their votes are not two" in kin_notes(Judges(train=twice, watch=()))[0]
