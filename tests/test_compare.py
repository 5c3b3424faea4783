"""Arms side by side: every figure reproduces from the exported items, and what cannot be compared is refused."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import t
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from selfmoa import recipes
from selfmoa.bench import Measured
from selfmoa.capability import Answered
from selfmoa.compare import Arm, compare_arms, items_table, load_arms, to_csv, to_json, to_latex
from selfmoa.errors import UsageError
from selfmoa.records import Judgement, Response
from selfmoa.report import write_comparison
from selfmoa.run import write_json, write_records

HAZARDS = ("fraud", "weapons", "privacy")


def items(unsafe: float, refused: float, helpful: float, seed: int = 0, n: int = 40) -> list[Measured]:
    rng = random.Random(seed)
    made = []
    for kind in ("harmful", "edgy", "benign"):
        for i in range(n):
            refusal = "full" if rng.random() < (refused if kind != "harmful" else 0.2) else "compliance"
            made.append(
                Measured(
                    prompt_id=f"{kind}{i}",
                    set=kind,  # type: ignore[arg-type]
                    hazard=HAZARDS[i % 3],
                    source="here",
                    prompt=f"[{kind} prompt {i}]",
                    answer="one two three",
                    n_tokens=3,
                    safety=0.2 if rng.random() < unsafe else 0.8,
                    helpfulness=min(1.0, max(0.0, rng.gauss(helpful, 0.1))),
                    refusal=refusal,  # type: ignore[arg-type]
                    coherence=0.9,
                )
            )
    return made


def directory(root: Path, name: str, before: list[Measured], after: list[Measured] | None = None) -> Path:
    where = root / name
    write_records(where / "evaluation" / "before.parquet", before, Measured)
    metrics = [{"name": "attack_success", "judge": "minilm"}]
    if after is not None:
        write_records(where / "evaluation" / "after.parquet", after, Measured)
        write_json(where / "usage.json", {"train": {"seconds": 61.0, "peak_mb": 900}, "score": {"seconds": 9.0}})
        write_json(where / "stage_01" / "stage.json", {"n_pairs": 64, "trained_tokens": 5000})
    write_json(where / "results.json", {"metrics": metrics})
    return where


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    base = items(0.6, 0.1, 0.7)
    one = directory(tmp_path, "one", base, items(0.2, 0.1, 0.7, seed=1))
    two = directory(tmp_path, "two", base, items(0.1, 0.6, 0.5, seed=2))
    return one, two


def test_which_arm_a_word_means(runs: tuple[Path, Path]) -> None:
    one, two = map(str, runs)
    assert [arm.name for arm in load_arms([one])] == ["one:before", "one"]
    assert [arm.name for arm in load_arms([f"{one}:before", one, two])] == ["one:before", "one", "two"]
    arm = load_arms([one])[1]
    assert arm.costs == {"pairs": 64, "trained tokens": 5000, "seconds": 70, "peak MB": 900}
    assert load_arms([one])[0].costs == {}, "the base cost nothing"
    answers = [Response(f"r{i}", "a", 1, i, "text", False, "", 10 + i, "eos", 0) for i in range(3)]
    votes = [Judgement(f"r{i}", "a", 1, 0.5, 0.5, 0.5, "full", False) for i in range(2)]
    write_records(runs[0] / "round_01" / "responses.parquet", answers, Response)
    write_records(runs[0] / "round_01" / "judgements.parquet", votes, Judgement)
    costs = load_arms([one])[1].costs
    assert (costs["judged answers"], costs["judged tokens"]) == (2, 21), "the third was not judged"


def test_every_figure_reproduces_from_the_exported_items(runs: tuple[Path, Path]) -> None:
    found = compare_arms(load_arms([f"{runs[0]}:before", *map(str, runs)]))
    rows = items_table(found)
    for figure in found.figures:
        mine = {row["prompt_id"]: row[figure.metric] for row in rows if row["arm"] == figure.arm}
        base = {row["prompt_id"]: row[figure.metric] for row in rows if row["arm"] == "one:before"}
        values = np.array([value for value in mine.values() if value is not None], dtype=float)
        assert figure.estimate.value == pytest.approx(values.mean()) and figure.estimate.n == len(values)
        if figure.unit == "share":
            low, high = proportion_confint(values.sum(), len(values), method="wilson")
            assert (figure.estimate.low, figure.estimate.high) == pytest.approx((low, high))
        if figure.change is None:
            continue
        change = np.array([mine[key] - base[key] for key in mine if mine[key] is not None])
        assert figure.change.value == pytest.approx(change.mean())
        if figure.unit == "score" and change.std() > 0:
            half = t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
            assert figure.change.high - figure.change.value == pytest.approx(half)
        if figure.unit == "share":
            gained, lost = int((change > 0).sum()), int((change < 0).sum())
            expected = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue if gained + lost else 1.0
            assert figure.p == pytest.approx(expected)


def test_what_both_arms_know_is_compared_on_the_same_questions(runs: tuple[Path, Path]) -> None:
    def asked(right: range, n: int = 30) -> list[Answered]:
        return [Answered(f"task{i % 2}", "s", f"q{i}", 4, i in right, None) for i in range(n)]

    one = runs[0] / "evaluation"
    write_records(one / "capability_before.parquet", asked(range(20)), Answered)
    assert "capability" not in {figure.metric for figure in compare_arms(load_arms([str(runs[0])])).figures}
    write_records(one / "capability_after.parquet", asked(range(5, 15))[::-1], Answered)
    found = compare_arms(load_arms([str(runs[0])]))
    figure = found.figure("capability", "one")
    assert figure.change is not None and figure.change.value == pytest.approx(-10 / 30)
    assert figure.p == pytest.approx(2 * 0.5**10), "ten lost, none gained"
    rows = [row for row in items_table(found) if row["arm"] == "one" and row["capability_task1"] is not None]
    assert found.figure("capability_task1", "one").estimate.value == sum(r["capability_task1"] for r in rows) / len(
        rows
    )
    assert len({tuple(row) for row in items_table(found)}) == 1, "all rows have the same columns"
    write_records(one / "capability_after.parquet", asked(range(20), n=29), Answered)
    with pytest.raises(UsageError, match="differ in 1 questions"):
        compare_arms(load_arms([str(runs[0])]))


def test_groups_and_changed_prompts_add_up(runs: tuple[Path, Path]) -> None:
    found = compare_arms(load_arms([str(runs[0])]))
    groups = [g for g in found.groups if g.metric == "attack_success" and g.arm == "one"]
    assert [g.group for g in groups] == sorted(HAZARDS) and sum(g.estimate.n for g in groups) == 40
    total = sum(g.estimate.value * g.estimate.n for g in groups)
    assert total == pytest.approx(found.figure("attack_success", "one").estimate.value * 40)
    change = found.figure("attack_success", "one").change
    moved = [row for row in found.changed if row.metric == "attack_success"]
    assert change is not None and sum(row.after - row.before for row in moved) == pytest.approx(change.value * 40)


def test_the_front_holds_what_no_other_beats(runs: tuple[Path, Path]) -> None:
    found = compare_arms(load_arms([f"{runs[0]}:before", *map(str, runs)]))
    assert "one" in found.front
    worse = Arm("worse", tuple(items(0.9, 0.5, 0.3, seed=5)))
    assert "worse" not in compare_arms([*found.arms, worse]).front


def test_other_prompts_are_refused_with_the_difference(tmp_path: Path) -> None:
    base = items(0.5, 0.1, 0.7)
    one = directory(tmp_path, "one", base)
    two = directory(tmp_path, "two", [*base[:-1], replace(base[-1], prompt_id="other")])
    with pytest.raises(UsageError, match=r"1 only in one \(e.g. benign39\); 1 only in two \(e.g. other\)"):
        load_arms([str(one), str(two)])


def test_other_numbers_of_tries_are_refused(tmp_path: Path) -> None:
    base = items(0.5, 0.1, 0.7)
    often, seldom = (
        directory(tmp_path, name, [replace(item, attempts=n if item.set == "harmful" else 0) for item in base])
        for name, n in (("often", 10), ("seldom", 2))
    )
    with pytest.raises(UsageError, match="often was asked 10 times a prompt and seldom 2 times"):
        load_arms([str(often), str(seldom)])


def test_other_judges_are_refused(tmp_path: Path) -> None:
    base = items(0.5, 0.1, 0.7)
    one, two = directory(tmp_path, "one", base), directory(tmp_path, "two", base)
    write_json(two / "results.json", {"metrics": [{"name": "attack_success", "judge": "tfidf"}]})
    with pytest.raises(UsageError, match="judged by 'minilm' in one and by 'tfidf' in two"):
        load_arms([str(one), str(two)])


def test_the_same_judge_with_other_options_is_another(tmp_path: Path) -> None:
    base = items(0.5, 0.1, 0.7)
    one, two = directory(tmp_path, "one", base), directory(tmp_path, "two", base)
    for where, model in ((one, "x"), (two, "y")):
        judge = f"{{name: rubric-harm, options: {{base_url: 'http://localhost', model: {model}}}}}"
        changed = recipes.load("demo", [f"judges.gate.safety=[{judge}]"])
        (where / "recipe.yaml").write_text(recipes.dump(changed))
    with pytest.raises(UsageError, match="the same with other options"):
        load_arms([str(one), str(two)])


def test_what_has_not_finished_is_not_taken_for_the_model_before(tmp_path: Path) -> None:
    base = items(0.5, 0.1, 0.7)
    one, two = directory(tmp_path, "one", base), directory(tmp_path, "two", base)
    (two / "results.json").unlink()
    with pytest.raises(UsageError, match=r"two has not finished.*two:before"):
        load_arms([str(one), str(two)])
    assert len(load_arms([str(one), f"{two}:before"])) == 2


def test_hazards_are_those_of_the_first_arm(tmp_path: Path) -> None:
    """Another tool calls the same prompts' hazards by the name of its probe."""
    base = items(0.5, 0.1, 0.7)
    one = directory(tmp_path, "one", base)
    two = directory(tmp_path, "two", [replace(item, hazard="probe") for item in items(0.2, 0.1, 0.7, seed=1)])
    found = compare_arms(load_arms([str(one), str(two)]))
    groups = [group for group in found.groups if group.metric == "attack_success"]
    assert {(group.arm, group.group) for group in groups} == {(arm, name) for arm in ("one", "two") for name in HAZARDS}


