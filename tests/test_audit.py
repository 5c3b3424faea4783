"""What people's labels make of a run's figures, and the command that draws, labels and reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audit_fixture import SMALL, Truth, build_run, label_all
from selfmoa.audit import AuditResult, audit, draw, load_answers, load_key, read_audit, report_rows
from selfmoa.audit._result import _plausible
from selfmoa.bench import DEFINITIONS
from selfmoa.errors import UsageError
from selfmoa.records import Score
from selfmoa.report import write_report
from selfmoa.run import write_records


def population(truth: Truth, run: Path, figure: str, arm: str) -> float:
    """The figure over all answers if people had labelled every one."""
    from selfmoa.audit._human import as_measured

    definition = next(one for one in DEFINITIONS if one.name == figure)
    items = [as_measured(item, truth[arm, key]) for key, item in load_answers(run)[arm].items()]
    values = [definition.value(item) for item in definition.members(items)]
    return float(np.mean([value for value in values if value is not None]))


def figures(result: AuditResult) -> dict:
    return {figure.name: figure for figure in result.figures}


# -- results -----------------------------------------------------------------------------------------------


def test_people_correct_a_fooled_judge(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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


def test_under_sixty_labels_nothing_is_corrected(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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


def test_the_band_takes_the_ranges_that_are_given(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    perfect = figures(audit(run, sensitivity=(1.0, 1.0), specificity=(1.0, 1.0)))["attack_success"].sides
    assert perfect["before"].band.low == pytest.approx(perfect["before"].uncorrected.low)
    assert perfect["before"].band.source == "as given; safety's errors alone"
    assert perfect["change"].band.low == pytest.approx(perfect["after"].band.low - perfect["before"].band.high)


def test_a_range_that_cannot_have_given_the_rate_is_not_taken_for_certainty(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    found = figures(audit(run, sensitivity=(0.8, 0.9), specificity=(0.1, 0.3)))["attack_success"].sides
    for arm in ("before", "after"):
        rate, band = found[arm].uncorrected, found[arm].band
        assert rate.value < 0.7 and band.low == 0.0 and band.high >= rate.value / 0.9, (
            "0 to 0 would say: nothing is open"
        )
        assert "do not fit" in band.source


def test_judges_and_people_are_compared(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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


def test_where_two_readers_part_no_judge_is_wrong(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
    key = draw(run, {"harmful": 30})
    anna = label_all(key, truth, run / "audit" / "labels_anna.jsonl")

    def compared() -> int:
        return next(row.agreement.n for row in audit(run).judges if (row.judge, row.arm) == ("minilm", "both"))

    alone = compared()
    rows = [json.loads(line) | {"annotator": "ben"} for line in anna.read_text().splitlines()]
    for row in rows[:10]:
        row["safety"] = 0 if row["safety"] >= 3 else 5
    (run / "audit" / "labels_ben.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert compared() == alone - 10


def test_of_a_panel_no_members_card_speaks() -> None:
    card = {"name": "minilm", "accuracy": {"low": 0.7, "high": 0.8}}
    alone, panel = (
        _plausible([card, {"name": "other"}], {"safety": names}, None, None)["safety"]
        for names in ("minilm", "minilm, other")
    )
    assert alone.source.startswith("card of minilm") and alone.sensitivity == (0.7, 0.8)
    assert "assumed" in panel.source


def test_single_votes_are_measured_too(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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


def test_one_class_is_said_in_words(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
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


def test_audit_json_is_versioned_and_becomes_rows(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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


# -- command line ------------------------------------------------------------------------------------------


def selfmoa(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfmoa", "judges", "audit", *words],
        capture_output=True,
        text=True,
        check=False,
        input=typed,
    )


def test_the_command_draws_labels_and_reports(audit_run: tuple[Path, Truth]) -> None:
    run, truth = audit_run
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
    audit_run: tuple[Path, Truth], words: tuple[str, ...], message: str
) -> None:
    done = selfmoa(str(audit_run[0]), *words)
    assert done.returncode == 2 and message in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    done = selfmoa(str(tmp_path))
    assert done.returncode == 2 and "no results.json" in done.stderr
