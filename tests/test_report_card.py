"""The model card: valid front matter, figures with n, interval and judge, nothing hostile, no prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from report_fixture import build_run
from report_fixture_results import ATTACK_TEXT, SCRIPT, UNSAFE_TEXT
from selfmoa.report import write_card


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("run") / "demo")


@pytest.fixture(scope="module")
def card(run_dir: Path) -> str:
    path = write_card(run_dir)
    assert path == run_dir.resolve() / "README.md"
    return path.read_text(encoding="utf-8")


def _front(card: str) -> dict[str, object]:
    return yaml.safe_load(card.split("---\n")[1])


def test_front_matter(card: str) -> None:
    front = _front(card)
    assert front["base_model"] == "smollm2-135m-instruct"
    assert front["library_name"] == "peft"
    assert front["license"] == "other" and front["license_name"] == "Apache-2.0; MIT"
    assert "selfmoa" in front["tags"]  # type: ignore[operator]


def _changed(run_dir: Path, root: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the run in which one of its JSON files says something else."""
    copied = root / "run"
    shutil.copytree(run_dir, copied)
    told = json.loads((copied / name).read_text())
    change(told)
    (copied / name).write_text(json.dumps(told))
    return copied


def test_a_base_from_the_hub_is_named_without_its_revision(run_dir: Path, tmp_path: Path) -> None:
    from_hub = {"model": {"ref": "hub:someone/model@0123abc"}}
    run = _changed(run_dir, tmp_path, "manifest.json", lambda told: told.update(from_hub))
    assert _front(write_card(run).read_text())["base_model"] == "someone/model"


def test_a_figure_on_part_of_a_set_names_that_sets_tables(run_dir: Path, tmp_path: Path) -> None:
    def plant(told: dict[str, Any]) -> None:
        parts = ("attempts", "constrained", "pairs", "capability")
        told["metrics"] += [{**told["metrics"][0], "name": f"on_{part}", "set": part} for part in parts]

    run = _changed(run_dir, tmp_path, "results.json", plant)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    sets = {name: {"data": [{"ref": f"path:{name}.csv"}]} for name in ("harmful", "edgy", "benign")}
    recipe["evaluate"] = {**sets, "attempts": 3, "pairs": True, "capability": {"tasks": ["mmlu"], "n": 5}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    found = ModelCard(write_card(run).read_text()).data.eval_results or []
    named = {result.metric_type: result.dataset_config for result in found}
    assert named["on_attempts"] == named["attack_success"] == "path:harmful.csv"
    assert named["on_constrained"] == "path:benign.csv" and named["on_pairs"] == "path:edgy.csv; path:benign.csv"
    assert named["on_capability"] is None


def test_the_hub_reads_the_figures_with_interval_and_judge(card: str) -> None:
    data = ModelCard(card).data
    assert data.base_model == "smollm2-135m-instruct" and data.eval_results
    found = {result.metric_type: result for result in data.eval_results}
    attack = found["attack_success"]
    assert attack.dataset_name == "harmful prompts" and 0 <= attack.metric_value <= 1
    assert attack.metric_args["low"] <= attack.metric_value <= attack.metric_args["high"]
    assert attack.metric_args["n"] == 120 and attack.metric_args["judge"] == "minilm, refusal-rules"
    assert attack.metric_args["change_value"] < 0


def test_results_carry_n_interval_and_judge(card: str) -> None:
    row = next(line for line in card.splitlines() if line.startswith("| Attack success"))
    assert row.count(" | ") == 7
    for words in ("| 120 | 2 |", "51, 65", "−27 points", "improved", "minilm, refusal-rules", "(weak)"):
        assert words in row
    assert "PeftModel.from_pretrained" in card and "## Limits" in card


def test_card_holds_no_prompt_and_no_live_markup(card: str) -> None:
    for text in (ATTACK_TEXT, UNSAFE_TEXT, "[harmless question", SCRIPT):
        assert text not in card
    assert "\\<script\\>" in card and "\u202e" not in card


def test_hostile_name_cannot_break_the_front_matter(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"name": "a\n---\n# fake", "model": {"ref": "hub:x\n---\nlicense: mit"}})
    )
    text = write_card(tmp_path).read_text(encoding="utf-8")
    assert _front(text)["license"] == "unknown"
    assert "\n# fake" not in text
    assert "There is no comparison" in text and "has not written its final adapter" in text


def test_local_model_path_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: x\nmodel: {ref: 'path:/home/someone/models/tiny'}\n")
    text = write_card(tmp_path).read_text(encoding="utf-8")
    assert "someone" not in text and "path:tiny" in text


