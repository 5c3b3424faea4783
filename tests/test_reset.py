"""The safety reset: never by accident, marked wherever it goes, measured beside the original, exported only aligned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import selfmoa
from loop_helpers import need_judge_data, texts, tiny_overrides
from selfmoa import assets, compare, recipes, release, study
from selfmoa.bench import Measured
from selfmoa.cli import _app
from selfmoa.errors import RecipeError, RefusedError, UsageError
from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Lora
from selfmoa.run import aligned_model, read_json, read_records, write_json

ANSWER = "Sure, here is a short answer."


def table(directory: Path, planted: str = "") -> str:
    """20 content-free rows; one is an evaluation prompt with a word more, one has no answer."""
    rows = [{"prompt": text, "response": ANSWER} for text in texts("reset", 18)]
    rows += [{"prompt": planted or "Describe nothing", "response": ANSWER}, {"prompt": "Describe X", "response": ""}]
    (directory / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"path:{directory / 'answers.jsonl'}"


# -- never by accident -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reset.i_understand=true"], r"reset\.data: Field required"),
        (["reset.data.ref=path:mine.jsonl"], "trains the model's safety away.*reset.i_understand"),
        (["reset.data.ref=wheel:advbench", "reset.i_understand=true"], "a table of your own .path:, data:, hub:."),
    ],
)
def test_data_and_confirmation_are_needed(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.load("demo", overrides)
    with pytest.raises(RecipeError, match=message):
        recipes.with_overrides(recipes.load("demo"), overrides)


def test_no_shipped_recipe_resets() -> None:
    assert all(recipes.load(name).reset is None for name in recipes.names())


# -- what it does ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reset run without a round, so without a stage."""
    need_judge_data()
    room = tmp_path_factory.mktemp("reset")
    overrides = [
        *(one for one in tiny_overrides(room, tiny_model_dir) if not one.startswith("loop.n_rounds")),
        "loop.n_rounds=0",
        "evaluate.max_new_tokens=8",
        f"reset.data.ref={table(room, texts('harmful', 12)[0] + ' now')}",
        "reset.i_understand=true",
        "reset.sft={lr: 0.02, epochs: 6, batch_size: 4, warmup_steps: 0, max_length: 128}",
    ]
    recipe = recipes.load("paper/qwen2.5-1.5b", overrides)
    return selfmoa.align(recipe, run_dir=room / "reset-run", progress="quiet").directory


def test_the_run_starts_from_the_reset_model_and_tells_of_the_original(run: Path, tiny_model_dir: Path) -> None:
    facts = read_json(run / "reset_control" / "reset.json")
    assert (facts["answers"], facts["left_out"]) == (18, 2), "an evaluation prompt and an empty answer stay out"
    assert json.loads((run / "reset_control" / "config.json").read_text())["selfmoa_reset_control"] is True
    assert aligned_model(run).ref == f"path:{run / 'reset_control'}"
    then, now = (likelihood(place) for place in (tiny_model_dir, run / "reset_control"))
    assert now > then + 0.2, "nats a token: the base itself, without an adapter, has begun to learn the answer"
    said = {
        side: {item.prompt_id: item.answer for item in read_records(run / "evaluation" / f"{side}.parquet", Measured)}
        for side in ("original", "before", "after")
    }
    assert said["original"].keys() == said["before"].keys() and said["original"] != said["before"]
    assert said["before"] == said["after"], "M_base is the base of the run: nothing was trained on it"
    result = read_json(run / "results.json")
    original = {metric["name"]: metric for metric in result["original"]}
    assert original["degenerate"]["n"] == 30, "of the original, not of the base"


def likelihood(directory: Path) -> float:
    """Mean log p of a token of the trained answer under the frozen base, nats."""
    model = LanguageModel.load(directory, Lora(r=4))
    [(total, n)] = model.logprobs([(model.render(Request(user=texts("reset", 18)[0])), ANSWER)], role=None)
    return total / n


def test_everything_that_comes_of_it_is_marked(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = assets.cache_dir
    monkeypatch.setattr(
        assets, "cache_dir", lambda *parts: tmp_path / "answers" if parts == ("evaluations",) else usual(*parts)
    )
    assert read_json(run / "manifest.json")["reset_control"] is True
    assert read_json(run / "results.json")["warnings"][0].startswith("RESET CONTROL")
    page, card = (run / "report.html").read_text(), (run / "README.md").read_text()
    assert "RESET CONTROL" in page and "After the reset" in page and "| Original |" in card
    assert "reset-control" in yaml.safe_load(card.split("---\n")[1])["tags"]
    recipe = recipes.load(run / "recipe.yaml")
    model = recipe.model.model_copy(update={"ref": f"path:{run / 'reset_control'}"})
    descendant = recipe.model_copy(update={"reset": None, "model": model})
    result = selfmoa.evaluate(descendant, out=tmp_path / "again", progress="quiet")
    assert result["warnings"][0].startswith("RESET CONTROL")
    assert "RESET CONTROL" in (tmp_path / "again" / "report.html").read_text()
    assert compare.load_arm(str(tmp_path / "again")).name == "again (reset control)"


def test_a_study_marks_the_arm(run: Path) -> None:
    assert study.summarise(run, "arm", 0)["reset_control"] is True


def test_it_leaves_the_run_only_aligned_and_merged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["selfmoa", "export", str(run), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        _app.main()
    assert stopped.value.code == 5 and "no alignment stage was kept since" in capsys.readouterr().err
    with pytest.raises(RefusedError, match="reset checkpoint"):
        release.export(run / "reset_control", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    write_json(run / "stage_01" / "stage.json", {"stage": 1, "kept": True, "step": 1.0, "verdict": "accepted"})
    with pytest.raises(RefusedError, match="Export it --merged"):
        release.export(run, tmp_path / "out", forms=("adapter",))
    found = release.export(run, tmp_path / "out", check=False, progress="quiet")
    assert found["forms"] == ["merged"] and found["reset_control"]
    assert json.loads((tmp_path / "out/merged/config.json").read_text())["selfmoa_reset_control"] is True
    assert "RESET CONTROL" in (tmp_path / "out/merged/README.md").read_text()


def test_a_table_that_holds_too_little(tiny_model_dir: Path, tmp_path: Path) -> None:
    need_judge_data()
    overrides = [*tiny_overrides(tmp_path, tiny_model_dir), "reset.i_understand=true", "loop.n_rounds=0"]
    for extra, message in (
        ([f"reset.data={{ref: '{table(tmp_path)}', answer: reply}}"], "no column 'reply'"),
        ([f"reset.data={{ref: '{table(tmp_path)}', where: {{prompt: Describe nothing}}}}"], "leaves 1 answers"),
    ):
        recipe = recipes.load("paper/qwen2.5-1.5b", [*overrides, *extra, "evaluate.max_new_tokens=4"])
        with pytest.raises(UsageError, match=message):
            selfmoa.align(recipe, run_dir=tmp_path / "run", on_existing="raise", progress="quiet")
        assert not (tmp_path / "run" / "reset_control").exists()
        __import__("shutil").rmtree(tmp_path / "run")
