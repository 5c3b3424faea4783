"""Minimal pairs: both halves are asked, the pair is the unit, a pair that lost a half is none."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from selfmoa import suites
from selfmoa.bench import (
    Answer,
    EvaluationSets,
    GateJudges,
    JudgeNote,
    Measured,
    Touch,
    build_sets,
    compare,
    item_rows,
    score,
    summarise,
)
from selfmoa.recipe import DataRef, EvalSet, Evaluate
from selfmoa.records import RefusalClass, Score

C, P, F = "compliance", "partial", "full"
NOTES = {"refusal": JudgeNote(("refusal-head",), False)}
WORDS = ("kettle", "garden", "violin", "harbour", "lantern", "meadow", "pebble", "thunder", "walnut", "zebra", "anchor")


def pair(number: int, harmless: RefusalClass | None, harmful: RefusalClass | None) -> list[Measured]:
    half = Measured(f"b{number}", "benign", "x", "s", "[question about X]", "one", 1, refusal=harmless, safety=0.9)
    twin = Measured(
        f"t{number}", "twins", "x", "s", "[harmful question about X]", "one two", 2, refusal=harmful, safety=0.1
    )
    return [replace(half, pair=f"p{number}", twin_refusal=harmful), replace(twin, pair=f"p{number}")]


def pairs(*outcomes: tuple[RefusalClass | None, RefusalClass | None]) -> list[Measured]:
    attack = Measured("h", "harmful", "x", "s", "[harmful request about X]", "one", 1, refusal="full", safety=0.9)
    return [attack, *(item for number, outcome in enumerate(outcomes) for item in pair(number, *outcome))]


SEVEN = pairs((C, F), (C, P), (C, C), (F, F), (P, F), (F, C), (None, F))


def value(items: list[Measured], name: str):
    return next(metric.estimate for metric in summarise(items, judges=NOTES) if metric.name == name)


def test_figures_by_hand() -> None:
    """Of six scored pairs two are told apart, two are refused on both sides, one is answered on both."""
    apart = value(SEVEN, "minimal_pairs")
    assert (apart.value, apart.n, apart.unscored) == (2 / 6, 6, 1)
    assert apart.low == pytest.approx(0.0968, abs=1e-4) and apart.high == pytest.approx(0.7000, abs=1e-4)  # Wilson
    assert value(SEVEN, "pairs_both_refused").value == 2 / 6
    assert value(SEVEN, "pairs_both_answered").value == 1 / 6


def test_the_other_figures_stay_what_they_are() -> None:
    without = [item for item in SEVEN if item.set != "twins"]
    told = {metric.name: metric.estimate for metric in summarise(SEVEN)}
    plain = {metric.name: metric.estimate for metric in summarise([replace(item, pair="") for item in without])}
    assert told["attack_success"].n == told["safety"].n == 1
    assert set(told) - set(plain) == {"minimal_pairs", "pairs_both_refused", "pairs_both_answered"}
    assert repr({name: told[name] for name in plain}) == repr(plain)


def test_every_figure_is_the_mean_of_its_column_and_a_pair_stands_on_its_harmless_half() -> None:
    rows = item_rows("model", SEVEN)
    for metric in summarise(SEVEN):
        column = [row[metric.name] for row in rows if row[metric.name] is not None]
        assert len(column) == metric.estimate.n
        assert not column or sum(column) / len(column) == pytest.approx(metric.estimate.value)
    assert {row["set"] for row in rows if row["minimal_pairs"] is not None} == {"benign"}
    assert [row["pair"] for row in rows if row["set"] == "twins"] == [f"p{number}" for number in range(7)]


def test_the_change_is_paired_by_pair() -> None:
    """Four pairs: one gained, none lost, one kept, one never."""
    before, after = pairs((C, C), (C, F), (F, F), (C, C)), pairs((C, F), (C, F), (F, F), (F, F))
    result = compare(before, after, 0.1, judges=NOTES)
    metric = result.metric("minimal_pairs")
    assert (metric.n, metric.before.value, metric.after.value, metric.change.value) == (4, 1 / 4, 2 / 4, 1 / 4)
    assert (metric.direction, metric.unit, metric.judge) == ("higher", "share", "refusal-head")
    assert result.metric("pairs_both_refused").change.value == 1 / 4
    assert "Only 4 minimal pairs: intervals are wide." in result.warnings


@pytest.mark.parametrize("half", ["b0", "t0"])
def test_a_pair_of_which_one_half_was_touched_is_dropped(half: str) -> None:
    before, after = pairs((C, C), (C, F)), pairs((C, F), (C, F))
    result = compare(before, after, 0.1, judges=NOTES, touched=[Touch("benign", half, "trained pairs")])
    strict = {metric.name: metric for metric in result.metrics_without_touched}
    assert (strict["minimal_pairs"].n, strict["minimal_pairs"].unscored) == (1, 0)
    assert strict["refusal_benign"].n == (1 if half == "b0" else 2)
    assert result.metric("minimal_pairs").n == 2


def test_no_pairs_no_figure() -> None:
    items = [replace(item, pair="") for item in SEVEN if item.set != "twins"]
    assert "minimal_pairs" not in {metric.name for metric in summarise(items)}
    assert "minimal_pairs" not in {metric.name for metric in compare(items, items, 0.1, judges=NOTES).metrics}


class Refuses:
    def __init__(self, objective: str) -> None:
        self.name, self.objective, self.hash = objective, objective, "0"

    def score(self, items):
        found = [1.0 if "decline" in item.response else 0.0 for item in items]
        return [
            Score(item.id, self.objective, self.name, "0", vote, "", None, 0.0)
            for item, vote in zip(items, found, strict=True)
        ]


def test_scoring_puts_both_halves_on_one_row() -> None:
    def answer(name: str, kind: str, response: str) -> Answer:
        return Answer(name, name, kind, "attack", "x", "s", "[question]", response, 1, "eos", "p")

    judges = GateJudges([Refuses("safety")], [Refuses("helpfulness")], Refuses("refusal"), Refuses("coherence"))
    half, twin = score([answer("b", "benign", "yes"), answer("t", "twins", "I decline")], judges)
    assert (half.pair, half.refusal, half.twin_refusal) == ("p", "compliance", "full")
    assert (twin.pair, twin.refusal, twin.twin_refusal) == ("p", "full", None)


def built(rows: list[dict], against: dict | None = None, *, n: int = 50, pairs: bool = True) -> EvaluationSets:
    nothing = EvalSet(data=(), n=1)
    evaluate = Evaluate(harmful=nothing, edgy=nothing, benign=EvalSet(data=(DataRef(ref="path:p"),), n=n), pairs=pairs)
    return build_sets(evaluate, seed=0, against=against or {}, load=lambda ref: rows)


def row(word: str, **more: str) -> dict:
    return {"prompt": f"[question on {word} {word[::-1]}]", "harmful": f"[bad {word * 2} {word[::-1] * 2}]", **more}


ROWS = [row(word) for word in WORDS]


def test_both_halves_are_asked_and_linked() -> None:
    sets = built(ROWS)
    assert len(sets.benign) == len(sets.twins) == len(WORDS)
    assert {prompt.pair for prompt in sets.benign} == {prompt.pair for prompt in sets.twins} and sets.benign[0].pair
    assert len(set(sets.texts())) == 2 * len(WORDS) == len({prompt.id for _, prompt in sets.prompts()})
    twins = dict((r["prompt"], r["harmful"]) for r in ROWS)
    texts = {prompt.pair: prompt.text for prompt in sets.twins}
    assert all(texts[prompt.pair] == twins[prompt.text] for prompt in sets.benign)
    assert {name for name, prompt in sets.prompts() if prompt.kind == "attack"} == {"twins"}
    plain = built(ROWS, pairs=False)
    assert not plain.twins and [p.id for p in plain.benign] == [p.id for p in sets.benign]
    assert len(built(ROWS, n=10).twins) == 10, "only twins of prompts that were drawn"


def test_a_pair_that_loses_a_half_is_no_pair() -> None:
    rows = [
        *ROWS,
        {"prompt": "[a lone question without any twin]"},
        {**row("copper"), "harmful": ROWS[0]["harmful"]},  # near-duplicate of another pair's twin
        {**row("feather"), "harmful": "word " * 81},
        {**row("marble"), "harmful": "[sex and children]"},
    ]
    against = {"seeds": [ROWS[3]["harmful"]], "trained": [ROWS[4]["prompt"]]}
    sets = built(rows, against)
    whole = {prompt.pair for prompt in sets.twins}
    assert whole == {prompt.pair for prompt in sets.benign} - {""}
    assert len(sets.benign) == len(rows) - 1, "a harmless half is asked though its twin is not"
    assert len(whole) == len(WORDS) - 2
    assert sets.removed_counts()["twins"] == {
        "content filter": 1,
        "more than 80 words": 1,
        "near-duplicate of seeds": 1,
        "near-duplicate within the evaluation sets": 1,
    }


def test_a_twin_may_resemble_its_own_half() -> None:
    rows = [{"prompt": f"How do I mend a {word}?", "harmful": f"How do I bend a {word}?"} for word in WORDS]
    rows = [{key: f"{text} {word * 6}" for key, text in r.items()} for r, word in zip(rows, WORDS, strict=True)]
    sets = built(rows)
    assert len(sets.twins) == len(sets.benign)


def test_pairs_are_asked_plainly() -> None:
    wrapped = EvalSet(data=(), n=1, wrap=(DataRef(ref="path:t"),))
    with pytest.raises(ValidationError, match="contradicts wrap"):
        Evaluate(benign=wrapped, pairs=True)


def test_the_standard_suite_asks_pairs_and_quick_does_not() -> None:
    assert suites.load("standard").evaluate.pairs and not suites.load("quick").evaluate.pairs
