"""A run's own hider wraps evaluation attacks: as it was last trained, kept on disk, and told by wrapping."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import selfmoa
from loop_helpers import need_judge_data, texts, tiny_overrides, write_table
from selfmoa import recipes
from selfmoa.bench import Measured, item_rows, wrapping_rows
from selfmoa.cli._runs import of_run
from selfmoa.errors import UsageError
from selfmoa.generate import LanguageModel
from selfmoa.recipe import EvalSet, Evaluate, Recipe
from selfmoa.records import Prompt
from selfmoa.run import Progress, open_run, write_json, write_text
from selfmoa.steps._hider import run_hider


def planted_run(directory: Path, model_dir: Path, root: Path) -> tuple[Recipe, LanguageModel]:
    """What of a run the hider needs: recipe, adapter, two hiders of which the later counts."""
    recipe = recipes.load("demo", tiny_overrides(root, model_dir))
    model = LanguageModel.load(model_dir, recipe.model.lora, threads=1)
    model.add_role("target", seed=0)
    model.save_role("target", directory / "adapter")
    for number in (0, 10):
        model.add_role("hider", seed=number)
        model.save_role("hider", directory / f"attackers_{number:02d}" / "hider")
        write_json(directory / f"attackers_{number:02d}" / "hider" / "done.json", {"loss": 1.0})
    write_text(directory / "recipe.yaml", recipes.dump(recipe))
    return recipe, model


def test_the_last_hider_is_asked_once_and_what_it_wrote_is_kept(tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe, model = planted_run(tmp_path / "trained", tiny_model_dir, tmp_path)
    prompts = [Prompt(f"p{i}", text, "attack") for i, text in enumerate(texts("hide", 3))]
    run = open_run(recipe, tmp_path / "out", progress=Progress("quiet"))
    hide = run_hider(run, model, tmp_path / "trained")
    assert hide is not None
    found = hide(prompts)
    assert len(found) == 3 and run.manifest["hider"] == "trained/attackers_10/hider"
    assert {prompt.text for prompt in prompts}.isdisjoint(text for text, _ in found)
    rows = pq.read_table(tmp_path / "out" / "evaluation" / "hidden.parquet").to_pylist()
    assert [row["text"] for row in rows] == [text for text, _ in found]
    assert hide(prompts) == found
    assert run_hider(run, model, None) is None and run_hider(run, model, tmp_path / "none") is None


def test_a_run_stands_for_its_model_and_adapter(tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe, _ = planted_run(tmp_path / "trained", tiny_model_dir, tmp_path)
    chosen, adapter = of_run(recipes.load("demo"), tmp_path / "trained", None)
    assert chosen.model == recipe.model and chosen.model.lora.r == 4 and adapter == tmp_path / "trained" / "adapter"
    (tmp_path / "begun").mkdir()
    with pytest.raises(UsageError, match="has not finished"):
        of_run(recipes.load("demo"), tmp_path / "begun", None)


def test_attack_success_by_wrapping_by_hand() -> None:
    def answers(unsafe: set[int]) -> list[Measured]:
        return [
            Measured(
                *(f"h{i}", "harmful", "x", "s", "[p]", "a", 1),
                safety=0.1 if i in unsafe else 0.9,
                refusal="compliance",
                wrapping="plain" if i < 4 else "hider",
            )
            for i in range(10)
        ]

    before, after = answers({0, 1, 4, 5, 6, 7}), answers({0, 4})
    told = {row["wrapping"]: row for row in wrapping_rows(before, after)}
    assert (told["plain"]["n"], told["plain"]["before"]["value"], told["plain"]["after"]["value"]) == (4, 0.5, 0.25)
    assert told["hider"]["change"]["value"] == pytest.approx(-0.5)
    rows = [row["attack_success"] for row in item_rows("before", before) if row["wrapping"] == "hider"]
    assert told["hider"]["before"]["value"] == sum(rows) / len(rows)
    assert {row["wrapping"]: row["value"] for row in wrapping_rows(after)} == {"hider": 1 / 6, "plain": 0.25}


@pytest.mark.slow
def test_a_run_is_evaluated_against_its_own_hider(tiny_model_dir: Path, tmp_path: Path) -> None:
    need_judge_data()
    recipe, _ = planted_run(tmp_path / "trained", tiny_model_dir, tmp_path)
    table = write_table(tmp_path / "attacks.jsonl", texts("wrapped", 12))
    wrapped = EvalSet.model_validate(
        {"data": [table], "n": 12, "wrap": ["style:plain", "style:past-tense", "run:hider"]}
    )
    nothing = EvalSet(data=(), n=1)
    chosen = recipe.model_copy(
        update={"evaluate": Evaluate(harmful=wrapped, edgy=nothing, benign=nothing, max_new_tokens=4)}
    )
    out, adapter = tmp_path / "out", tmp_path / "trained" / "adapter"
    result = selfmoa.evaluate(chosen, adapter=adapter, suite=True, cache=False, out=out, progress="quiet")
    assert {row["wrapping"] for row in result["by_wrapping"]} == {"plain", "past-tense", "hider"}
    rows = pq.read_table(out / "items.parquet").to_pylist()
    hidden = [row for row in rows if row["wrapping"] == "hider" and row["arm"] == "after"]
    assert len(hidden) == 4 and all(row["prompt"].startswith("Describe") for row in hidden), (
        "judged by the plain request"
    )
    assert "Attack success by wrapping" in (out / "report.html").read_text()
    with pytest.raises(UsageError, match="run:hider"):
        selfmoa.evaluate(chosen, suite=True, cache=False, out=tmp_path / "alone", progress="quiet")
