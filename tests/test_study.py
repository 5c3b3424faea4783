"""Baselines and studies: what each arm does and leaves undone, what arms share, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from loop_helpers import need_judge_data, never_blank, texts, tiny_overrides
from selfmoa import recipes, report, study
from selfmoa.bench import Measured
from selfmoa.errors import RecipeError, RunExistsError, UsageError
from selfmoa.generate import LanguageModel
from selfmoa.records import Attack
from selfmoa.run import read_json, read_records


def write_study(directory: Path, arms: list[dict[str, Any]], **more: Any) -> Path:
    path = directory / "study.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "arms": arms, **more}))
    return path


ORIGINAL = {"name": "original", "recipe": "baselines/original"}
OURS = {"name": "ours", "recipe": "demo"}

# -- reading ---------------------------------------------------------------------------------------------


def test_the_shipped_study_reads() -> None:
    assert recipes.studies() == ["studies/ablations", "studies/efficiency", "studies/main"]
    assert all(study.load_study("ablations", smoke=smoke).seeds == (0,) for smoke in (False, True))
    found = study.load_study("main")
    assert found == study.load_study("recipes/studies/main.yaml")
    assert [arm.name for arm in found.arms] == ["original", "paper", "ours", "static_dpo", "human_modpo"]
    assert found.seeds == (0, 1, 2)
    ours = study.arm_recipe(found, found.arms[2], 2)
    assert (ours.name, ours.seed, ours.evaluate.seed) == ("ours-2", 2, 0)
    assert ours.train == recipes.load("demo").train
    assert study.arm_recipe(found, found.arms[3], 0, pairs=77).loop.max_pairs == 77


def test_a_smoke_study_has_the_sizes_of_smoke_and_never_larger_ones() -> None:
    found = study.load_study("main", smoke=True)
    smoke = recipes.load("smoke")
    ours = study.arm_recipe(found, found.arms[2], 0, smoke=True)
    demo = recipes.load("demo")
    assert ours.attack == smoke.attack and not ours.review.wanted
    assert ours.stage == smoke.stage.model_copy(update={"tolerance": demo.stage.tolerance}), "that is no size"
    assert ours.generate == smoke.generate.model_copy(update={"m": demo.generate.m})
    original = study.arm_recipe(found, found.arms[0], 0, smoke=True)
    assert original.loop.n_rounds == 0 and original.evaluate.harmful.n == 12
    assert study.arm_recipe(found, found.arms[4], 0, smoke=True).loop.max_pairs == 24
    assert (
        original.evaluate.capability.n == 2 and study.arm_recipe(found, found.arms[0], 0).evaluate.capability.n == 100
    )


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ([OURS, OURS], "'ours' stands there twice"),
        ([OURS, {**OURS, "name": "b", "overrides": ["evaluate.harmful.n=5"]}], r"differ in evaluate\.harmful"),
        ([OURS, {**OURS, "name": "b", "recipe": "paper/llama-3.2-1b"}], r"judges\.gate"),
        ([{**OURS, "pairs_of": "later"}, {**OURS, "name": "later"}], "no arm before it"),
        ([{**OURS, "recipe": "demmo"}], "Did you mean 'demo'"),
        ([{**OURS, "recip": "demo"}], "recip"),
        ([], "arms"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused(arms: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        study.load_study(write_study(tmp_path, arms))


def test_equal_seeds_and_unknown_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="seeds: 1 stands there twice"):
        study.load_study(write_study(tmp_path, [OURS], seeds=[1, 1]))
    with pytest.raises(RecipeError, match="no study 'mian'"):
        study.load_study("mian")


# -- running ---------------------------------------------------------------------------------------------


def people(directory: Path) -> str:
    """A table of 14 pairs with labels; one prompt is an evaluation prompt with a word more, one answer is empty."""
    planted = texts("harmful", 12)[0] + " now"
    rows = [
        {"prompt": text, "response_0": "Sure, here is a list.", "response_1": "I cannot help.", "b": i % 2, "s": 1}
        for i, text in enumerate([planted, *texts("people", 13)])
    ]
    rows[-1]["response_0"] = ""
    (directory / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = f"{{ref: 'path:{directory}/people.jsonl', answers: [response_0, response_1], better: b, safer: s}}"
    return f"train.pairs={table}"


@pytest.mark.slow
def test_arms_share_what_is_equal_and_one_that_fails_stops_no_other(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_judge_data()
    overrides = [one for one in tiny_overrides(tmp_path, tiny_model_dir) if not one.startswith("loop.n_rounds")]
    overrides += ["judges.watch=[]", "stage.steps=[1.0]", "attack.min_harm=0", "prefer.perturbations=[]"]
    pairing = ["prefer.pairing=paper", "loop.n_rounds=1", "train.align_at=100"]
    arms = [
        ORIGINAL,
        {**OURS, "overrides": pairing},
        {"name": "prompted", "recipe": "baselines/safety_prompt"},
        {
            "name": "static",
            "recipe": "baselines/static_dpo",
            "pairs_of": "ours",
            "overrides": [*pairing[::2], "loop.n_rounds=2"],
        },
        {"name": "human", "recipe": "baselines/human_modpo", "overrides": [people(tmp_path)]},
        {**OURS, "name": "dpo", "overrides": [*pairing, "train.loss=dpo"]},
        {**OURS, "name": "broken", "overrides": [*pairing, "train.lr=1e-4", "seeds.attack=['path:none.jsonl']"]},
        {**OURS, "name": "long", "overrides": [*pairing, "generate.sampling.max_new_tokens=500"]},
    ]
    told_before: list[str | None] = []
    generate = LanguageModel.generate

    def seen(model: LanguageModel, requests: Any, *args: Any, **kwargs: Any) -> Any:
        told_before.extend(request.system for request in requests)
        made = generate(model, requests, *args, **kwargs)
        return never_blank(made)

    monkeypatch.setattr(LanguageModel, "generate", seen)
    found = study.load_study(write_study(tmp_path, arms, overrides=overrides))
    out = tmp_path / "out"
    result = study.run_study(found, out, isolated=False, progress="quiet")
    told = {run.arm: (run.status, run.reason) for run in result.runs}
    good = ("original", "ours", "prompted", "static", "human", "dpo")
    assert all(told[name] == ("finished", "") for name in good), told
    assert told["broken"][0] == "not run" and "none.jsonl" in told["broken"][1]
    assert told["long"][0] == "failed" and "fit into this model's context" in told["long"][1]
    assert not result.complete and [one["arm"] for one in result.summaries] == list(good)

    system = recipes.load("baselines/safety_prompt").evaluate.system
    assert [one for one in told_before if one is not None] == [system] * 30, "one arm, after only"
    check_shared(out, "evaluation/before.parquet", "evaluate before", good)
    check_shared(out, "round_01/expansions.parquet", "round 1 attack", ("ours", "dpo"))
    check_shared(out, "round_01/sampled.parquet", "round 1 sample", ("ours", "dpo"))
    check_shared(out, "round_01/scores.parquet", "round 1 score", ("ours", "dpo"))
    assert len({item.prompt_id for item in answers(out / "original-0", "before")}) == 30
    check_original(out)
    check_static(out)
    check_human(out)
    check_page(result, out)
    check_resumed(found, out, monkeypatch)


def answers(directory: Path, side: str) -> list[Measured]:
    return read_records(directory / "evaluation" / f"{side}.parquet", Measured) or []


def check_shared(out: Path, file: str, step: str, arms: tuple[str, ...]) -> None:
    """The step is done once for these arms, and every one is charged what it cost."""
    assert len({(out / f"{arm}-0" / file).stat().st_ino for arm in arms}) == 1
    usage = [read_json(out / f"{arm}-0" / "usage.json")[step] for arm in arms]
    assert all(entry["tokens"] == usage[0]["tokens"] for entry in usage)
    assert usage[0]["tokens"] > 0 or step.endswith("score"), "scores have no tokens"
    assert all(entry["seconds"] > 0 for entry in usage)


def check_original(out: Path) -> None:
    assert answers(out / "original-0", "after") == answers(out / "original-0", "before")
    warnings = read_json(out / "original-0" / "results.json")["warnings"]
    assert any("Nothing was trained: the recipe asks for no round" in line for line in warnings)
    warnings = read_json(out / "prompted-0" / "results.json")["warnings"]
    assert any("given a system prompt after, not before" in line for line in warnings)
    assert not list((out / "original-0").glob("stage_*")) and not (out / "original-0" / "attackers_00").exists()


def check_static(out: Path) -> None:
    directory = out / "static-0"
    assert not (directory / "attackers_00").exists()
    rounds = sorted(directory.glob("round_*"))
    attacks = [one for path in rounds for one in read_records(path / "attacks.parquet", Attack) or []]
    asked = [one for one in attacks if one.kind == "attack"]
    assert asked and all(one.seed == one.expansion == one.hidden for one in asked)
    assert len({one.seed_id for one in asked}) == len(asked), "the pool does not grow"
    arms = ("ours-0", "static-0")
    trained = [sum(read_json(path)["n_pairs"] for path in (out / arm).glob("stage_*/stage.json")) for arm in arms]
    assert trained[0] == trained[1] > 0


def check_human(out: Path) -> None:
    directory = out / "human-0"
    told = read_json(directory / "given.json")
    assert told["pairs"] == 12
    assert told["left_out"] == {"cannot be used": 1, "touches an evaluation prompt": 1}
    rows = pq.read_table(directory / "stage_01" / "pairs.parquet").to_pylist()
    assert len(rows) == 12 and not any("now" in row["prompt"].split() for row in rows)
    for row in rows:  # MODPO: the safer answer's label lowers or raises what the log-ratio must give
        safer_chosen = row["chosen"] == "I cannot help."
        assert row["chosen_helpfulness"] == 1.0 and row["chosen_safety"] == float(safer_chosen)
        assert row["margin_in_loss"] == pytest.approx(1.0 if safer_chosen else -1.0)
    assert {row["chosen"] for row in rows} == {"Sure, here is a list.", "I cannot help."}
    assert not list(directory.glob("round_*")) and not (directory / "attackers_00").exists()
    assert "people found it better" in report.explain_text(directory, rows[0]["id"])
    assert read_json(directory / "results.json")["touched"] == []


def check_page(result: study.StudyResult, out: Path) -> None:
    (out / "seed_7.html").write_text("of a seed that the study has no more")
    found = study.write_study(result)
    assert not (out / "seed_7.html").exists()
    summary = read_json(out / "summaries" / "static-0.json")
    assert summary == result.summaries[3] and summary.keys() == {"arm", "seed", "model", "metrics", "cost"}
    assert summary["metrics"]["safety"].keys() == {"value", "low", "high", "n", "judge"}
    assert summary["cost"]["judged_tokens"] > 0 and summary["cost"]["trained_tokens"] > 0
    assert result.summaries[0]["cost"] | {"seconds": 0, "peak_memory_mb": 0} == {
        **{"pairs": 0, "judged_tokens": 0, "trained_tokens": 0},
        **{"seconds": 0, "peak_memory_mb": 0},
    }
    page, text = (out / "study.html").read_text(), (out / "table.md").read_text()
    for word in ("static (seed 0)", "Attack success", "broken", "none.jsonl"):
        assert word in page and word in text
    assert "ours-0" in (out / "seed_0.html").read_text()
    assert read_json(out / "seed_0.json")["arms"][0]["name"] == "original-0"
    assert [row[0] for row in found.rows][-5:] == [
        *("Pairs", "Judged tokens", "Trained tokens", "Minutes", "Peak memory, MB")
    ]


def check_resumed(found: study.Study, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished arms are read; those that did not finish are tried again."""
    tried: list[str] = []

    def work(recipe: Any, *_: Any) -> None:
        tried.append(recipe.name)
        raise UsageError("still broken")

    monkeypatch.setattr("selfmoa.study._runner._work", work)
    again = study.run_study(found, out, isolated=False, progress="quiet")
    assert tried == ["broken-0", "long-0"] and len(again.summaries) == 6
    other = found.model_copy(update={"name": "other"})
    with pytest.raises(RunExistsError, match="holds another study"):
        study.run_study(other, out, isolated=False)


