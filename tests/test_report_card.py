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
