"""The review: what the aligned model gets wrong is one more round and stage, and only then is the update checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import selfmoa
from loop_helpers import need_judge_data, never_blank, tiny_overrides
from selfmoa import recipes
from selfmoa.compare import learnt_from
from selfmoa.errors import TrainingError
from selfmoa.generate import LanguageModel
from selfmoa.records import Attack, Pair, Response
from selfmoa.run import read_json, read_records
from selfmoa.steps import _align, _review


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> selfmoa.Recipe:
    need_judge_data()
    options = [*tiny_overrides(tmp_path, tiny_model_dir), "attack.min_harm=0", "loop.n_rounds=1", "judges.watch=[]"]
    options += [
        "review={n_harmful: 6, n_harmless: 6, lr: 1.0e-4, passes: 1, min_pairs: 2}",
        "stage.steps=[1.0]",
        "prefer.perturbations=[]",
    ]
    options += ["prefer.coherence_min=0", "prefer.unsafe_max_undeclined=0.91", "seeds.own=0"]
    return recipes.load("demo", options)


@pytest.fixture(autouse=True)
def _says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    generate = LanguageModel.generate
    monkeypatch.setattr(
        LanguageModel, "generate", lambda model, *args, **kwargs: never_blank(generate(model, *args, **kwargs))
    )


def declining(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained target declines whatever it is tried on."""
    asked = _review._asked

    def declines(number: int, prompt: Any, refusal: float | None) -> Attack:
        return asked(number, prompt, 1.0)

    monkeypatch.setattr(_review, "_asked", declines)


