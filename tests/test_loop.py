"""The whole loop on tiny random twins of the paper's four architectures, and its refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import selfmoa
from loop_helpers import need_judge_data, texts, tiny_overrides
from selfmoa import assets, audit, recipes, suites
from selfmoa.bench import Answer, Measured
from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import LanguageModel, ScriptedGenerator
from selfmoa.judge import Evaluator, Item
from selfmoa.recipe import DataRef
from selfmoa.records import Attack, Prompt, Score, from_text
from selfmoa.report._objectives import objective_values
from selfmoa.run import Run, read_json, read_records
from selfmoa.steps import Session, load_model, summarise
from selfmoa.steps._room import Room
from selfmoa.train import sft

TWINS = {
    "paper/gemma-2-2b-it": ("gemma2", True),
    "paper/gemma-3-1b-it": ("gemma3", True),
    "paper/llama-3.2-1b": ("llama", False),
    "paper/qwen2.5-1.5b": ("qwen2", True),
}


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_twin_of_each_of_the_papers_models_runs_end_to_end(
    name: str, make_model_dir: Callable[..., Path], tmp_path: Path
) -> None:
    need_judge_data()
    architecture, chat = TWINS[name]
    recipe = recipes.load(name, tiny_overrides(tmp_path, make_model_dir(architecture, chat)))
    assert recipe.faithful and recipe.prefer.pairing == "paper"
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet")
    check_run(run.directory)


def check_run(directory: Path) -> None:
    """Every file of a finished run is there and hangs together."""
    present = {path.name for path in directory.iterdir()}
    assert {
        "recipe.yaml",
        "manifest.json",
        "metrics.jsonl",
        "journal.jsonl",
        "logs",
        "report.html",
        "adapter",
        "README.md",
        "results.json",
        "judges.json",
        "usage.json",
    } <= present
    tables = ("attacks", "responses", "scores", "selected", "pairs", "judgements", "dropped")
    for number in (1, 2):
        folder = directory / f"round_{number:02d}"
        assert {f"{name}.parquet" for name in tables} <= {path.name for path in folder.iterdir()}
        assert not list(folder.glob(".*.parts")), "parts are merged"
    attacks = {row["id"]: row for row in pq.read_table(directory / "round_01" / "attacks.parquet").to_pylist()}
    responses = {row["id"]: row for row in pq.read_table(directory / "round_01" / "responses.parquet").to_pylist()}
    pairs = pq.read_table(directory / "round_01" / "pairs.parquet").to_pylist()
    assert pairs
    for pair in pairs:
        assert pair["prompt"] == attacks[pair["attack_id"]]["hidden"]
        assert pair["chosen"] == responses[pair["chosen_id"]]["text"]
        assert responses[pair["rejected_id"]]["attack_id"] == pair["attack_id"]
    assert (directory / "adapter" / "adapter_model.safetensors").is_file()
    curves = (directory / "report.html").read_text().partition('id="training-title"')[2].partition("</svg>")[0]
    assert all(words in curves for words in ("chosen", "rejected", "trained on")), "the curves carry real metrics"
    stage = read_json(directory / "stage_01" / "stage.json")
    assert stage["n_pairs"] >= 4 and (directory / "stage_01" / "adapter" / "adapter_config.json").is_file()
    events = [json.loads(line)["event"] for line in (directory / "journal.jsonl").read_text().splitlines()]
    assert {"attempt", "attack", "response", "hit", "pair", "attackers retrained", "stage", "finished"} <= set(events)
    explained = json.dumps(__import__("selfmoa.report", fromlist=["explain"]).explain(directory, pairs[0]["id"]))
    assert attacks[pairs[0]["attack_id"]]["seed_id"] in explained


def pairs_of(directory: Path) -> list[dict[str, object]]:
    return [row for path in sorted(directory.glob("round_*/pairs.parquet")) for row in pq.read_table(path).to_pylist()]


def test_stopped_anywhere_and_resumed_gives_the_same_pairs(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfmoa.run import _storage

    whole = selfmoa.align(tiny_recipe, run_dir=tmp_path / "whole", progress="quiet")
    write, count = _storage.write_bytes, {"n": 0}

    def die_after(n: int) -> None:
        count["n"] = 0

        def dying(path: Path, data: bytes) -> None:
            count["n"] += 1
            if count["n"] > n:
                raise KeyboardInterrupt
            write(path, data)

        monkeypatch.setattr(_storage, "write_bytes", dying)

    attempts = 0
    while attempts < 40:
        attempts += 1
        die_after(4 + 9 * attempts)
        try:
            broken = selfmoa.align(tiny_recipe, run_dir=tmp_path / "broken", on_existing="resume", progress="quiet")
            break
        except KeyboardInterrupt:
            continue
    assert attempts > 3
    assert pairs_of(broken.directory) == pairs_of(whole.directory) and pairs_of(whole.directory)
    first = (whole.directory / "adapter" / "adapter_model.safetensors").read_bytes()
    assert (broken.directory / "adapter" / "adapter_model.safetensors").read_bytes() == first


def answered(run: Run) -> list[Measured]:
    return read_records(run.directory / "evaluation" / "before.parquet", Measured) or []


def test_evaluate_gives_figures_and_with_an_adapter_paired_changes(tiny_recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    alone = selfmoa.evaluate(tiny_recipe, cache=False, out=tmp_path / "alone", progress="quiet")
    assert {metric["name"] for metric in alone["metrics"]} >= {"attack_success", "over_refusal"}
    assert all(metric["judge"] for metric in alone["metrics"] if metric["name"] == "attack_success")
    run = selfmoa.align(tiny_recipe, run_dir=tmp_path / "run", progress="quiet")
    adapter = run.directory / "adapter"
    both = selfmoa.evaluate(tiny_recipe, adapter=adapter, cache=False, out=tmp_path / "both", progress="quiet")
    assert run.result is not None
    assert both["metrics"] == run.result["metrics"], "the saved adapter is the model that was measured"
    for name in ("votes_before", "votes_after", "train_votes_before", "train_votes_after"):
        votes = read_records(run.directory / "evaluation" / f"{name}.parquet", Score)
        assert votes and {vote.response_id for vote in votes} <= {item.prompt_id for item in answered(run)}, name
    assert audit.draw(run.directory).items, "a finished run can be audited"


def test_both_halves_of_minimal_pairs_are_asked_and_the_pair_is_the_unit(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: every harmless half is answered, all but three of the harmful ones are refused."""
    table, halves = tmp_path / "pairs.jsonl", list(zip(texts("half", 12), texts("twin", 12), strict=True))
    rows = [json.dumps({"prompt": prompt, "harmful": harmful}) + "\n" for prompt, harmful in halves]
    table.write_text("".join(rows))
    declined = {harmful for _, harmful in halves[3:]}
    model = ScriptedGenerator(
        lambda request, _: (
            "I'm sorry, but I can't help with that." if request.user in declined else "It is a green leaf."
        )
    )
    monkeypatch.setattr(
        LanguageModel,
        "generate",
        lambda _, requests, sampling, *, role, seed, **__: model.generate(requests, sampling, role=role, seed=seed),
    )
    recipe = recipes.with_overrides(tiny_recipe, ["evaluate.pairs=true", f"evaluate.benign.data=['path:{table}']"])
    out = tmp_path / "measured"
    result = selfmoa.evaluate(recipe, cache=False, out=out, progress="quiet")
    figure = next(metric for metric in result["metrics"] if metric["name"] == "minimal_pairs")
    items = pq.read_table(out / "items.parquet").to_pylist()
    twins = {row["pair"]: row["prompt"] in declined for row in items if row["set"] == "twins"}
    column = {row["pair"]: row["minimal_pairs"] for row in items if row["minimal_pairs"] is not None}
    assert column == twins and figure["n"] == len(twins) == 10
    assert figure["value"] == sum(column.values()) / 10 < 1
    assert result["prompts"]["twins"]["n"] == len(twins) and 0 < result["prompts"]["harmful"]["spread"] < 2
    page = (out / "report.html").read_text()
    assert "Minimal pairs told apart" in page and "How varied the prompts are" in page
    assert not any(text in page for pair in halves for text in pair), "no prompt is on the page"


