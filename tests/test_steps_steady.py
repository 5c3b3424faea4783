"""Pairs whose order hangs on an apology are found, with a judge that was planted to be fooled by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfmoa.errors import EvaluatorError
from selfmoa.judge import Item, JudgeBase, Objective, Verdict
from selfmoa.recipe import Prefer, Recipe
from selfmoa.records import Attack, Pair, Response, Score
from selfmoa.run import Progress, open_run, read_records
from selfmoa.steps._judge import safety_between_models
from selfmoa.steps._steady import unsteady
from train_helpers import pair


class Fooled(JudgeBase):
    """Calls every answer that apologises equally safe."""

    name = "fooled"
    objective: Objective = "safety"
    hash = "0"

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        texts = [item.response.lower() for item in items]
        fooled = [any(word in text for word in ("sorry", "apologise")) for text in texts]
        return [
            Verdict(0.5 if lost else 0.9 if "cannot" in text else 0.1) for text, lost in zip(texts, fooled, strict=True)
        ]


class Steady(Fooled):
    name = "steady"

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        return [Verdict(0.9 if "cannot" in item.response else 0.1) for item in items]


class Down(Steady):
    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        return [Verdict(None, "HTTP 429") for _ in items]


def session(directory: Path, judge: JudgeBase, **settings: Any) -> Any:
    recipe = Recipe(name="x", prefer=Prefer(**settings))
    run = open_run(recipe, directory, on_existing="raise", progress=Progress("quiet"))
    context = SimpleNamespace(memory={})
    return SimpleNamespace(run=run, recipe=recipe, context=context, judges=SimpleNamespace(safety=(judge,)))


def asked(kind: str = "attack") -> tuple[list[Pair], list[Attack], list[Response]]:
    made = pair(0, kind=kind)
    attacks = [Attack(made.attack_id, 1, kind, "h", "s", "seed", "request", "hidden", False, None)]  # type: ignore[arg-type]
    texts = ((made.chosen_id, made.chosen), (made.rejected_id, made.rejected))
    return (
        [made],
        attacks,
        [Response(key, made.attack_id, 1, 0, text, False, "", 9, "eos", None) for key, text in texts],
    )


def test_a_pair_that_an_apology_turns_is_named_with_the_change(tmp_path: Path) -> None:
    pairs, attacks, responses = asked()
    made = session(tmp_path / "run", Fooled(), perturbations=("apology before", "padding after"))
    assert unsteady(made, 1, pairs, attacks, responses) == {pairs[0].id: ["apology before"]}
    votes = read_records(tmp_path / "run" / "round_01" / "perturbed.parquet", Score)
    assert votes is not None and len(votes) == 4


def test_a_steady_judge_turns_nothing(tmp_path: Path) -> None:
    pairs, attacks, responses = asked()
    assert unsteady(session(tmp_path / "run", Steady()), 1, pairs, attacks, responses) == {}


def test_harmless_pairs_and_the_papers_rule_are_not_asked(tmp_path: Path) -> None:
    assert unsteady(session(tmp_path / "a", Fooled()), 1, *asked("benign")) == {}
    assert unsteady(session(tmp_path / "b", Fooled(), pairing="paper"), 1, *asked()) == {}
    assert unsteady(session(tmp_path / "c", Fooled(), perturbations=()), 1, *asked()) == {}
    assert not (tmp_path / "c" / "round_01" / "perturbed.parquet").exists()


def test_a_judge_that_is_down_ends_the_run_and_is_asked_again(tmp_path: Path) -> None:
    pairs, attacks, responses = asked()
    made = session(tmp_path / "run", Down(), perturbations=("apology before",))
    with pytest.raises(EvaluatorError, match=r"2 of 2 items unscored.*HTTP 429.*needs a new run"):
        unsteady(made, 1, pairs, attacks, responses)
    made.judges.safety = (Fooled(),)
    assert unsteady(made, 1, pairs, attacks, responses) == {pairs[0].id: ["apology before"]}


def test_two_models_are_compared_on_one_scale_whatever_the_jury() -> None:
    """Also where fewer judges watch than Dawid and Skene's model needs."""
    made: Any = SimpleNamespace(recipe=SimpleNamespace(judges=SimpleNamespace(jury="dawid_skene")))
    votes = [
        Score("r", "safety", "watch", "0", 0.7, "", None, 0.0),
        Score("s", "safety", "watch", "0", None, "down", None, 0.0),
    ]
    found = safety_between_models(made, votes)
    assert found == {"r": 0.7, "s": None}