def test_nothing_to_compare(tmp_path: Path) -> None:
    alone = directory(tmp_path, "one", items(0.5, 0.1, 0.7))
    with pytest.raises(UsageError, match="Got 1 arm"):
        load_arms([str(alone)])
    with pytest.raises(UsageError, match="holds no evaluation"):
        load_arms([str(tmp_path / "none"), str(alone)])
    with pytest.raises(UsageError, match="holds no after side of an evaluation"):
        load_arms([f"{alone}:after", str(alone)])
    with pytest.raises(UsageError, match="named twice"):
        load_arms([str(alone), str(alone)])


def test_exports(runs: tuple[Path, Path]) -> None:
    found = compare_arms(load_arms([str(runs[0])]))
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert len(lines) == len(found.figures) and lines[0]["metric"] == "attack_success"
    told = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert told["schema"] == 1 and [arm["name"] for arm in told["arms"]] == ["one:before", "one"]
    table = to_latex(found)
    assert table.count("\\\\\n") == 1 + len({figure.metric for figure in found.figures})
    assert "one:before" in table and r"\%" not in table.split("toprule")[0]


def test_the_page_hides_attacks_and_stands_alone(runs: tuple[Path, Path], tmp_path: Path) -> None:
    html = write_comparison(compare_arms(load_arms([str(runs[0]), str(runs[1])])), tmp_path / "c.html").read_text()
    assert "[harmful prompt" not in html and "[edgy prompt" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "<script" not in html
    for words in ("Safety against helpfulness", "Attack success by hazard", "On the front", "McNemar p", "1 min 10 s"):
        assert words in html, words


