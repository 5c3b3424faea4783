"""Whose answers are mixed, and which attackers go back to their seed training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from selfmoa.generate import LanguageModel
from selfmoa.recipe import Attack as Settings
from selfmoa.recipe import Lora, Prefer, Recipe
from selfmoa.records import Attack, Judgement, PromptKind, RefusalClass, Response
from selfmoa.run import Progress, open_run, write_json, write_records
from selfmoa.steps import restart_attackers
from selfmoa.steps._attackers import unusable
from selfmoa.steps._learnable import learnable
from selfmoa.train import snapshot


def attack(
    name: str, *, kind: PromptKind = "attack", hidden: str = "h", reason: str = "", plain: bool = False
) -> Attack:
    status = "dropped" if reason else "kept"
    bleu = 0.1 if kind == "attack" else None
    return Attack(name, 1, kind, "hazard", "s", "seed", "e", hidden, plain, bleu, status, reason)


def session(directory: Path, **settings: Any) -> Any:
    recipe = Recipe(name="x", **settings)
    run = open_run(recipe, directory, on_existing="raise", progress=Progress("quiet"))
    return SimpleNamespace(run=run, recipe=recipe, retrained=set())


def test_only_the_models_own_answers_tell_whether_a_prompt_is_learnable(tmp_path: Path) -> None:
    plans: list[tuple[str, float | None, RefusalClass | None, bool]] = [
        ("mixed", 0.1, "compliance", False),
        ("mixed", 0.9, "full", False),
        ("unsafe", 0.1, "compliance", False),
        ("unsafe", 0.2, "compliance", False),
        ("unsafe", 0.9, "full", True),  # guided: our words
        ("unsafe", None, "full", False),  # nobody voted
        ("benign", None, "full", False),
        ("benign", 0.1, "compliance", False),
        ("benign", 0.1, "compliance", False),
        ("benign", 0.1, "compliance", False),
        ("silent", 0.9, "full", True),
    ]
    attacks = [attack(name) for name in ("mixed", "unsafe", "silent")] + [attack("benign", kind="benign")]
    responses = [
        Response(f"r{place}", plan[0], 1, place, "text", plan[3], "", 3, "eos", None)
        for place, plan in enumerate(plans)
    ]
    judgements = [
        Judgement(f"r{place}", name, 1, safety, 0.5, 0.9, refusal, False)
        for place, (name, safety, refusal, _) in enumerate(plans)
    ]
    off = session(tmp_path / "off")
    write_records(off.run.round(1) / "responses.parquet", responses, Response)
    assert learnable(off, 1, attacks, judgements) == {}
    for settings in ({"attack": Settings(learnable_share=0.5)}, {"prefer": Prefer(learnable_first=True)}):
        on = session(tmp_path / next(iter(settings)), **settings)
        write_records(on.run.round(1) / "responses.parquet", responses, Response)
        # benign: 1 of 4 declined, 4 * 1/4 * 3/4; safety_max is 0.2, so 0.2 is unsafe
        assert learnable(on, 1, attacks, judgements) == {"mixed": 1.0, "unsafe": 0.0, "benign": 0.75}


ROUND = [
    attack("a"),
    attack("b", hidden="e", reason="BLEU"),
    attack("c", hidden="e", reason="expander refused", plain=True),
    attack("d", hidden="e", plain=True),
    attack("e", reason="hider refused"),
    attack("f", reason="touches an evaluation prompt"),
    attack("g", hidden="e", reason="hidden prompt too long"),
    attack("h", kind="benign", hidden="e", reason="excluded content"),
    replace(attack("i", hidden="e", plain=True), bleu=None, fell_back="expander refused"),
    replace(attack("j", hidden="e", plain=True), bleu=None),
]


def test_what_an_attacker_wrote_in_vain_is_counted_by_attacker() -> None:
    # eight rewritten: b, c and i fail in the expander; of a, e, f and g, which the hider was given, only a is usable
    assert unusable(ROUND) == {"expander": (3, 8), "hider": (3, 4)}


def test_a_drifted_attacker_goes_back_to_its_seed_training(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = LanguageModel.load(tiny_model_dir, Lora(r=4), threads=1, seed=0)
    one = session(tmp_path / "run", attack=Settings(restart_unusable_rate=0.5))
    one.model = model
    for seed, role in enumerate(("expander", "hider")):
        model.add_role(role, seed=seed)
        with torch.no_grad():
            for parameter in model.adapter_parameters(role).values():
                parameter.add_(0.01)
        model.save_role(role, one.run.directory / "attackers_00" / role)
        write_json(one.run.directory / "attackers_00" / role / "done.json", {"tokens": 1})
    taught = {role: snapshot(model, role) for role in ("expander", "hider")}
    assert restart_attackers(one, 3, ROUND) == [], "nobody was retrained: there is nowhere to go back to"
    one.retrained = {"expander", "hider"}
    for role in one.retrained:
        with torch.no_grad():
            for parameter in model.adapter_parameters(role).values():
                parameter.add_(0.5)
    drifted = snapshot(model, "expander")
    # 2 of 7 is below the bound, 3 of 4 is not
    assert restart_attackers(one, 3, ROUND) == [{"role": "hider", "unusable": 3, "of": 4}]
    assert _equal(snapshot(model, "hider"), taught["hider"]) and _equal(snapshot(model, "expander"), drifted)
    assert not _equal(drifted, taught["expander"]) and one.retrained == {"expander"}
    events = [json.loads(line) for line in (one.run.directory / "journal.jsonl").read_text().splitlines()]
    assert [event["unusable"] for event in events if event["event"] == "attacker restarted"] == [3]
    assert (one.run.directory / "attackers_03" / "hider" / "done.json").is_file()
    one.recipe = Recipe(name="x")
    assert restart_attackers(one, 4, [attack("b", hidden="e", reason="BLEU")]) == [], "off by default"


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in other)