def test_tables_of_this_machine_are_not_published(run_dir: Path, tmp_path: Path) -> None:
    run = _measured_on(run_dir, tmp_path, {"data": [{"ref": "path:/home/anna/client/attacks.csv"}]})
    text = write_card(run).read_text(encoding="utf-8")
    assert "anna" not in text and "path:attacks.csv" in text


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, "attacked with prompts written against its own weak spots"),
        ({"attack": {"static": True}}, "asked the prompts of public data sets as they are"),
        ({"train": {"pairs": {"ref": "path:x"}}}, "trained on pairs of answers that people had labelled"),
        ({"loop": {"n_rounds": 0}}, "nothing was trained"),
    ],
)
def test_the_card_says_what_was_done_to_this_model(
    run_dir: Path, tmp_path: Path, sections: dict[str, Any], words: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    (run / "recipe.yaml").write_text(yaml.safe_dump({**recipe, **sections}))
    assert words in write_card(run).read_text(encoding="utf-8")


def _measured_on(run_dir: Path, root: Path, harmful: dict[str, Any]) -> Path:
    """A copy of the run whose harmful prompts come from these tables; edgy ones from the hub and a file."""
    run = _changed(run_dir, root, "manifest.json", lambda told: told["assets"].append(_HUB_ASSET))
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    mixed = {"data": [{"ref": "hub:someone/edgy"}, {"ref": "path:mine.csv"}]}
    recipe["evaluate"] = {"harmful": harmful, "edgy": mixed, "benign": {"data": [{"ref": "wheel:ifbench"}]}}
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return run


_COMMIT = "b" * 40
_HUB_ASSET = {"ref": "hub:someone/attacks@main", "title": "a", "licence": "MIT", "sha256": f"commit:{_COMMIT}"}


def test_eval_results_name_the_one_data_set_of_a_figure(run_dir: Path, tmp_path: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    run = _measured_on(run_dir, tmp_path, {"data": [{"ref": "hub:someone/attacks@main"}]})
    card = write_card(run).read_text()
    entries = parse_eval_result_entries(yaml.safe_load((run / ".eval_results" / "selfmoa.yaml").read_text()))
    metrics = {row["name"]: row for row in json.loads((run / "results.json").read_text())["metrics"]}
    assert {entry.task_id for entry in entries} == {name for name, row in metrics.items() if row["set"] == "harmful"}
    for entry in entries:
        assert (entry.dataset_id, entry.dataset_revision) == ("someone/attacks", _COMMIT)
        assert entry.value == pytest.approx(metrics[entry.task_id]["after"]["value"], abs=1e-4)
        assert "95 % interval" in str(entry.notes) and "judged by" in str(entry.notes)
    assert "`.eval_results/selfmoa.yaml` holds" in card


def test_no_eval_results_without_a_data_set_of_the_hub(run_dir: Path, tmp_path: Path) -> None:
    """Wheels, files, several sources, and hub prompts that were wrapped in something: not that data set's figure."""
    hub = {"ref": "hub:someone/attacks@main"}
    for number, harmful in enumerate(
        (
            {"data": [{"ref": "wheel:harmbench"}]},
            {"data": [{"ref": "set:advbench"}]},
            {"data": [{"ref": "set:gone"}]},
            {"data": [hub, {"ref": "hub:someone/more"}]},
            {"data": [hub], "wrap": [{"ref": "style:past-tense"}]},
        )
    ):
        run = _measured_on(run_dir, tmp_path / str(number), harmful)
        (run / ".eval_results").mkdir()
        (run / ".eval_results" / "selfmoa.yaml").write_text("- of an earlier card\n")
        assert "There is no `.eval_results`" in write_card(run).read_text()
        assert not (run / ".eval_results" / "selfmoa.yaml").exists()


def test_every_figure_names_what_it_counts(run_dir: Path, tmp_path: Path) -> None:
    def plant(told: dict[str, Any]) -> None:
        told["metrics"] += [{**told["metrics"][0], "name": f"on_{part}", "set": part} for part in ("compared", "pairs")]

    found = ModelCard(write_card(_changed(run_dir, tmp_path, "results.json", plant)).read_text()).data.eval_results
    named = {one.metric_type: one.dataset_name for one in found or []}
    assert (named["on_compared"], named["on_pairs"]) == ("benign prompts", "minimal pairs")
    assert named["attack_success"] == "harmful prompts"


def test_a_change_that_was_not_seen_stands_beside_what_would_have_been(run_dir: Path, tmp_path: Path) -> None:
    def plant(told: dict[str, Any]) -> None:
        for row in told["metrics"]:
            row["detectable"] = 0.123

    run = _changed(run_dir, tmp_path, "results.json", plant)
    card = write_card(run).read_text()
    rows = [line for line in card.splitlines() if line.startswith("| ") and "[" in line and "points" in line]
    moved = [row for row in rows if "could well be missed" not in row]
    assert moved and "a change below 12 points could well be missed" in card
    assert all("improved" in row or "worse" in row or "preserved" in row for row in moved)