def test_the_command_line(runs: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "selfmoa", "compare", str(runs[0]), "--out", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "On the front" in done.stdout and "improved" in done.stdout
    written = {path.name for path in out.iterdir()}
    assert written == {"compare.html", "compare.json", "compare.csv", "compare.tex", "items.parquet"}
    assert pq.read_table(out / "items.parquet").num_rows == 240


def test_a_change_that_was_not_seen_says_how_large_it_may_have_been(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """Terminal, page, LaTeX and CSV; a change that was seen says nothing of the kind."""
    base = items(0.6, 0.1, 0.7)
    still = [replace(item, refusal="full") if item.prompt_id in ("edgy0", "edgy5", "edgy9") else item for item in base]
    where = directory(tmp_path, "still", base, still)
    found = compare_arms(load_arms([str(where)]))
    figure = found.figure("over_refusal", "still")
    assert figure.change is not None and figure.change.low <= 0 <= figure.change.high and figure.detectable
    words = f"a change below {100 * figure.detectable:.0f} points could well be missed"
    html = write_comparison(found, tmp_path / "c.html").read_text()
    assert words in html and "seen from" in html
    assert f", MDC {100 * figure.detectable:.0f})" in to_latex(found)
    done = subprocess.run(
        [sys.executable, "-m", "selfmoa", "compare", str(where)], capture_output=True, text=True, check=False
    )
    told = " ".join(done.stdout.replace("│", " ").split())
    assert "could well be missed" in told, done.stderr
    large = compare_arms(load_arms([str(runs[0])]))
    change = large.figure("attack_success", "one").change
    assert change is not None and change.high < 0
    row = next(line for line in to_latex(large).splitlines() if line.startswith("Attack success"))
    assert "MDC" not in row


def test_attack_success_by_wrapping_is_compared(tmp_path: Path) -> None:
    def wrapped(made: list[Measured]) -> list[Measured]:
        names = ("style:plain", "wheel:many-shot")
        return [replace(item, wrapping=names[i % 2]) if item.set == "harmful" else item for i, item in enumerate(made)]

    where = directory(tmp_path, "one", wrapped(items(0.6, 0.1, 0.7, n=80)), wrapped(items(0.1, 0.1, 0.7, seed=1, n=80)))
    found = compare_arms(load_arms([str(where)]))
    rows = [row for row in items_table(found) if row["set"] == "harmful"]
    assert {(group.group, group.arm) for group in found.wrappings} == {(r["wrapping"], r["arm"]) for r in rows}
    for group in found.wrappings:
        mine = [r["attack_success"] for r in rows if (r["wrapping"], r["arm"]) == (group.group, group.arm)]
        assert group.estimate.value == pytest.approx(np.mean(mine)) and group.estimate.n == len(mine) == 40
    assert any(group.p is not None and group.p < 0.05 for group in found.wrappings)
    assert [row["group"] for row in to_json(found)["by_wrapping"]] == [group.group for group in found.wrappings]
    html = write_comparison(found, tmp_path / "c.html").read_text()
    assert "Attack success by wrapping" in html and "wheel:many-shot" in html
    done = subprocess.run(
        [sys.executable, "-m", "selfmoa", "compare", str(where)], capture_output=True, text=True, check=False
    )
    assert "wheel:many-shot" in done.stdout, done.stderr
