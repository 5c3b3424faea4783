"""The model card: valid front matter, figures with n, interval and judge, nothing hostile, no prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

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


def test_a_base_from_the_hub_is_named_without_its_revision(run_dir: Path, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run_dir, copied)
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["model"] = {"ref": "hub:someone/model@0123abc"}
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert _front(write_card(copied).read_text())["base_model"] == "someone/model"


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