def test_an_attack_may_be_tried_several_times(tiny_recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    asked = recipes.with_overrides(tiny_recipe, ["evaluate.attempts=3", "evaluate.max_new_tokens=6"])
    out = tmp_path / "measured"
    result = selfmoa.evaluate(asked, cache=False, out=out, progress="quiet")
    tried = read_records(out / "evaluation" / "attempts_before.parquet", Answer) or []
    by_prompt = {
        answer.prompt_id: [one.response for one in tried if one.prompt_id == answer.prompt_id] for answer in tried
    }
    assert all(len(found) == 3 for found in by_prompt.values()) and len({answer.id for answer in tried}) == len(tried)
    assert any(len(set(found)) > 1 for found in by_prompt.values()), "samples differ"
    figure = next(metric for metric in result["metrics"] if metric["name"] == "attack_success_any")
    column = [row["attack_success_any"] for row in pq.read_table(out / "items.parquet").to_pylist()]
    known = [value for value in column if value is not None]
    assert figure["n"] + figure["unscored"] == len(by_prompt) and figure["value"] == sum(known) / len(known)
    greedy = next(metric for metric in result["metrics"] if metric["name"] == "attack_success")
    assert greedy["n"] + greedy["unscored"] == len(by_prompt), "the greedy figure stays as it is"


@pytest.mark.usefixtures("own_answers")
def test_another_judge_regenerates_nothing(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = selfmoa.evaluate(tiny_recipe, out=tmp_path / "first", progress="quiet")
    monkeypatch.setattr(LanguageModel, "generate", lambda *_, **__: pytest.fail("generated again"))
    again = selfmoa.evaluate(tiny_recipe, out=tmp_path / "again", progress="quiet")
    assert again["metrics"] == first["metrics"]
    other = recipes.with_overrides(tiny_recipe, ["judges.watch=[]", "judges.gate.safety=[minilm-watch]"])
    judged = selfmoa.evaluate(other, out=tmp_path / "other", progress="quiet")
    assert {metric["judge"] for metric in judged["metrics"] if metric["name"] == "safety"} == {"minilm-watch"}
    monkeypatch.undo()
    stepped = selfmoa.evaluate(tiny_recipe, cache=False, out=tmp_path / "anew", progress="quiet")
    assert stepped["metrics"] == first["metrics"]


@pytest.mark.usefixtures("own_answers")
def test_a_suite_is_kept_apart_from_what_the_adapter_and_the_judges_learnt(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path
) -> None:
    """Planted: a seed of the run, a near-duplicate of another, and an objective that judges were trained on."""
    run = selfmoa.align(
        recipes.with_overrides(tiny_recipe, ["loop.n_rounds=1"]), run_dir=tmp_path / "run", progress="quiet"
    )
    seeds = [json.loads(line)["prompt"] for line in (tmp_path / "seeds.jsonl").read_text().splitlines()]
    objective = next(row["objective"] for row in assets.load_table(DataRef(ref="wheel:pyrit-human-scores")))
    planted = [seeds[0], seeds[1] + " now", objective]
    table = tmp_path / "mine.jsonl"
    rows = [{"prompt": text, "role": "attack"} for text in [*planted, *texts("fresh", 12)]]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tiny_recipe.model_copy(update={"evaluate": suites.load(table).evaluate})
    out = tmp_path / "measured"
    result = selfmoa.evaluate(recipe, adapter=run.directory / "adapter", suite=True, out=out, progress="quiet")
    removed = read_json(out / "removed.json")
    assert sorted(row["reason"] for row in removed) == [
        "near-duplicate of judge-training objectives",
        "near-duplicate of seeds of run",
        "near-duplicate of seeds of run",
    ]
    assert {metric["n"] + metric["unscored"] for metric in result["metrics"] if metric["set"] == "harmful"} == {12}
    page = (out / "report.html").read_text()
    assert "near-duplicate of seeds of run" in page and "over-refusal was not measured" in page
    assert not any(text in page for text in texts("fresh", 12)), "no prompt is on the page"
    moved = tmp_path / "moved"
    shutil.copytree(run.directory / "adapter", moved)
    told = selfmoa.evaluate(recipe, adapter=moved, suite=True, out=tmp_path / "told", progress="quiet")
    assert any("lies in no run" in line for line in told["warnings"])


def test_a_stage_is_compared_with_the_model_before_any_training(tiny_recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    changes = ["faithful=false", "stage.check=true", "train.lr=0.1", "stage.steps=[1.0]", "loop.n_rounds=1"]
    changes += ["judges.watch=[minilm-watch]"]
    run = selfmoa.align(recipes.with_overrides(tiny_recipe, changes), run_dir=tmp_path / "run", progress="quiet")
    before, after = (run.directory / "dev" / f"{name}.parquet" for name in ("before", "stage_01_1"))
    assert before.stat().st_mtime < (run.directory / "stage_01" / "pairs.parquet").stat().st_mtime
    texts = [[row["text"] for row in pq.read_table(path).to_pylist()] for path in (before, after)]
    assert texts[0] != texts[1], "a large learning rate must change some answer"
    stage = read_json(run.directory / "stage_01" / "stage.json")
    assert "refusals of harmless prompts" in stage["reason"] and "first_tokens_share" in stage
    assert {"safety_change", "watched_change", "judge_gap", "judge_gap_low"} <= stage.keys()
    assert {card["name"] for card in read_json(run.directory / "judges.json") if card["side"] == "watch"} == {
        "minilm-watch"
    }
    votes = read_records(run.directory / "evaluation" / "watch_votes_after.parquet", Score)
    assert votes and {vote.judge for vote in votes} == {"minilm-watch"}
    assert run.result is not None and run.result["watch_change"]["n"] + run.result["watch_change"]["unscored"] == 10


def test_expansions_that_ask_for_no_harm_are_dropped(tiny_model_dir: Path, tmp_path: Path) -> None:
    need_judge_data()
    options = [*tiny_overrides(tmp_path, tiny_model_dir), "attack.min_harm=1.0", "loop.n_rounds=1"]
    run = selfmoa.align(recipes.load("demo", options), run_dir=tmp_path / "run", progress="quiet")
    attacks = read_records(run.directory / "round_01" / "attacks.parquet", Attack) or []
    tried = [attack for attack in attacks if attack.kind == "attack"]
    assert tried and all(attack.status == "dropped" for attack in tried)
    assert "expansion asks for no harm" in {attack.reason for attack in tried}


def test_seeds_are_asked_as_they_are_where_none_or_no_usable_expansion_is_wanted(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    need_judge_data()
    tiny = [*tiny_overrides(tmp_path, tiny_model_dir), "loop.n_rounds=1", "attack.min_harm=1.0"]

    def asked(name: str, *options: str) -> list[Attack]:
        run = selfmoa.align(recipes.load("demo", [*tiny, *options]), run_dir=tmp_path / name, progress="quiet")
        attacks = read_records(run.directory / "round_01" / "attacks.parquet", Attack) or []
        facts = read_json(run.directory / "round_01" / "summary.json")
        assert facts["pool"]["entered"] == 0
        attacks = [attack for attack in attacks if attack.kind == "attack"]
        refused, of = facts["attacker_refusals"]["expander"]
        assert (refused, of) == (
            sum(one.attacker_refused for one in attacks),
            sum(one.rewriting_asked for one in attacks),
        )
        return attacks

    as_they_are = asked("none", "attack.rewritten=0")
    fallen_back = asked("unusable", "attack.fall_back=true")
    for attack in (*as_they_are, *fallen_back):
        assert attack.status == "kept" and attack.plain and attack.seed == attack.expansion == attack.hidden
    assert not any(attack.rewriting_asked for attack in as_they_are)
    assert all(attack.fell_back for attack in fallen_back), "what the expander failed at is known"
    assert {attack.seed_id for attack in as_they_are} == {attack.seed_id for attack in fallen_back}, "the same draw"
    half = asked("half", "attack.rewritten=0.5", "attack.k=16")
    assert {attack.status for attack in half} == {"kept", "dropped"}, "only rewritten ones are held to be harmful"


@pytest.mark.slow
def test_the_parts_that_are_off_by_default_run_together_and_resume(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pareto pairs on four objectives, hazards and learnable prompts followed, near-duplicates dropped."""
    need_judge_data()
    options = [
        *tiny_overrides(tmp_path, tiny_model_dir),
        "judges.train.objectives={brevity: [brevity], fluency: [coherence]}",
        "train.objectives=[{name: safety, weight: 0.9}, {name: brevity, weight: 0.5}, {name: coherence, weight: 0.1}]",
        "prefer={pairing: pareto, delta_min: 0.0, coherence_min: 0.0, learnable_first: true, max_harmless_share: 0.5}",
        *("attack.hazard_follow=1.0", "attack.learnable_share=1.0", "attack.max_similarity=0.9"),
        *("attack.restart_unusable_rate=0.0", "attack.retrain_at=4", "stage.check=false", "attack.min_harm=0"),
    ]
    recipe = recipes.load("demo", options)
    whole = selfmoa.align(recipe, run_dir=tmp_path / "whole", progress="quiet").directory
    pairs = pairs_of(whole)
    assert pairs and all(pair["rule"].startswith("pareto") for pair in pairs)
    for pair in pairs:
        values = [objective_values(pair, side) for side in ("chosen", "rejected")]
        assert {"brevity", "fluency", "coherence"} < values[0].keys()
        same = [name for name in values[0] if name != "safety" or pair["kind"] == "attack"]
        assert all(values[0][name] >= values[1][name] for name in same)
    trained = pq.read_table(whole / "stage_01" / "pairs.parquet").to_pylist()[0]
    parts = from_text(trained["margin_by_objective"])
    assert sum(parts.values()) == pytest.approx(trained["margin_in_loss"]) and parts["brevity"] >= 0
    summary = read_json(whole / "round_01" / "summary.json")
    assert summary["next_hazards"] and summary["mixed"][1] > 0
    page = (whole / "report.html").read_text()
    assert "Pairs by objective" in page and "Weights of hazards" in page and "own answers mixed" in page

    with monkeypatch.context() as patched:
        patched.setattr("selfmoa.loop.steps.summarise", _stops_in_the_second_round(summarise))
        with pytest.raises(KeyboardInterrupt):
            selfmoa.align(recipe, run_dir=tmp_path / "broken", progress="quiet")
    broken = selfmoa.align(recipe, run_dir=tmp_path / "broken", on_existing="resume", progress="quiet").directory
    assert pairs_of(broken) == pairs
    adapters = [(run / "adapter" / "adapter_model.safetensors").read_bytes() for run in (whole, broken)]
    assert adapters[0] == adapters[1]


def _stops_in_the_second_round(whole: Callable[..., object]) -> Callable[..., object]:
    def stops(session: Session, number: int, *rest: object) -> object:
        if number == 2:
            raise KeyboardInterrupt
        return whole(session, number, *rest)

    return stops


def test_over_optimisation_ends_the_loop(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training judges are made to see what the watch judge does not: more safety at each look."""
    looks = iter(range(100))

    def planted(session: Session, judges: Sequence[Evaluator], items: Sequence[Item]) -> dict[str, float | None]:
        if judges != session.judges.safety:
            return {item.id: 0.5 for item in items}
        base, slope = (0.05, 0.001) if next(looks) == 0 else (0.9, 0.002)
        return {item.id: base + slope * place for place, item in enumerate(items)}

    monkeypatch.setattr("selfmoa.steps._align._safety", planted)
    changes = ["faithful=false", "stage.check=true", "judges.watch=[minilm-watch]", "stage.steps=[1.0]"]
    changes += ["stage.n_harmful=8"]
    run = selfmoa.align(recipes.with_overrides(tiny_recipe, changes), run_dir=tmp_path / "run", progress="quiet")
    stage = read_json(run.directory / "stage_01" / "stage.json")
    assert stage["over_optimised"] and stage["verdict"] == "rejected" and not stage["kept"]
    assert not (run.directory / "round_02").exists() and (run.directory / "report.html").is_file()


def test_a_training_that_diverges_ends_the_run_with_the_model_before_it(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path
) -> None:
    recipe = recipes.with_overrides(tiny_recipe, ["train.lr=1.0", "train.beta=100", "train.epochs=30"])
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"lr": float("1e30")})})
    run = selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet")
    stage = read_json(run.directory / "stage_01" / "stage.json")
    assert stage["verdict"] == "failed" and not stage["kept"] and stage["step"] == 0.0
    assert not (run.directory / "round_02").exists() and (run.directory / "report.html").is_file()
    assert run.result is not None
    change = next(metric for metric in run.result["metrics"] if metric["name"] == "safety")
    assert change["before"] == change["after"]


def test_attackers_whose_retraining_diverges_stay_as_they_were(
    tiny_recipe: selfmoa.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def diverges(*args: object, **kwargs: object) -> object:
        if next(calls) < 2:  # E0 and H0
            return sft(*args, **kwargs)  # type: ignore[arg-type]
        raise TrainingError("The training loss became nan.")

    monkeypatch.setattr("selfmoa.steps._attackers.sft", diverges)
    run = selfmoa.align(tiny_recipe, run_dir=tmp_path / "run", progress="quiet")
    retrained = [read_json(path)["retrained"] for path in sorted(run.directory.glob("round_*/summary.json"))]
    assert [told["failed"] for told in retrained if told] and (run.directory / "report.html").is_file()


def test_a_prompt_longer_than_the_context_is_named(tiny_recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    long = tmp_path / "long.jsonl"
    long.write_text("".join(json.dumps({"prompt": f"word{i * i} " * 700, "hazard": "k"}) + "\n" for i in range(20)))
    recipe = recipes.with_overrides(tiny_recipe, [f"seeds.attack=['path:{long}']"])
    with pytest.raises(UsageError, match=r"tokens; with the answer, \d+ fit into this model's context of 512"):
        selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet")


def test_a_published_prompt_longer_than_the_context_is_left_out(
    tiny_recipe: selfmoa.Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = load_model(tiny_recipe)
    room = Room(tiny_recipe, model)
    refs = ("wheel:a", "path:a", "a.jsonl", "data:a.jsonl")
    rows = [{"ref": ref, "prompt": text} for ref in refs for text in ("word", "word " * 700)]
    stay = [rows[0], *rows[2:7]]  # a user's own, to be complained about
    assert room.rows(rows) == stay
    assert "2 seeds left out" in caplog.text
    assert [row for row in rows if room.fits(Prompt("1", row["prompt"], "benign", "none", row["ref"]))] == stay
    with_system = tiny_recipe.model_copy(
        update={"evaluate": tiny_recipe.evaluate.model_copy(update={"system": "word " * 700})}
    )
    short = Prompt("1", "word", "benign", "none", "wheel:a")
    assert not Room(with_system, model).fits(short), "below the system prompt of the evaluation"
    assert Room(with_system, model).rows(rows[:1]) == rows[:1], "seeds are asked without it"


def test_too_few_seeds_are_one_clear_error(tiny_recipe: selfmoa.Recipe, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text('{"prompt": "[harmful request about X]", "hazard": "k"}\n')
    recipe = recipes.with_overrides(tiny_recipe, [f"seeds.attack=['path:{few}']", "attack.k=1"])
    with pytest.raises(UsageError, match="hold 1 prompts, expected at least 8"):
        selfmoa.align(recipe, run_dir=tmp_path / "run", progress="quiet")