# -- tables ----------------------------------------------------------------------------------------------


def summary(arm: str, seed: int, value: float) -> dict[str, Any]:
    figure = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 120, "judge": "minilm, refusal-head"}
    cost = {"pairs": 10 * (seed + 1), "judged_tokens": 5, "trained_tokens": 7, "seconds": 120, "peak_memory_mb": 9}
    return {"arm": arm, "seed": seed, "model": "m", "metrics": {"attack_success": figure}, "cost": cost}


def test_seeds_become_one_cell() -> None:
    found = study.table([summary("a", 0, 0.3), summary("b", 0, 0.4), summary("a", 1, 0.5)])
    assert found.header == ("Figure", "n", "better", "a (seeds 0, 1)", "b (seed 0)", "judge")
    first = found.rows[0]
    assert first[3:5] == ("40.0 % [20.0, 60.0]", "40.0 % [30.0, 50.0]")
    assert first[1:3] == ("120", "lower") and first[-1] == "minilm, refusal-head"
    assert found.rows[1][3:5] == ("15", "10") and found.rows[4][0] == "Minutes" and found.rows[4][3] == "2"


def test_the_paired_change_stands_beside_a_figure() -> None:
    one, other = summary("a", 0, 0.3), summary("a", 1, 0.5)
    one["metrics"]["attack_success"]["change"] = {"value": -0.2, "low": -0.3, "high": -0.1, "detectable": 0.14}
    assert study.table([one]).rows[0][3] == "30.0 % [20.0, 40.0]; -20.0 [-30.0, -10.0]"
    other["metrics"]["attack_success"]["change"] = {"value": 0.0, "low": -0.1, "high": 0.05, "detectable": 0.08}
    both = study.table([one, other]).rows[0][3]
    assert both == "40.0 % [20.0, 60.0]; -10.0 [-30.0, +5.0] (seen from 14.0)"


