"""What leaves a run: copies that answer as the run's own adapter, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from loop_helpers import need_judge_data, texts, tiny_overrides, write_table
from selfmoa import assets, recipes, release
from selfmoa.bench import Measured
from selfmoa.cli import _app
from selfmoa.errors import GateFailed, RefusedError, RunExistsError, UsageError
from selfmoa.generate import LanguageModel
from selfmoa.recipe import Lora, Recipe
from selfmoa.run import Progress, open_run, read_json, read_records, write_json
from selfmoa.steps import load_model
from selfmoa.train import lora_shape, restore, snapshot, write_scaled, write_soup


@pytest.fixture(scope="module")
def run(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run with one kept stage leaves: recipe, manifest, adapter. Treat as read-only."""
    need_judge_data()
    room = tmp_path_factory.mktemp("release")
    recipe = recipes.load("paper/qwen2.5-1.5b", tiny_overrides(room, tiny_model_dir))
    return made_run(recipe, room / "tiny", seed=1)


def made_run(recipe: Recipe, directory: Path, seed: int) -> Path:
    made = open_run(recipe, directory, progress=Progress("quiet"))
    made.update_manifest(
        model={"ref": recipe.model.ref}, assets=[asdict(info) for info in assets.plan(recipe)], reset_control=False
    )
    model, _ = load_model(recipe)
    torch.manual_seed(seed)
    restore(model, "target", {key: 0.3 * torch.randn_like(old) for key, old in snapshot(model, "target").items()})
    model.save_role("target", directory / "adapter")
    write_json(directory / "stage_01" / "stage.json", {"stage": 1, "kept": True, "step": 1.0, "verdict": "accepted"})
    made.finish()
    return directory


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> str:
    room = tmp_path_factory.mktemp("suite")
    sets = {
        name: {"data": [write_table(room / f"{name}.jsonl", texts(f"suite {name}", 12))], "n": 10}
        for name in ("harmful", "edgy", "benign")
    }
    path = room / "mine.yaml"
    path.write_text(yaml.safe_dump({"evaluate": {**sets, "max_new_tokens": 8}}))
    return str(path)


@pytest.fixture(autouse=True)
def own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of earlier evaluations are kept in the test's directory."""
    usual = assets.cache_dir
    monkeypatch.setattr(
        assets, "cache_dir", lambda *parts: tmp_path / "answers" if parts == ("evaluations",) else usual(*parts)
    )


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    return Path(shutil.copytree(run, tmp_path / "copied"))


