"""Diversity and coverage of prompts, worked by hand."""

import math
import random
import time
from pathlib import Path

import numpy as np
import pytest

from selfmoa.assets import HAZARDS
from selfmoa.bench import Measured, distinct, prompt_facts, self_bleu, spread
from selfmoa.records import Attack
from selfmoa.run import write_records

SAME = ["[harmful request about X]"] * 3


def test_identical_prompts_are_not_varied_at_all() -> None:
    facts = prompt_facts(SAME, embed=lambda texts: np.tile([0.6, 0.8], (len(texts), 1)))
    assert facts.self_bleu == pytest.approx(1)
    assert facts.spread == pytest.approx(0)
    assert facts.distinct_1 == 4 / 12 and facts.distinct_2 == 3 / 9
    assert self_bleu(["stop now", "Stop  NOW"]) == pytest.approx(1), "shorter than four words, case and blanks"


def test_self_bleu_by_hand() -> None:
    """'a b c d' against 'a b c x': 3/4, 2/3, 1/2 of the n-grams, and the missing 4-gram counts 0.1 of 1."""
    expected = (3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** (1 / 4)
    assert self_bleu(["a b c d", "a b c x"]) == pytest.approx(expected)
    assert self_bleu(["a b c d", "p q r s", "a b c d"]) > self_bleu(["a b c d", "p q r s", "t u v w"]) == 0


def test_distinct_by_hand() -> None:
    texts = ["a b a", "A b"]
    assert distinct(texts, 1) == 2 / 5
    assert distinct(texts, 2) == 2 / 3, "a b, b a, a b"
    assert math.isnan(distinct(["a"], 2))


def test_spread_by_hand() -> None:
    """Three rows: distances 1, 2 and 1."""
    assert spread(np.array([[1.0, 0], [0, 1], [-1, 0]])) == pytest.approx(4 / 3)
    assert math.isnan(spread(np.ones((1, 1))))


def test_too_few_prompts_say_nothing() -> None:
    facts = prompt_facts([], embed=lambda texts: np.zeros((0, 2)))
    assert (facts.n, facts.sampled) == (0, 0)
    assert all(math.isnan(value) for value in (facts.self_bleu, facts.distinct_1, facts.spread))
    assert math.isnan(prompt_facts(["a b c d", "a b c d"]).spread), "no encoder"


def test_coverage_counts_codes_and_names_those_without_a_prompt() -> None:
    facts = prompt_facts(["p"] * 5, ["hte", "ncr", "hte", "unknown", "a type of its own"])
    assert facts.hazards == {"ncr": 1, "hte": 2}
    assert set(facts.absent) == set(HAZARDS) - {"ncr", "hte"}
    assert facts.uncoded == 2
    nothing = prompt_facts(["p"], ["unknown"])
    assert (nothing.hazards, nothing.absent, nothing.uncoded) == ({}, (), 1), "no code known, nothing said to be absent"


def test_many_prompts_are_sampled_by_seed_and_in_time() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.integers(0, 400, 14)) for _ in range(1000)]
    seen: list[int] = []

    def embed(sample):
        seen.append(len(sample))
        return np.eye(len(sample))

    start = time.process_time()
    facts = prompt_facts(texts, embed=embed, seed=3)
    assert time.process_time() - start < 30
    assert (facts.n, facts.sampled, seen) == (1000, 200, [200])
    assert facts.spread == pytest.approx(1)
    assert facts == prompt_facts(texts, embed=embed, seed=3)
    assert facts.self_bleu != prompt_facts(texts, seed=4).self_bleu


def test_what_results_json_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from selfmoa.steps import _prompts

    monkeypatch.setattr(_prompts.assets, "is_cached", lambda ref: False)
    items = [
        Measured("h", "harmful", "hte", "s", "[harmful request about X]", "a", 1),
        Measured("b", "benign", "x", "s", "[question about Y]", "a", 1),
    ]
    written = [
        Attack(str(i), 2, kind, "fraud", "s", "[seed]", f"[request {i}]", "[wrapped]", False, None, status)
        for i, (kind, status) in enumerate([("attack", "kept"), ("attack", "dropped"), ("benign", "kept")])
    ]
    write_records(tmp_path / "round_02" / "attacks.parquet", written, Attack)
    told = _prompts.told(items, 0, tmp_path)
    assert list(told) == ["harmful", "benign", "attacks of round 2"]
    assert told["harmful"]["hazards"] == {"hte": 1} and told["harmful"]["spread"] is None
    assert told["benign"]["hazards"] == {} and told["benign"]["uncoded"] == 0
    assert told["attacks of round 2"]["n"] == 1 == told["attacks of round 2"]["uncoded"]


def test_self_bleu_is_nltks_with_all_others_as_references() -> None:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    rng, smooth = random.Random(3), SmoothingFunction().method1
    texts = [" ".join(rng.choices("abcdefgh", k=rng.randint(1, 12))) for _ in range(60)] + ["a b c d", "a b c d", "z"]
    words = [text.split() for text in texts]
    expected = []
    for place, own in enumerate(words):
        weights = (1 / min(4, len(own)),) * min(4, len(own))
        others = [*words[:place], *words[place + 1 :]]
        expected.append(sentence_bleu(others, own, weights, smoothing_function=smooth))
    assert self_bleu(texts) == pytest.approx(sum(expected) / len(expected), rel=1e-12)