def test_a_seed_that_changed_nothing_counts_as_no_change() -> None:
    """Else an arm would look the better the more often its stages are rejected."""
    unchanged, changed = summary("a", 0, 0.4), summary("a", 1, 0.1)
    changed["metrics"]["attack_success"]["change"] = {"value": -0.3, "low": -0.35, "high": -0.25, "detectable": None}
    assert study.table([unchanged, changed]).rows[0][3].endswith("; -15.0 [-35.0, +0.0]")


def test_a_study_in_which_nothing_ran_is_not_complete(tmp_path: Path) -> None:
    arms = [OURS, {**OURS, "name": "second", "overrides": ["seed=1"]}]
    missing = study.load_study(write_study(tmp_path, arms, overrides=["seeds.attack=['path:none.jsonl']"]))
    result = study.run_study(missing, tmp_path / "out", isolated=False, progress="quiet")
    assert {run.status for run in result.runs} == {"not run"} and not result.complete


def test_asked_for_by_name_a_row_is_brief() -> None:
    first, other = summary("a", 0, 0.3), summary("b", 0, 0.4)
    other["metrics"]["attack_success"]["change"] = {"value": 0.1, "low": -0.1, "high": 0.2, "detectable": 0.14}
    brief = study.table([first, other], only=["attack_success"])
    assert [row[3:5] for row in brief.rows] == [("30.0 % [20.0, 40.0]", "40.0 %; +10.0 [-10.0, +20.0]")]
    assert brief.note != study.table([first, other]).note


