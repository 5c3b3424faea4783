"""What a run will cost: the recipe's work at calibrated rates, the calibration itself, plan and report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from report_fixture import build_run
from selfmoa import api, estimate, recipes
from selfmoa.estimate import Calibration, calibrate, find_calibration
from selfmoa.estimate import estimate as steps_of
from selfmoa.recipe import Recipe
from selfmoa.report import write_report
from test_cli import selfmoa

RATES = Calibration(
    load_seconds=5.0,
    sample_seconds=0.01,
    read_seconds=0.001,
    train_seconds=0.02,
    prompt_tokens=40.0,
    filled=0.8,
    peak_mb=2000.0,
)


BOTH = ("n_harmful", "n_harmless")
TWO_ROUNDS = ["loop.n_rounds=2", "review={n_harmful: 200, n_harmless: 300, passes: 3}"]


def _seconds(recipe: Recipe, rates: Calibration = RATES) -> dict[str, float]:
    return {step.name: step.seconds for step in steps_of(recipe, rates)}


def test_every_step_of_the_loop_is_named_as_it_is_measured() -> None:
    names = set(_seconds(recipes.load("demo", [*TWO_ROUNDS, "train.align_at=64"])))
    rounds = {f"round {number} {part}" for number in (1, 2) for part in ("attack", "sample", "score")}
    review = {f"round {number} {part}" for number in (3, 4, 5) for part in ("try", "sample", "score")}
    assert names == rounds | review | {
        "prepare",
        "evaluate before",
        "stage checks",
        "train expander",
        "train hider",
        "stage 1 train",
        "stage 2 train",
        "stage 3 train",
        "stage 4 train",
        "stage 5 train",
        "evaluate after",
    }


def test_what_a_recipe_does_not_do_costs_nothing() -> None:
    static = _seconds(recipes.load("baselines/static_dpo"))
    assert {"train expander", "train hider", "round 1 attack"}.isdisjoint(static) and "round 1 sample" in static
    assert _seconds(recipes.load("demo", ["seeds.own=0"]))["prepare"] == RATES.load_seconds
    human = {step.name: step for step in steps_of(recipes.load("baselines/human_modpo"), RATES)}
    assert set(human) == {"prepare", "evaluate before", "stage checks", "stage 1 train", "evaluate after"}
    assert human["stage 1 train"].tokens == 1000 * 2 * 320, "pairs of people: the most that they can hold"


def test_the_figures_are_the_recipes_work() -> None:
    changes = [
        "loop.n_rounds=2",
        "attack.k=76",
        "generate.m=5",
        "generate.sampling.max_new_tokens=52",
        "generate.guided_drop_share=0.1",
    ]
    recipe = recipes.load("demo", changes)
    found = {step.name: step for step in steps_of(recipe, RATES)}
    sampled = 76 * 5 * 52 * 0.8
    assert found["round 1 sample"].tokens == pytest.approx(sampled)
    assert found["round 1 sample"].seconds == pytest.approx(sampled * 0.01 + (sampled + 76 * 5 * 40) * 0.001)
    none_dropped = recipes.with_overrides(recipe, ["generate.guided_drop_share=0"])
    assert _seconds(none_dropped)["round 1 sample"] == pytest.approx(sampled * 0.01), "nothing is read"
    assert _seconds(recipe, replace(RATES, train_seconds=0.04))["stage 1 train"] == pytest.approx(
        2 * found["stage 1 train"].seconds
    )
    longer = _seconds(recipes.load("demo", ["loop.n_rounds=4"]))
    assert sum(longer.values()) > 1.3 * sum(_seconds(recipe).values())
    most, none = (
        _seconds(recipes.load("demo", [*TWO_ROUNDS, *(f"review.{name}=0" for name in names)])) for names in ((), BOTH)
    )
    reviews = {f"round {number} {part}" for number in (3, 4, 5) for part in ("try", "sample", "score")}
    assert most.keys() - none.keys() == reviews | {f"stage {number} train" for number in (2, 3, 4)}
    half, whole = (_seconds(recipes.load("demo", [f"attack.rewritten={share}"])) for share in (0.5, 1))
    assert half["round 1 attack"] == pytest.approx(whole["round 1 attack"] / 2), "seeds as they are cost nothing"
    assert most["stage checks"] == none["stage checks"], "the stage before a review is not checked"
    assert most["round 3 sample"] > most["round 4 sample"] == most["round 5 sample"], "less is left to find"
    without = _seconds(recipes.load("demo", ["stage.check=false", "attack.hide=false"]))
    assert not {"stage checks", "train hider"} & set(without)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFMOA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_model_is_measured_once(own_cache: Path, tiny_model_dir: Path) -> None:
    changes = ["generate.batch_size=4", "generate.sampling.max_new_tokens=8", f"model.ref=path:{tiny_model_dir}"]
    recipe = recipes.load("demo", changes)
    assert estimate.estimated(recipe) is None
    rates = calibrate(recipe)
    assert 0 < rates.filled <= 1 and rates.peak_mb > 100 and rates.sample_seconds > 0
    assert rates.prompt_tokens > 5 and rates.read_seconds < rates.train_seconds
    assert find_calibration(recipe) == rates
    other = recipes.with_overrides(recipe, ["train.micro_batch_size=1"])
    assert find_calibration(other) is None, "what the recipe keeps in memory belongs to the measurement"
    found = estimate.estimated(recipe)
    assert found is not None and found["seconds"] == pytest.approx(
        sum(step["seconds"] for step in found["steps"].values()), abs=1.0
    )
    file = next((own_cache / "calibrations").iterdir())
    for broken in ('{"peak_mb": 3}', "[]", "{", json.dumps({**json.loads(file.read_text()), "sample_seconds": -1})):
        file.write_text(broken)
        assert find_calibration(recipe) is None, "a broken cache is a miss"


def test_a_dry_run_measures_nothing(own_cache: Path) -> None:
    assert api.plan(recipes.load("demo"))["estimate"] is None
    done = selfmoa("align", "demo", "--dry-run")
    assert done.returncode == 0 and "not measured on this machine yet" in done.stdout
    assert not list((own_cache / "calibrations").iterdir())


@pytest.mark.parametrize(
    ("words", "expected"), [(("plan", "dmo"), "Did you mean 'demo'?"), (("plan", "path:/nowhere"), "/nowhere")]
)
def test_bad_input_is_one_clear_error(own_cache: Path, words: tuple[str, ...], expected: str) -> None:
    done = selfmoa(*words)
    assert done.returncode in (2, 4) and expected in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1


def test_the_report_shows_estimate_beside_actual(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run")
    assert "Estimated" not in write_report(run).read_text(encoding="utf-8")
    steps = {"evaluate before": {"seconds": 200.0, "tokens": 9000}, "evaluate after": {"seconds": 100.0, "tokens": 1}}
    (run / "estimate.json").write_text(json.dumps({"seconds": 300.0, "peak_mb": 2345, "steps": steps}))
    page = write_report(run).read_text(encoding="utf-8")
    assert "Estimated before the start" in page and "5 min" in page and "3 min 20 s" in page
    (run / "estimate.json").write_text('{"steps": [1]}')
    assert "Estimated" not in write_report(run).read_text(encoding="utf-8")
