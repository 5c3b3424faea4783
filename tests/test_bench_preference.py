"""Win rate against the base: by scores with a tie rule, by judges who saw both answers in both orders."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import t

import selfmoa
from endpoint_helpers import Reaction, Server, says, serving
from loop_helpers import need_judge_data, tiny_overrides
from selfmoa import recipes
from selfmoa.bench import (
    EvaluationSets,
    JudgeNote,
    Measured,
    Preference,
    SetName,
    compare,
    item_rows,
    mean,
    paired_mean_change,
    summarise,
    with_preferences,
)
from selfmoa.compare import compare_arms, items_table, load_arms
from selfmoa.generate import Generation, LanguageModel, ScriptedGenerator
from selfmoa.judge import EvaluatorContext, compares, make
from selfmoa.recipe import JudgeRef
from selfmoa.run import Cache, Progress, open_run, read_records, write_json, write_records
from selfmoa.steps import Judged, _preferences
from selfmoa.steps._cached import CachedJudge

NOTES = {"preference": JudgeNote(("minilm-relevance",), True)}


def side(scores: list[float | None], kind: SetName = "benign", answer: str = "one") -> list[Measured]:
    return [
        Measured(f"{kind}{i}", kind, "x", "s", "[question]", answer, 1, helpfulness=score, refusal="compliance")
        for i, score in enumerate(scores)
    ]


def compared(before: list[float | None], after: list[float | None], votes: list[Preference] | None = None):
    then, now = with_preferences(side(before), side(after), votes)
    return compare(then, now, 0.1, judges=NOTES).metric("win_rate"), then, now


def test_by_scores_with_ties_of_half() -> None:
    """Two wins, one loss, two ties (one at exactly the margin), one unscored."""
    found, then, now = compared([0.2, 0.2, 0.9, 0.5, 0.50, 0.5], [0.9, 0.26, 0.1, 0.5, 0.55, None])
    assert [item.preferred for item in now] == [1, 1, 0, 0.5, 0.5, None]
    assert (found.after.value, found.n, found.unscored) == (3 / 5, 5, 1)
    assert (found.before.value, found.before.low, found.before.high) == (0.5, 0.5, 0.5), "no measurement"
    change = np.array([0.5, 0.5, -0.5, 0, 0])
    half = t.ppf(0.975, 4) * change.std(ddof=1) / np.sqrt(5)
    assert found.change.value == pytest.approx(0.1)
    assert (found.change.low, found.change.high) == pytest.approx((0.1 - half, 0.1 + half))
    assert found.judge == "minilm-relevance" and found.proxy and found.set == "compared"
    column = [row["win_rate"] for row in item_rows("after", now) if row["win_rate"] is not None]
    assert sum(column) / len(column) == found.after.value
    assert {row["win_rate"] for row in item_rows("before", then)} == {0.5}


def test_only_benign_prompts_and_only_where_two_models_are_compared() -> None:
    harmful = side([0.9] * 3, "harmful")
    _, after = with_preferences([*side([0.1]), *harmful], [*side([0.9]), *harmful])
    assert [item.compared for item in after] == [True, False, False, False]
    assert "win_rate" not in {metric.name for metric in summarise(side([0.9]))}
    assert item_rows("after", after)[1]["win_rate"] is None


def vote(i: int, value: float | None, judge: str = "a") -> Preference:
    return Preference(f"benign{i}", judge, "0", value, "" if value is not None else "odd")


def test_those_who_saw_both_answers_decide_by_majority_whatever_the_scores() -> None:
    votes = [vote(0, 1), vote(0, 1, "b"), vote(0, 0, "c"), vote(1, 1), vote(1, 0, "b"), vote(2, None), vote(2, 0, "b")]
    found, _, now = compared([0.9] * 4, [0.1] * 4, [*votes, vote(3, None)])
    assert [item.preferred for item in now] == [1, 0.5, 0, None]
    assert (found.after.value, found.n, found.unscored) == (0.5, 3, 1)


def test_intervals_hold_the_true_rate(n: int = 40, runs: int = 120) -> None:
    """Coverage of both intervals: 30 % wins, 50 % ties, 20 % losses, a true rate of 0.55."""
    rng, held = np.random.default_rng(0), np.zeros(2)
    for _ in range(runs):
        drawn = [float(value) for value in rng.choice([1.0, 0.5, 0.0], size=n, p=[0.3, 0.5, 0.2])]
        rate, change = mean(drawn), paired_mean_change([0.5] * n, drawn)
        held += [rate.low <= 0.55 <= rate.high, change.low <= 0.05 <= change.high]
    assert (held / runs > 0.9).all(), held / runs


def test_arms_by_votes_only_where_all_were_shown_the_first_arms_answers(tmp_path: Path) -> None:
    def run(name: str, value: float, base: str = "base") -> Path:
        where = tmp_path / name
        write_records(where / "evaluation" / "before.parquet", side([0.5] * 8, answer=base), Measured)
        write_records(where / "evaluation" / "after.parquet", side([0.9] * 8, answer=name), Measured)
        votes = [vote(i, value) for i in range(8)]
        write_records(where / "evaluation" / "preferences.parquet", votes, Preference)
        told = [{"name": "win_rate", "judge": "a (both orders)"}, {"name": "helpfulness_benign", "judge": "b"}]
        write_json(where / "results.json", {"metrics": told})
        return where

    one, two = run("one", 0.0), run("two", 0.5)
    found = compare_arms(load_arms([f"{one}:before", str(one), str(two)]))
    rates = [found.figure("win_rate", arm).estimate.value for arm in ("one:before", "one", "two")]
    assert rates == [0.5, 0.0, 0.5] and found.figure("win_rate", "two").judge == "a (both orders)"
    for arm in ("one", "two"):
        column = [row["win_rate"] for row in items_table(found) if row["arm"] == arm]
        assert sum(column) / 8 == found.figure("win_rate", arm).estimate.value
    by_scores = compare_arms(load_arms([str(one), str(two)]))
    assert by_scores.figure("win_rate", "two").estimate.value == 0.5, "one's answers were never shown beside two's"
    other = compare_arms(load_arms([f"{one}:before", str(one), str(run("three", 0.0, base="another"))]))
    assert {other.figure("win_rate", arm).estimate.value for arm in ("one", "three")} == {1.0}
    assert other.figure("win_rate", "one").judge == "b"


def judge(body: dict[str, Any], _: int) -> Reaction:
    """Prefers the longer answer, and whatever stands first where one of them is of a plant 2 or 3."""
    user = body["messages"][-1]["content"]
    if "Compare the two answers" not in user:
        return says("<verdict>helpful: 4</verdict>")
    first, second = re.findall(r"\[(?:first|second) answer \w+\]\n(.*)\n\[end of", user)
    fond_of_a_place = "number 2" in first or "number 3" in first
    return says(f"<verdict>better: {'first' if fond_of_a_place or len(first) > len(second) else 'second'}</verdict>")


def graded_by(server: Server) -> str:
    options = f"{{base_url: '{server.base_url}', model: m}}"
    return (
        f"judges.gate={{safety: [minilm], helpfulness: [{{name: rubric-helpfulness, options: {options}}}], "
        "refusal: refusal-head, coherence: degeneration}"
    )


def reply(place: int, arm: str) -> str:
    late = " with leaves and a stem" if arm == "after" and place >= 2 else ""
    return f"It is a green plant{late}, number {place}."


@pytest.mark.parametrize("cached", [False, True])
def test_a_rubric_is_asked_in_both_orders_and_once(tmp_path: Path, cached: bool) -> None:
    """Ten prompts: two answers are alike, two make the judge contradict itself, six are longer after."""
    before, after = (
        [replace(item, answer=reply(i, arm)) for i, item in enumerate(side([0.5] * 10))] for arm in ("before", "after")
    )
    with serving(judge) as server:
        recipe = recipes.load("demo", [graded_by(server)])
        cache = Cache(tmp_path / "answers.sqlite") if cached else None

        def session(name: str) -> Judged:
            run = open_run(recipe, tmp_path / name, on_existing="resume", progress=Progress("quiet"))
            context = EvaluatorContext(cache=tmp_path, ledgers=tmp_path / "ledgers")
            return Judged(run, EvaluationSets((), (), ()), context, None, cache)

        jury = [make(recipe.judges.gate.helpfulness[0], session("run").context)]
        jury = [CachedJudge(jury[0], cache)] if cache else jury
        votes = _preferences.ask(session("run"), jury, before, after)
        assert len(server.requests) == 16, "two a prompt, none where the answers are alike"
        assert _preferences.ask(session("run"), jury, before, after) == votes and len(server.requests) == 16
        assert _preferences.ask(session("other"), jury, before, after) == votes
        assert len(server.requests) == (16 if cached else 32)
    assert votes is not None and [vote.value for vote in votes] == [0.5] * 4 + [1.0] * 6
    assert [vote.reason for vote in votes[:3]] == ["equal answers", "equal answers", ""]
    assert (votes[2].after_first, votes[2].before_first) == ("win", "loss")
    assert _preferences.notes(votes) == [
        "rubric-helpfulness contradicted itself on 2 of 8 pairs of answers when they changed places; these are ties in "
        "the win rate."
    ]


def test_a_judge_that_scores_one_answer_at_a_time_is_not_asked(tmp_path: Path) -> None:
    assert not compares(make(JudgeRef(name="refusal-rules"), EvaluatorContext(cache=tmp_path)))
    assert _preferences.judges(None, JudgeNote(("m",), True)) == {"preference": JudgeNote(("m",), True)}


@pytest.mark.slow
def test_a_run_tells_whose_answers_are_preferred_and_the_parquet_gives_the_figure(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_judge_data()
    recipe = recipes.load("demo", tiny_overrides(tmp_path, tiny_model_dir))
    adapter = tmp_path / "adapter"
    model = LanguageModel.load(tiny_model_dir, recipe.model.lora, threads=1)
    model.add_role("target", seed=0)
    for weight in model.adapter_parameters("target").values():
        weight.data.fill_(0.01)  # an untrained one would not be asked again
    model.save_role("target", adapter)
    order: dict[str, int] = {}
    loads: list[Path] = []
    load = LanguageModel.load_role

    def loaded(self: LanguageModel, role: str, directory: Path) -> None:
        loads.append(directory)
        load(self, role, directory)

    def generate(self: LanguageModel, requests, sampling, *, role, seed, **_) -> list[Generation]:
        arm = "after" if len(loads) > 1 else "before"  # the first load only looks at the adapter
        script = ScriptedGenerator(lambda request, _: reply(order.setdefault(request.user, len(order)) % 10, arm))
        return script.generate(requests, sampling, role=role, seed=seed)

    monkeypatch.setattr(LanguageModel, "load_role", loaded)
    monkeypatch.setattr(LanguageModel, "generate", generate)
    out = tmp_path / "out"
    with serving(judge) as server:
        chosen = recipes.with_overrides(recipe, [graded_by(server)])
        result = selfmoa.evaluate(chosen, adapter=adapter, cache=False, out=out, progress="quiet")
    figure = next(metric for metric in result["metrics"] if metric["name"] == "win_rate")
    votes = read_records(out / "evaluation" / "preferences.parquet", Preference) or []
    rows = pq.read_table(out / "items.parquet").to_pylist()
    column = {row["prompt_id"]: row["win_rate"] for row in rows if row["arm"] == "after" and row["set"] == "benign"}
    assert column == {vote.prompt_id: vote.value for vote in votes}
    assert sorted(column.values()) == [0.5] * 4 + [1.0] * 6
    assert (figure["after"]["value"], figure["n"], figure["judge"]) == (0.8, 10, "rubric-helpfulness (both orders)")
    assert any("contradicted itself on 2 of 8" in line for line in result["warnings"])
    assert "Win rate against the base" in (out / "report.html").read_text()
    assert compare_arms(load_arms([str(out)])).figure("win_rate", "out").estimate.value == pytest.approx(0.8)