def command(*words: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and what was printed, in this process: torch is loaded once."""
    monkeypatch.setattr("sys.argv", ["selfmoa", *map(str, words)])
    code = 0
    try:
        _app.main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    told = capsys.readouterr()
    return code, told.out + told.err


# -- export ----------------------------------------------------------------------------------------------


def test_both_forms_answer_as_the_run_does(
    run: Path,
    suite: str,
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    words = ("export", run, "--out", out, "--suite", suite, "--quiet")
    code, printed = command(*words, capsys=capsys, monkeypatch=monkeypatch)
    assert code == 0 and "30 of 30 greedy answers are the same text (100.0%)" in printed, printed
    found = read_json(out / "export.json")
    assert found["kept_stages"] == 1 and found["check"]["required_share"] == release.SAME_TEXTS
    for copy in found["check"]["copies"].values():
        assert (copy["n"], copy["same"]) == (30, 30)
        assert {row["name"] for row in copy["figures"]} > {"attack_success", "over_refusal", "helpfulness_harmless"}
        assert all(row["difference"]["value"] == 0 for row in copy["figures"])
    check_files(out, run, tiny_model_dir)
    kept = [path.name for path in (run / "export_check").rglob("*.parquet")]
    assert {"after.parquet", "before.parquet"} <= set(kept), "answers stay in the run"


def check_files(out: Path, run: Path, base: Path) -> None:
    """Each copy is whole by itself, says what it is, and names no place of this machine."""
    names = {form: {path.name for path in (out / form).iterdir()} for form in ("adapter", "merged")}
    assert {"tokenizer.json", "chat_template.jinja", "README.md"} <= names["adapter"] & names["merged"]
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names["adapter"]
    assert {"model.safetensors", "config.json", "generation_config.json"} <= names["merged"]
    words = [path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".md", ".jinja")]
    assert not any(str(place) in text for place in (base, run, run.parent.parent) for text in words)
    assert not any("Describe " in text for text in words), "no prompt leaves the run"
    cards = {form: (out / form / "README.md").read_text() for form in names}
    assert all("30 greedy answers (100.0%)" in card.replace("\\", "") for card in cards.values())
    fronts = {form: yaml.safe_load(card.split("---\n")[1]) for form, card in cards.items()}
    assert (fronts["adapter"]["library_name"], fronts["merged"]["library_name"]) == ("peft", "transformers")
    assert fronts["merged"]["license"] == fronts["adapter"]["license"] != ""
    # W + (alpha / r) B A, computed here
    weights, lora = (
        load_file(out / "merged" / "model.safetensors"),
        load_file(run / "adapter/adapter_model.safetensors"),
    )
    config = read_json(run / "adapter" / "adapter_config.json")
    plain = AutoModelForCausalLM.from_pretrained(base).state_dict()
    name = "model.layers.0.self_attn.q_proj"
    b, a = (lora[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
    expected = plain[f"{name}.weight"] + config["lora_alpha"] / config["r"] * b @ a
    torch.testing.assert_close(weights[f"{name}.weight"], expected)
    assert not torch.equal(weights[f"{name}.weight"], plain[f"{name}.weight"]), "the stage changed something"
    assert AutoTokenizer.from_pretrained(out / "merged").chat_template


def test_a_copy_that_is_another_model_is_not_passed(
    run: Path, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfmoa.generate import _base

    def twice(directory: Path, adapter: Path, out: Path) -> None:
        """The adapter at a wrong strength."""
        net, tokenizer = _base.load_plain(directory, adapter)
        for _, weight in (pair for pair in net.named_parameters() if "lora_B" in pair[0]):
            weight.data.mul_(-9)
        net.merge_and_unload().save_pretrained(out)
        tokenizer.save_pretrained(out)

    monkeypatch.setattr(_base, "write_merged", twice)
    with pytest.raises(GateFailed, match=r"same text on \d+ of 30 prompts, expected at least 98%"):
        release.export(run, tmp_path / "out", forms=("merged",), suite=suite, progress="quiet")
    assert read_json(tmp_path / "out" / "export.json")["check"]["copies"]["merged"]["same_share"] < 0.98


def test_one_form_unchecked(run: Path, tmp_path: Path) -> None:
    found = release.export(run, tmp_path / "out", forms=("adapter",), check=False, progress="quiet")
    assert found["check"] is None and [path.name for path in (tmp_path / "out").glob("*")] != []
    assert not (tmp_path / "out" / "merged").exists()
    assert "was not checked" in (tmp_path / "out" / "adapter" / "README.md").read_text()


def test_a_run_without_a_kept_stage_says_so(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = copied / "stage_01" / "stage.json"
    write_json(stage, {**read_json(stage), "kept": False, "step": 0.0, "verdict": "rejected"})
    words = ("export", copied, "--out", tmp_path / "out", "--no-check", "--adapter", "--quiet")
    code, printed = command(*words, capsys=capsys, monkeypatch=monkeypatch)
    assert code == 0 and "no alignment stage of this run was kept" in printed
    assert "the unaligned model" in (tmp_path / "out" / "adapter" / "README.md").read_text()
    assert read_json(tmp_path / "out" / "export.json")["kept_stages"] == 0


def test_stages_that_waited_for_a_check_fall_with_it(tmp_path: Path) -> None:
    waits = {"kept": True, "reason": "checked after the review"}
    for number, stage in enumerate([waits, {"kept": False, "reason": "refusals rose"}], start=1):
        write_json(tmp_path / f"stage_0{number}" / "stage.json", stage)
    assert release.kept_stages(tmp_path) == 0
    write_json(tmp_path / "stage_02" / "stage.json", {"kept": True, "reason": "fine"})
    assert release.kept_stages(tmp_path) == 2


def test_other_weights_under_the_same_name_are_refused(copied: Path, tmp_path: Path) -> None:
    manifest = read_json(copied / "manifest.json")
    write_json(copied / "manifest.json", {**manifest, "model": {**manifest["model"], "key": "0" * 64}})
    with pytest.raises(UsageError, match="was made from other weights"):
        release.export(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported(run: Path, copied: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run directory"):
        release.export(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(UsageError, match="not empty"):
        release.export(run, run)
    shutil.rmtree(copied / "adapter")
    with pytest.raises(UsageError, match="without an adapter"):
        release.export(copied, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- front -----------------------------------------------------------------------------------------------


def test_the_front_measures_every_point_and_saves_the_chosen_one(
    run: Path, suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "front"
    words = ("front", run, "--at", "1", "0.5", "--suite", suite, "--out", out, "--choose", "0.5", "--quiet")
    code, printed = command(*words, capsys=capsys, monkeypatch=monkeypatch)
    assert code == 0 and "Adapter at 0.5" in printed, printed
    found = read_json(out / "front.json")
    assert [point["at"] for point in found["points"]] == [0.5, 1]
    check_front(found["points"], out)
    assert "Safety against helpfulness" in (out / "front.html").read_text()
    assert "lies in no run" not in (out / "at-0.5" / "results.json").read_text(), "kept apart from the run's seeds"
    whole, half = (load_file(place / "adapter_model.safetensors") for place in (run / "adapter", out / "adapter"))
    assert all(torch.equal(half[key], (0.5 if "lora_B" in key else 1) * old) for key, old in whole.items())
    assert read_json(out / "adapter" / "point.json")["at"] == 0.5
    monkeypatch.setattr(LanguageModel, "generate", lambda *_, **__: pytest.fail("answered again"))
    again = release.front(run, out, at=(0.5, 1), suite=suite, progress="quiet")
    assert again["points"] == found["points"]
    kept = (out / "at-0.5" / "results.json").read_bytes()
    for place, which in ((out, "standard"), (run, suite)):  # another suite's points, and the run itself
        with pytest.raises(RunExistsError, match="holds something else than points"):
            release.front(run, place, at=(0.5, 1), suite=which, choose=0.5, progress="quiet")
    assert (out / "at-0.5" / "results.json").read_bytes() == kept and load_file(
        run / "adapter" / "adapter_model.safetensors"
    ).keys() == whole.keys()


def check_front(points: list[dict[str, Any]], out: Path) -> None:
    """Figures are those of the answers, and on the front stands what no other point beats on both, by hand."""
    both = [(point["figures"]["attack_success"], point["figures"]["helpfulness_harmless"]) for point in points]
    for point, (attack, _) in zip(points, both, strict=True):
        path = out / f"at-{point['at']:g}" / "evaluation" / "after.parquet"
        harmful = [item for item in read_records(path, Measured) or [] if item.set == "harmful"]
        won = [item.safety < 0.5 and item.refusal != "full" for item in harmful if item.safety is not None]
        assert attack["n"] == len(won) == 10 and attack["value"] == sum(won) / 10
        assert attack["low"] <= attack["value"] <= attack["high"]
    places = [(-attack["value"], helpful["value"]) for attack, helpful in both]
    beaten = [
        any(other != own and all(x >= y for x, y in zip(other, own, strict=True)) for other in places) for own in places
    ]
    assert [point["on_front"] for point in points] == [not one for one in beaten], places


def test_the_ends_are_the_base_and_the_adapter(run: Path, tmp_path: Path) -> None:
    for share in (0.0, 1.0):
        write_scaled(run / "adapter", share, tmp_path / f"{share:g}")
    whole, none, all_ = (
        load_file(place / "adapter_model.safetensors") for place in (run / "adapter", tmp_path / "0", tmp_path / "1")
    )
    assert not any(weight.any() for key, weight in none.items() if "lora_B" in key)
    assert whole.keys() == all_.keys() and all(torch.equal(whole[key], weight) for key, weight in all_.items())


def test_a_soup_is_the_weighted_sum_of_two_changes(run: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe = recipes.load(run / "recipe.yaml")
    other = made_run(recipe.model_copy(update={"name": "other"}), tmp_path / "other", seed=2)
    write_soup(tiny_model_dir, run / "adapter", other / "adapter", 0.25, tmp_path / "soup")
    assert {path.name for path in (tmp_path / "soup").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    r, alpha = lora_shape(tmp_path / "soup")
    assert r == 2 * recipe.model.lora.r
    LanguageModel.load(tiny_model_dir, Lora(r=r, alpha=alpha)).load_role("target", tmp_path / "soup")
    first, second, soup = (_changes(place) for place in (run / "adapter", other / "adapter", tmp_path / "soup"))
    for name, delta in soup.items():
        torch.testing.assert_close(delta, 0.25 * first[name] + 0.75 * second[name])
    write_soup(tiny_model_dir, run / "adapter", other / "adapter", 1.0, tmp_path / "end")
    torch.testing.assert_close(_changes(tmp_path / "end"), first)


def _changes(adapter: Path) -> dict[str, torch.Tensor]:
    """alpha / r * B A of each layer."""
    weights, (r, alpha) = load_file(adapter / "adapter_model.safetensors"), lora_shape(adapter)
    return {
        name: alpha / r * weights[name.replace("lora_A", "lora_B")] @ a
        for name, a in weights.items()
        if "lora_A" in name
    }


def test_points_that_cannot_be(run: Path, copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for at, choose, message in (
        ((0.5,), None, "two or more in"),
        ((0, 1.5), None, "two or more in"),
        ((0, 1), 0.5, "0.5 is none of the points 0, 1"),
    ):
        with pytest.raises(UsageError, match=message):
            release.front(run, out, at=at, choose=choose)
    with pytest.raises(UsageError, match="no run directory"):
        release.front(run, out, soup=tmp_path)
    told = read_json(copied / "manifest.json")
    write_json(copied / "manifest.json", {**told, "model": {"ref": "path:x", "key": "another"}})
    with pytest.raises(UsageError, match="different models"):
        release.front(run, out, soup=copied)
    write_json(copied / "manifest.json", {**told, "reset_control": True})
    with pytest.raises(RefusedError, match="Point 0 is the reset checkpoint"):
        release.front(copied, out, choose=0.0)
    assert not out.exists()
