"""An evaluation that is resumed asks again only about what a judge left unscored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import selfmoa
from selfmoa import recipes
from selfmoa.generate import LanguageModel, ScriptedGenerator
from selfmoa.judge import Item, Objective, Verdict, _registry
from selfmoa.judge._protocol import JudgeBase


class Shaky(JudgeBase):
    """A safety judge behind an endpoint that is down for every fifth answer until it is `up`."""

    name, hash = "shaky", "1"
    objective: Objective = "safety"

    def __init__(self) -> None:
        self.up, self.asked = False, 0

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        self.asked += len(items)
        return [Verdict(0.9 if self.up or place % 5 else None, "no connection") for place in range(len(items))]


@pytest.mark.usefixtures("own_answers")
def test_what_a_judge_left_unscored_is_asked_again_on_a_resumed_evaluation(
    tiny_recipe: selfmoa.Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = Shaky()
    monkeypatch.setitem(_registry._FACTORIES, "shaky", lambda _context, _ref: judge)
    changes = ["faithful=false", "judges.gate.safety=[shaky]", "judges.max_unscored=0.5"]
    recipe = recipes.with_overrides(tiny_recipe, changes)

    def safety(**more: Any) -> dict[str, Any]:
        result = selfmoa.evaluate(recipe, out=tmp_path / "out", progress="quiet", **more)
        return next(metric for metric in result["metrics"] if metric["name"] == "safety")

    spoken = ScriptedGenerator(lambda request, _: f"It is about {request.user}.")  # the random model's are blank
    monkeypatch.setattr(
        LanguageModel,
        "generate",
        lambda _, requests, sampling, *, role, seed, **__: spoken.generate(requests, sampling, role=role, seed=seed),
    )
    first = safety()
    judge.up, judge.asked = True, 0
    monkeypatch.setattr(LanguageModel, "generate", lambda *_, **__: pytest.fail("generated again"))
    again = safety(on_existing="resume")
    assert first["unscored"] > 0 and again["unscored"] == 0 and again["n"] == first["n"] + first["unscored"]
    assert 0 < judge.asked < again["n"], "only about what it had not said"