def test_an_arm_of_a_reset_model_is_marked() -> None:
    found = study.table([summary("a", 0, 0.3), {**summary("b", 0, 0.4), "reset_control": True}])
    assert found.header[3:5] == ("a (seed 0)", "b (seed 0; reset control)")


def test_an_arm_without_a_figure_has_a_dash() -> None:
    lacking = {**summary("b", 0, 0.4), "metrics": {}}
    assert study.table([summary("a", 0, 0.3), lacking]).rows[0][4] == "–"


def test_tables_stand_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    text = "before\n<!-- table: start -->\nold\n<!-- table: end -->\nafter\n"
    made = study.written_into(text, [summary("a", 0, 0.3)])
    assert made.startswith("before\n<!-- table: start -->\n### m\n") and made.endswith("<!-- table: end -->\nafter\n")
    assert study.written_into(made, [summary("a", 0, 0.3)]) == made and "old" not in made
    assert "No results yet" in study.written_into(text, [])
    with pytest.raises(UsageError, match="no marks"):
        study.written_into("nothing", [])
    (tmp_path / "x.json").write_text('{"arm": "a"}')
    with pytest.raises(UsageError, match="is no summary of an arm"):
        study.read_summaries(tmp_path)


def test_a_document_may_ask_for_some_rows() -> None:
    text = "<!-- table: start attack_success pairs -->\n<!-- table: end -->"
    made = study.written_into(text, [summary("a", 0, 0.3)])
    rows = [line.split("|")[1].strip() for line in made.splitlines() if line.startswith("| ")]
    assert len(rows) == 4 and rows[2].startswith("Attack success") and rows[3] == "Pairs"
    assert study.written_into(made, [summary("a", 0, 0.3)]) == made
    with pytest.raises(UsageError, match=r"'atack_success'.*Did you mean 'attack_success'"):
        study.written_into(text.replace("attack", "atack"), [summary("a", 0, 0.3)])


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_results_agree_with_their_summaries(page: str) -> None:
    root = Path(__file__).resolve().parents[1]
    text = (root / page).read_text(encoding="utf-8")
    assert study.written_into(text, study.read_summaries(root / "docs" / "results")) == text, (
        f"run: selfmoa results docs/results --write {page}"
    )


_PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from selfmoa.study._runner import _end_with_parent

if __name__ == "__main__":
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=_end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_an_arm_ends_with_a_study_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    with subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        arm = psutil.Process(int(parent.stdout.readline()))
        assert _runs(arm)
        parent.kill()
    until = time.monotonic() + 30
    while _runs(arm) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _runs(arm)


def _runs(process: psutil.Process) -> bool:
    """A dead process that nobody has reaped yet does not run."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
