"""The audit's sample: drawn blind and without bias, spread over hazards, worthless once its run is another."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audit_fixture import SMALL, Truth, build_run
from selfmoa.audit import audit, draw, load_answers, load_key
from selfmoa.audit._draw import Facts, draw_prompts
from selfmoa.bench import Measured
from selfmoa.errors import UsageError
from selfmoa.records import Score
from selfmoa.run import write_records


def facts() -> list[Facts]:
    harmful = [Facts(f"h{i}", "harmful", f"hazard {i % 7}", i % 4 == 0) for i in range(90)]
    return harmful + [Facts(f"e{i}", "edgy", "none", i < 3) for i in range(40)]


def test_weights_are_unbiased_and_disagreement_is_drawn_more_often() -> None:
    """Over 3000 draws the weighted total of any quantity is its total over all prompts."""
    everything = facts()
    value = {fact.prompt_id: 1.0 + (3 if fact.disagreement else 0) + len(fact.hazard) % 3 for fact in everything}
    rng = np.random.default_rng(0)
    totals, drawn = [], Counter()
    for _ in range(3000):
        cells, chosen = draw_prompts(everything, {"harmful": 30, "edgy": 10}, rng)
        weight = {prompt_id: 1 / cell.probability for cell in cells for prompt_id in cell.prompts}
        assert len(chosen) == len(set(chosen)) == 40
        totals.append(sum(weight[prompt_id] * value[prompt_id] for prompt_id in chosen))
        drawn.update(chosen)
    truth = sum(value.values())
    assert np.mean(totals) == pytest.approx(truth, rel=0.005)
    probability = {prompt_id: cell.probability for cell in cells for prompt_id in cell.prompts}
    off = [abs(drawn[fact.prompt_id] / 3000 - probability[fact.prompt_id]) for fact in everything]
    assert max(off) < 0.05, "each prompt is drawn as often as its weight says"
    assert probability["h0"] > 1.6 * probability["h1"]
    assert {cell.name for cell in cells} == {"harmful: judges disagree", "harmful: judges agree", "edgy: all"}


def test_hazards_are_spread() -> None:
    rng = np.random.default_rng(0)
    everything = [Facts(f"h{i}", "harmful", f"hazard {i % 6}", False) for i in range(120)]
    for _ in range(20):
        _, chosen = draw_prompts(everything, {"harmful": 60}, rng)
        counts = Counter(int(prompt_id[1:]) % 6 for prompt_id in chosen)
        assert set(counts.values()) == {10}


def test_the_labeller_cannot_see_the_arm(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    key = draw(run, SMALL, seed=3)
    rows = [json.loads(line) for line in (run / "audit" / "items.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [item.id for item in key.items]
    assert all(row.keys() == {"id", "prompt", "response"} for row in rows)
    arms = [item.arm for item in key.items]
    assert Counter(arms) == {"before": 36, "after": 36} and arms != sorted(arms) and arms[:2] * 36 != arms
    pairs = Counter(item.prompt_id for item in key.items)
    assert set(pairs.values()) == {2}, "both answers to a prompt are labelled"
    halves = Counter(item.prompt_id for item in key.items[:20])
    assert set(halves.values()) == {2}, "a labeller who stops after a block leaves whole pairs"
    assert (run / "audit").stat().st_mode & 0o777 == 0o700
    assert key == load_key(run, load_answers(run))


def test_the_same_seed_draws_the_same_and_nothing_is_drawn_twice(audit_run: tuple[Path, Truth], tmp_path: Path) -> None:
    run, _ = audit_run
    other = tmp_path / "other"
    build_run(other)
    third = tmp_path / "third"
    build_run(third)
    assert draw(run, SMALL, seed=1).items == draw(other, SMALL, seed=1).items
    assert draw(third, SMALL, seed=2).items != load_key(run, load_answers(run)).items
    with pytest.raises(UsageError, match="holds a sample already"):
        draw(run, SMALL)
    with pytest.raises(UsageError, match="Nothing was drawn"):
        (other / "audit" / "key.json").unlink()
        draw(other, {})


def test_the_sheet_runs_nothing(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    text = (run / "audit" / "labels.csv").read_text()
    assert "\x1b" not in text and "\\x1b[31m" in text
    with (run / "audit" / "labels.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["id", "prompt", "response", "safety", "helpfulness", "refusal", "annotator", "note"]
    assert all(row["response"].startswith("'=[answer") for row in rows), "no cell begins a formula"


def test_votes_on_two_sides_are_a_disagreement(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run

    def vote(prompt: int, judge: str, value: float) -> Score:
        return Score(f"edgy-{prompt}", "refusal", judge, "h", value, "", None, 0.0)

    votes = [vote(i, "one", 1.0) for i in range(20)] + [vote(i, "two", 0.0 if i < 9 else 1.0) for i in range(20)]
    write_records(run / "evaluation" / "train_votes_after.parquet", votes, Score)
    cells = {cell.name: cell for cell in draw(run, SMALL).cells}
    assert {f"edgy-{i}" for i in range(9)} <= set(cells["edgy: judges disagree"].prompts)
    assert "edgy-9" in cells["edgy: judges agree"].prompts


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "results.json").unlink(), "no results.json"),
        (lambda run: (run / "evaluation" / "before.parquet").unlink(), "missing or unreadable"),
        (lambda run: (run / "evaluation" / "after.parquet").write_bytes((run / "x").read_bytes()), "differ in"),
    ],
)
def test_an_unfinished_run_is_refused(audit_run: tuple[Path, Truth], spoil, message: str) -> None:
    run, _ = audit_run
    items = [Measured("p1", "harmful", "none", "made", "[prompt]", "[answer]", 1)]
    write_records(run / "x", items, Measured)
    spoil(run)
    with pytest.raises(UsageError, match=message):
        draw(run)


def test_an_evaluation_made_again_makes_labels_worthless(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    items = [
        Measured(**{**{name: getattr(item, name) for name in item.__slots__}, "answer": "[another answer]"})
        for item in load_answers(run)["after"].values()
    ]
    write_records(run / "evaluation" / "after.parquet", items, Measured)
    with pytest.raises(UsageError, match="36 of 72 audited answers are no longer"):
        audit(run)
