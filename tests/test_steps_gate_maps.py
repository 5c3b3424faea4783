"""A gate judge whose raw score is no share is put on one scale: that of the model as it was, for both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from selfmoa.bench import Answer, SetName
from selfmoa.recipe import Recipe
from selfmoa.records import PromptKind
from selfmoa.run import Progress, open_run, read_json, write_records
from selfmoa.steps import _gate_maps


class Reward:
    name, objective = "reward", "helpfulness"

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def fit(self, answers: Sequence[Answer]) -> None:
        self._state[self.name] = {"middle": float(sum(len(answer.response) for answer in answers))}


def answer(name: str, kind: PromptKind, text: str) -> Answer:
    where: SetName = "harmful" if kind == "attack" else "benign"
    return Answer(name, name, where, kind, "h", "s", "prompt", text, 1, "eos")


def session(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    recipe = Recipe(name="x")
    state: dict[str, Any] = {}
    run = open_run(recipe, directory, on_existing="resume", progress=Progress("quiet"))
    helpful = recipe.judges.gate.helpfulness[0]
    monkeypatch.setattr(_gate_maps, "make", lambda ref, _: Reward(state) if ref == helpful else SimpleNamespace())
    return SimpleNamespace(run=run, recipe=recipe, context=SimpleNamespace(state=state))


def test_the_map_is_fitted_once_on_harmless_answers_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(tmp_path / "run", monkeypatch)
    before = made.run.directory / "evaluation" / "answers_before.parquet"
    write_records(before, [answer("a", "attack", "xxxx"), answer("b", "benign", "yy")], Answer)
    _gate_maps.fit_maps(made)
    fitted = {"reward": {"middle": 2.0}}
    assert made.context.state == fitted == read_json(before.with_name(_gate_maps.FILE))
    write_records(before, [answer("b", "benign", "something else")], Answer)
    resumed = session(tmp_path / "run", monkeypatch)
    _gate_maps.fit_maps(resumed)
    assert resumed.context.state == fitted, "after is judged by the same map"
    again = session(tmp_path / "run", monkeypatch)
    _gate_maps.known_maps(again)
    assert again.context.state == fitted


def test_without_such_a_judge_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(tmp_path / "run", monkeypatch)
    monkeypatch.setattr(_gate_maps, "make", lambda *_: SimpleNamespace())
    _gate_maps.fit_maps(made)
    assert not (made.run.directory / "evaluation").exists() and not made.context.state
