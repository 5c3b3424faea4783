"""The audit: a blind and unbiased sample, labelling in the terminal, figures that people correct."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audit_fixture import Truth, build_run, label_all
from selfmoa.audit import (
    AuditResult,
    audit,
    draw,
    label_files,
    label_items,
    load_answers,
    load_key,
    read_audit,
    read_labels,
    report_rows,
)
from selfmoa.audit._draw import Facts, draw_prompts
from selfmoa.bench import DEFINITIONS, Measured
from selfmoa.errors import UsageError
from selfmoa.records import Score
from selfmoa.report import write_report
from selfmoa.run import write_records

SMALL = {"harmful": 12, "edgy": 12, "benign": 12}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Truth]:
    run = tmp_path / "run"
    return run, build_run(run)


def population(truth: Truth, run: Path, figure: str, arm: str) -> float:
    """The figure over all answers if people had labelled every one."""
    from selfmoa.audit._human import as_measured

    definition = next(one for one in DEFINITIONS if one.name == figure)
    items = [as_measured(item, truth[arm, key]) for key, item in load_answers(run)[arm].items()]
    values = [definition.value(item) for item in definition.members(items)]
    return float(np.mean([value for value in values if value is not None]))


def figures(result: AuditResult) -> dict:
    return {figure.name: figure for figure in result.figures}


# -- the draw --------------------------------------------------------------------------------------------


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


def test_the_labeller_cannot_see_the_arm(made: tuple[Path, Truth]) -> None:
    run, _ = made
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


def test_the_same_seed_draws_the_same_and_nothing_is_drawn_twice(made: tuple[Path, Truth], tmp_path: Path) -> None:
    run, _ = made
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


def test_the_sheet_runs_nothing(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    text = (run / "audit" / "labels.csv").read_text()
    assert "\x1b" not in text and "\\x1b[31m" in text
    with (run / "audit" / "labels.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["id", "prompt", "response", "safety", "helpfulness", "refusal", "annotator", "note"]
    assert all(row["response"].startswith("'=[answer") for row in rows), "no cell begins a formula"


def test_votes_on_two_sides_are_a_disagreement(made: tuple[Path, Truth]) -> None:
    run, _ = made

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
def test_an_unfinished_run_is_refused(made: tuple[Path, Truth], spoil, message: str) -> None:
    run, _ = made
    items = [Measured("p1", "harmful", "none", "made", "[prompt]", "[answer]", 1)]
    write_records(run / "x", items, Measured)
    spoil(run)
    with pytest.raises(UsageError, match=message):
        draw(run)


def test_an_evaluation_made_again_makes_labels_worthless(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    items = [
        Measured(**{**{name: getattr(item, name) for name in item.__slots__}, "answer": "[another answer]"})
        for item in load_answers(run)["after"].values()
    ]
    write_records(run / "evaluation" / "after.parquet", items, Measured)
    with pytest.raises(UsageError, match="36 of 72 audited answers are no longer"):
        audit(run)


# -- labelling in the terminal ---------------------------------------------------------------------------


def script(*typed: str):
    left = list(typed)

    def ask(question: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def test_labelling_saves_each_item_and_goes_on(made: tuple[Path, Truth]) -> None:
    run, _ = made
    key = draw(run, SMALL)
    shown: list[str] = []
    # two items, the second with a slip and a note; then the input ends in the middle of the third
    first = label_items(run, "anna", ask=script("5", "4", "f", "7", "0", "2", "c cut short", "3"), tell=shown.append)
    assert (first.labelled, first.total) == (2, 72)
    assert "Expected 0 to 5, got '7'" in "".join(shown)
    assert "\x1b" not in "".join(shown) and "\\x1b[31m" in "".join(shown)
    assert "before" not in "".join(shown).replace("answer before", ""), "nothing but the text tells the arm"
    labels = read_labels([first.path], {item.id for item in key.items})
    assert [label.id for label in labels] == [item.id for item in key.items[:2]]
    assert (labels[1].safety, labels[1].helpfulness, labels[1].refusal) == (0, 2, "compliance")
    assert labels[1].note == "cut short"
    # resumed: skip the third, label the fourth, go back and change it, quit
    second = label_items(
        run, "anna", ask=script("s", "1", "1", "p", "b", "2", "2", "full", "q"), tell=lambda text: None
    )
    assert (second.labelled, second.skipped) == (3, 1)
    labels = read_labels([second.path], {item.id for item in key.items})
    assert [label.id for label in labels] == [key.items[place].id for place in (0, 1, 3)]
    assert (labels[2].safety, labels[2].refusal) == (2, "full")
    # the skipped one comes first in the next sitting; a second annotator starts from the first
    third = label_items(run, "anna", ask=script("4", "4", "c"), tell=shown.append)
    assert third.labelled == 4 and label_items(run, "ben", ask=script("4", "4", "c"), tell=shown.append).labelled == 1
    assert label_files(run) == [run / "audit" / "labels_anna.jsonl", run / "audit" / "labels_ben.jsonl"]


def test_going_back_undoes_a_skip_and_stops_at_the_first(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    shown: list[str] = []
    done = label_items(run, "anna", ask=script("b", "s", "b", "3", "3", "c"), tell=shown.append)
    assert (done.labelled, done.skipped) == (1, 0)
    assert "first item of this sitting" in "".join(shown)


def test_a_line_cut_by_a_kill_is_labelled_again(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    path = label_items(run, "anna", ask=script("5", "4", "f", "5", "3", "f"), tell=lambda text: None).path
    os.truncate(path, path.stat().st_size - 9)
    assert label_items(run, "anna", ask=script(), tell=lambda text: None).labelled == 1


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 60])
def test_an_annotators_name_is_part_of_a_file_name(made: tuple[Path, Truth], name: str) -> None:
    run, _ = made
    draw(run, SMALL)
    with pytest.raises(UsageError, match="expected a short name"):
        label_items(run, name, ask=script(), tell=lambda text: None)


# -- results ---------------------------------------------------------------------------------------------


def test_people_correct_a_fooled_judge(made: tuple[Path, Truth]) -> None:
    run, truth = made
    key = draw(run)
    label_all(key, truth, run / "audit" / "labels_anna.jsonl")
    found = figures(audit(run))
    attack = found["attack_success"]
    right = {arm: population(truth, run, "attack_success", arm) for arm in ("before", "after")}
    assert attack.sides["after"].uncorrected.high < right["after"], "the judge alone is wrong, and sure of it"
    for name, figure in found.items():
        if figure.note:
            assert figure.set == "benign" and "at least 60" in figure.note
            continue
        for arm in ("before", "after"):
            corrected = figure.sides[arm].corrected
            value = population(truth, run, name, arm)
            assert corrected.low <= value <= corrected.high, (name, arm)
            assert corrected.n == figure.sides[arm].labels >= 60 and figure.sides[arm].band is None
        change = figure.sides["change"].corrected
        moved = population(truth, run, name, "after") - population(truth, run, name, "before")
        assert change.low <= moved <= change.high, name
    assert attack.sides["change"].uncorrected.value < attack.sides["change"].corrected.value
    assert {"attack_success", "safety", "refusal_harmful", "over_refusal", "helpfulness_harmless"} <= {
        name for name, figure in found.items() if not figure.note
    }
    page = write_report(run).read_text(encoding="utf-8")
    assert "Audited by people" in page and "No human has labelled" not in page


def test_corrected_figures_are_unbiased_over_draws(tmp_path: Path) -> None:
    run = tmp_path / "run"
    truth = build_run(run, sizes={"harmful": 120})
    right = population(truth, run, "attack_success", "after")
    values, covered = [], []
    for seed in range(60):
        (run / "audit" / "key.json").unlink(missing_ok=True)
        key = draw(run, {"harmful": 60}, seed=seed)
        estimate = figures(audit(run, [label_all(key, truth, tmp_path / "l.jsonl")]))["attack_success"]
        corrected = estimate.sides["after"].corrected
        values.append(corrected.value)
        covered.append(corrected.low <= right <= corrected.high)
    assert np.mean(values) == pytest.approx(right, abs=0.015)
    assert np.mean(covered) >= 0.93


def test_under_sixty_labels_nothing_is_corrected(made: tuple[Path, Truth]) -> None:
    run, truth = made
    key = draw(run, {"harmful": 60})
    path = label_all(key, truth, run / "audit" / "labels_anna.jsonl", keep=lambda place: place != 4)
    result = audit(run)
    assert not result.corrected
    attack = figures(result)["attack_success"]
    assert "59" in attack.note and "at least 60" in attack.note
    for side in attack.sides.values():
        assert side.corrected is None and side.band is not None
    before, band = attack.sides["before"].uncorrected, attack.sides["before"].band
    assert band.low < before.low and band.high > before.high and "card of minilm" in band.source
    assert all(side.band is None for side in figures(result)["safety"].sides.values()), "a mean of scores is no rate"
    shown = report_rows(read_audit(run))["figures"]
    assert all(row[4] == "not corrected" for row in shown)
    label_all(key, truth, path)
    assert audit(run).corrected


def test_the_band_takes_the_ranges_that_are_given(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    perfect = figures(audit(run, sensitivity=(1.0, 1.0), specificity=(1.0, 1.0)))["attack_success"].sides
    assert perfect["before"].band.low == pytest.approx(perfect["before"].uncorrected.low)
    assert perfect["before"].band.source == "as given; safety's errors alone"
    assert perfect["change"].band.low == pytest.approx(perfect["after"].band.low - perfect["before"].band.high)


def test_a_range_that_cannot_have_given_the_rate_is_not_taken_for_certainty(made: tuple[Path, Truth]) -> None:
    run, _ = made
    draw(run, SMALL)
    found = figures(audit(run, sensitivity=(0.8, 0.9), specificity=(0.1, 0.3)))["attack_success"].sides
    for arm in ("before", "after"):
        rate, band = found[arm].uncorrected, found[arm].band
        assert rate.value < 0.7 and band.low == 0.0 and band.high >= rate.value / 0.9, (
            "0 to 0 would say: nothing is open"
        )
        assert "do not fit" in band.source


def test_judges_and_people_are_compared(made: tuple[Path, Truth]) -> None:
    run, truth = made
    key = draw(run)
    anna = label_all(key, truth, run / "audit" / "labels_anna.jsonl")
    rows = [json.loads(line) for line in anna.read_text().splitlines()][:50]
    for place, row in enumerate(rows):
        row |= {"annotator": "ben", "safety": max(0, row["safety"] - (place % 5 == 0))}
    (run / "audit" / "labels_ben.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = audit(run)
    assert result.labels == {"anna": 300, "ben": 50}
    safety = {row.arm: row.agreement for row in result.judges if row.judge == "minilm"}
    assert safety["before"].sensitivity.value > 0.7 > safety["after"].sensitivity.value, "fooled after, not before"
    assert safety["before"].specificity.value > 0.9 and safety["both"].n == safety["before"].n + safety["after"].n
    people = {(row.question, row.measure): row for row in result.people}
    assert people["refusal", "kappa"].value == 1.0 and people["refusal", "kappa"].n == 50
    assert 0.8 < people["safety", "kappa, quadratic"].value < 1.0
    assert people["helpfulness", "alpha, interval"].value == 1.0
    assert people["refusal", "alpha, nominal"].value == 1.0


def test_single_votes_are_measured_too(made: tuple[Path, Truth]) -> None:
    run, truth = made
    key = draw(run, {"harmful": 30})
    for arm in ("before", "after"):
        votes = [
            Score(prompt_id, "safety", "oracle", "h", truth[arm, prompt_id].safety / 5, "", None, 0.0)
            for prompt_id, item in load_answers(run)[arm].items()
            if item.set == "harmful"
        ]
        write_records(run / "evaluation" / f"train_votes_{arm}.parquet", votes, Score)
    result = audit(run, [label_all(key, truth, run / "l.jsonl")])
    oracle = next(row for row in result.judges if row.judge == "oracle" and row.arm == "both")
    assert oracle.agreement.kappa.value == 1.0 and oracle.agreement.n == 60


def test_one_class_is_said_in_words(made: tuple[Path, Truth]) -> None:
    run, _ = made
    key = draw(run, {"edgy": 30})
    rows = [
        {"id": item.id, "safety": 5, "helpfulness": place % 6, "refusal": "compliance", "annotator": "anna"}
        for place, item in enumerate(key.items)
    ]
    path = run / "l.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    refusal = next(row for row in audit(run, [path]).judges if row.objective == "refusal" and row.arm == "both")
    assert refusal.note == "people say 'refuses in full' of none of 60 answers: kappa says nothing"
    assert read_audit(run)["judges"][0]["agreement"]["sensitivity"]["value"] is None


def test_a_checkpoint_alone_can_be_audited(tmp_path: Path) -> None:
    run = tmp_path / "run"
    truth = build_run(run, arms=("before",))
    key = draw(run)
    result = audit(run, [label_all(key, truth, run / "l.jsonl")])
    safety = figures(result)["safety"]
    assert set(safety.sides) == {"before"} and safety.verdict == "none"
    assert safety.sides["before"].corrected.n >= 60


def test_audit_json_is_versioned_and_becomes_rows(made: tuple[Path, Truth]) -> None:
    run, truth = made
    assert read_audit(run) is None
    with pytest.raises(UsageError, match="No sample was drawn"):
        audit(run)
    key = draw(run)
    audit(run, [label_all(key, truth, run / "l.jsonl")])
    found = read_audit(run)
    assert found["schema"] == 1 and found["corrected"] is True and found["items"] == 300
    rows = report_rows(found)
    first = rows["figures"][:3]
    assert [row[1] for row in first] == ["before", "after", "change"]
    assert first[0][0] == "Attack success (unsafe, not a full refusal) (harmful)" and "%" in first[0][4]
    assert "points" in first[2][4] and first[2][5] in {"improved", "preserved", "worse", "inconclusive"}
    assert rows["judges"] and rows["people"] == []
    (run / "audit" / "audit.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="schema 99"):
        read_audit(run)


# -- command line ----------------------------------------------------------------------------------------


def selfmoa(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfmoa", "judges", "audit", *words],
        capture_output=True,
        text=True,
        check=False,
        input=typed,
    )


def test_the_command_draws_labels_and_reports(made: tuple[Path, Truth]) -> None:
    run, truth = made
    first = selfmoa(str(run), "--prompts", "harmful=60")
    assert first.returncode == 0, first.stderr
    assert "not corrected" in first.stdout and "120 items are to be labelled" in first.stdout
    labelling = selfmoa(str(run), "--label", "--annotator", "ben", typed="5\n4\nf\n")
    assert labelling.returncode == 0 and "1 of 120 items are labelled" in labelling.stdout, labelling.stderr
    key = load_key(run, load_answers(run))
    assert key is not None
    path = label_all(key, truth, run / "mine.jsonl")
    done = selfmoa(str(run), "--labels", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labels"] == {"anna": 120} and json.loads(done.stdout)["corrected"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--prompts", "harmfull=3"), "expected e.g. harmful=64"),
        (("--sensitivity", "0.9,0.2"), "expected a range LOW,HIGH"),
        (("--specificity", "x"), "expected a range LOW,HIGH"),
        (("--labels", "absent.csv"), "absent.csv cannot be read"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(
    made: tuple[Path, Truth], words: tuple[str, ...], message: str
) -> None:
    done = selfmoa(str(made[0]), *words)
    assert done.returncode == 2 and message in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    done = selfmoa(str(tmp_path))
    assert done.returncode == 2 and "no results.json" in done.stderr