def test_what_it_gets_wrong_is_trained_on_beside_earlier_pairs(recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    first, second = (read_json(run / f"stage_0{number}" / "stage.json") for number in (1, 2))
    assert first["reason"] == "checked after the review" and first["step"] == 1.0
    assert "refusals of harmless prompts" in second["reason"]
    assert not any("No review" in note for note in read_json(run / "results.json")["warnings"])
    rounds = [read_records(run / f"round_0{number}" / "attacks.parquet", Attack) or [] for number in (1, 2)]
    seeds = [{attack.seed_id for attack in attacks} for attacks in rounds]
    assert not seeds[0] & seeds[1], "nothing is asked twice"
    told = read_json(run / "round_02" / "summary.json")["review"]
    assert told["harmful"][1] == 6 and told["harmless"][1] <= 6
    wrong = [attack for attack in rounds[1] if attack.status == "kept"]
    assert len(wrong) == told["harmful"][0] + told["harmless"][0] > 0
    fresh = read_records(run / "round_02" / "pairs.parquet", Pair) or []
    assert {pair.attack_id for pair in fresh} <= {attack.id for attack in wrong}
    assert second["n_pairs"] == len(fresh) + second["replayed"] and second["replayed"] <= first["n_pairs"]
    page = (run / "report.html").read_text()
    assert "Tried on prompts that no round had asked" in page


def test_a_harmless_prompt_that_it_declines_is_answered_by_the_model_as_it_was(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declining(monkeypatch)
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    attacks = {attack.id: attack for attack in read_records(run / "round_02" / "attacks.parquet", Attack) or []}
    assert {attack.kind for attack in attacks.values() if attack.status == "kept"} <= {"benign", "borderline"}
    assert {attack.reason for attack in attacks.values()} == {"", "declined already"}
    responses = read_records(run / "round_02" / "responses.parquet", Response) or []
    assert [one.untrained for one in responses] == [one.index == 0 for one in responses]
    assert not any(one.untrained for one in read_records(run / "round_01" / "responses.parquet", Response) or [])


def test_it_is_asked_greedily_what_it_greedily_got_wrong(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declining(monkeypatch)
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    tried = {row["text"] for row in pq.read_table(run / "round_02" / "tried.parquet").to_pylist()}
    answers = [one for one in read_records(run / "round_02" / "responses.parquet", Response) or [] if not one.untrained]
    assert answers and all(any(one.text.startswith(text) for text in tried) for one in answers if not one.guided)


def test_a_second_pass_tries_the_same_prompts_on_what_the_first_left(recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    twice = recipe.model_copy(update={"review": recipe.review.model_copy(update={"passes": 2})})
    run = selfmoa.align(twice, run_dir=tmp_path / "run", progress="quiet").directory
    reasons = [read_json(run / f"stage_0{number}" / "stage.json")["reason"] for number in (1, 2, 3)]
    assert reasons[:2] == ["checked after the review"] * 2 and "refusals of harmless prompts" in reasons[2]
    asked = [read_records(run / f"round_0{number}" / "attacks.parquet", Attack) or [] for number in (1, 2, 3)]
    seeds = [{attack.seed_id for attack in attacks} for attacks in asked]
    assert seeds[1] == seeds[2] and not seeds[0] & seeds[1]
    assert not {attack.id for attack in asked[1]} & {attack.id for attack in asked[2]}, "each pair has its own trace"


def test_of_a_later_pass_half_is_kept(recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    scale = _align.scale_update
    monkeypatch.setattr(_align, "scale_update", lambda *args, **kw: kept.append(args[2]) or scale(*args, **kw))
    settings = recipe.review.model_copy(update={"passes": 2, "keep_later": 0.25})
    selfmoa.align(recipe.model_copy(update={"review": settings}), run_dir=tmp_path / "run", progress="quiet")
    assert kept[:3] == [1.0, 1.0, 0.25], "the stage, the first pass and the second"


def test_a_pass_that_finds_too_little_is_the_last(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_review, "_asked", lambda number, prompt, _: _review.as_it_is(number, prompt, "right"))
    often = recipe.model_copy(update={"review": recipe.review.model_copy(update={"passes": 3})})
    run = selfmoa.align(often, run_dir=tmp_path / "run", progress="quiet").directory
    assert "refusals of harmless prompts" in read_json(run / "stage_02" / "stage.json")["reason"]
    assert not (run / "stage_03").exists() and not (run / "round_03").exists()


def test_where_it_gets_nothing_wrong_the_update_is_checked_all_the_same(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_review, "_asked", lambda number, prompt, _: _review.as_it_is(number, prompt, "right"))
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    second = read_json(run / "stage_02" / "stage.json")
    assert second["n_pairs"] == 0 and second["train_loss"] is None
    assert "stage_02/metrics.jsonl" not in (run / "report.html").read_text(), "it is not missing"
    assert "refusals of harmless prompts" in second["reason"]


def test_a_review_that_the_check_does_not_accept_is_undone_before_less_is_kept(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = iter(["rejected", "accepted"])
    check = _align.stage_check
    monkeypatch.setattr(_align, "stage_check", lambda *args, **kw: replace(check(*args, **kw), verdict=next(verdicts)))
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    second = read_json(run / "stage_02" / "stage.json")
    assert second["verdict"] == "accepted" and second["kept"] and second["step"] == 1.0 and second["n_pairs"] > 0
    assert second["reason"].endswith("; without the last review")
    weights = [(run / f"stage_0{number}" / "adapter" / "adapter_model.safetensors").read_bytes() for number in (1, 2)]
    assert weights[0] == weights[1], "the target is what the stage before the review left"
    assert {path.stem for path in (run / "dev").glob("stage_02*")} == {"stage_02_1", "stage_02_without_1"}


def test_stopped_in_the_review_it_goes_on_to_the_same_adapter(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = selfmoa.align(recipe, run_dir=tmp_path / "whole", progress="quiet").directory
    with monkeypatch.context() as patched:
        patched.setattr(_review, "align_target", _stop)
        with pytest.raises(KeyboardInterrupt):
            selfmoa.align(recipe, run_dir=tmp_path / "broken", progress="quiet")
    broken = selfmoa.align(recipe, run_dir=tmp_path / "broken", on_existing="resume", progress="quiet").directory
    adapters = [(run / "adapter" / "adapter_model.safetensors").read_bytes() for run in (whole, broken)]
    assert adapters[0] == adapters[1]
    assert read_json(broken / "stage_02" / "stage.json")["step"] == read_json(whole / "stage_02" / "stage.json")["step"]


def test_after_a_stage_that_failed_nothing_is_reviewed_nor_when_it_is_read_again(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(*_: object, **__: object) -> None:
        raise TrainingError("the loss is not finite")

    run = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("selfmoa.steps._align.align", diverges)
        patched.setattr("selfmoa.loop.steps.conclude", _stop)
        with pytest.raises(KeyboardInterrupt):
            selfmoa.align(recipe, run_dir=run, progress="quiet")
    assert read_json(run / "stage_01" / "stage.json")["verdict"] == "failed"
    selfmoa.align(recipe, run_dir=run, on_existing="resume", progress="quiet")
    assert not (run / "stage_02").exists() and not (run / "round_02").exists()
    warned = read_json(run / "results.json")["warnings"]
    assert sum(note.startswith("No review took place") for note in warned) == 1


def test_a_review_whose_training_fails_is_said_to_and_counts_no_pairs(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trains = _align.align

    def diverges(*args: Any, directory: Path, **kw: Any) -> Any:
        if directory.name == "stage_02":
            raise TrainingError("the loss is not finite")
        return trains(*args, directory=directory, **kw)

    monkeypatch.setattr(_align, "align", diverges)
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet").directory
    first, second = (read_json(run / f"stage_0{number}" / "stage.json") for number in (1, 2))
    assert second["reason"].endswith("; its own training failed: the loss is not finite")
    assert "refusals of harmless prompts" in second["reason"], "what waited is checked"
    assert second["n_pairs"] == second["replayed"] == 0 and learnt_from([first, second]) == first["n_pairs"]


def test_a_second_pass_that_trains_nothing_leaves_the_first_to_be_undone(
    recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _review._asked

    def wrong_once(number: int, prompt: Any, refusal: float | None) -> Attack:
        return asked(number, prompt, refusal) if number == 2 else _review.as_it_is(number, prompt, "right")

    monkeypatch.setattr(_review, "_asked", wrong_once)
    verdicts = iter(["rejected", "accepted"])
    check = _align.stage_check
    monkeypatch.setattr(_align, "stage_check", lambda *args, **kw: replace(check(*args, **kw), verdict=next(verdicts)))
    twice = recipe.model_copy(update={"review": recipe.review.model_copy(update={"passes": 2})})
    run = selfmoa.align(twice, run_dir=tmp_path / "run", progress="quiet").directory
    third = read_json(run / "stage_03" / "stage.json")
    assert third["n_pairs"] == 0 and third["reason"].endswith("; without the last review")
    weights = [(run / f"stage_0{number}" / "adapter" / "adapter_model.safetensors").read_bytes() for number in (1, 3)]
    assert weights[0] == weights[1]


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
