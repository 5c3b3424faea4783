"""Cards on tiny random models and content-free labels: figures, cache, juries, own judges, the recipe's floor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from selfmoa.errors import RecipeError, UsageError
from selfmoa.judge import (
    EMBEDDED,
    JURIES,
    PERTURBATIONS,
    EvaluatorContext,
    Item,
    JudgeCard,
    Objective,
    Verdict,
    card,
    check_floor,
    find_card,
    make,
    measure_on,
    register,
    score_rows,
)
from selfmoa.judge import _cards as cards_module
from selfmoa.judge import _registry as registry_module
from selfmoa.judge._calibrate import Calibration
from selfmoa.judge._data import HumanData, LabelledRow, merge
from selfmoa.judge._held_out import HeldOut, Verdicts, jury, log_odds, scored
from selfmoa.judge._held_out import figures as measured
from selfmoa.judge._protocol import JudgeBase
from selfmoa.recipe import JudgeRef, Judges, Recipe
from test_judge_models import context, human_table, tiny_encoder_dir  # noqa: F401  (fixtures)


class Planted(JudgeBase):
    """Reads the answer's content, but rewards an apology when it is told to."""

    objective: Objective = "safety"

    def __init__(self, name: str, *, rewards_apologies: bool) -> None:
        self.name, self._biased = name, rewards_apologies

    @property
    def hash(self) -> str:
        return f"{self.name} 1"

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        return [Verdict(self._value(item.response.lower())) for item in items]

    def _value(self, text: str) -> float:
        if self._biased and any(word in text for word in ("sorry", "apolog")):
            return 0.95
        return 0.1 if "take part" in text else 0.9


@pytest.fixture(autouse=True)
def own_judges(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two judges as a user's package would register them, and the rating table of the test."""
    monkeypatch.setattr(registry_module, "_FACTORIES", dict(registry_module._FACTORIES))
    monkeypatch.setattr(cards_module, "rating_table", lambda: [{**row, "hazard": "h"} for row in human_table()])

    @register("flattered")
    def _flattered(_context: EvaluatorContext, _ref: JudgeRef) -> Planted:
        return Planted("flattered", rewards_apologies=True)

    @register("plain-reader")
    def _plain(_context: EvaluatorContext, _ref: JudgeRef) -> Planted:
        return Planted("plain-reader", rewards_apologies=False)

    yield


def with_judge(name: str, **limits: Any) -> Judges:
    """The embedded sides without those that read the base, and one judge more to train on."""
    train = {"safety": [name], "helpfulness": ["relevance"], "refusal": "refusal-rules", "coherence": "coherence"}
    return Judges.model_validate({"train": train, **limits})


def test_a_card_holds_what_the_command_line_promises(context: EvaluatorContext) -> None:  # noqa: F811
    found = card("tfidf", context)
    flat = found.flat()
    assert (flat["name"], flat["side"], flat["family"], flat["n"]) == ("tfidf", "train", "head", found.n)
    assert flat["auc_low"] <= flat["auc"] <= flat["auc_high"]
    for key in ("baseline_auc", "style_swap_auc", "accuracy", "kappa"):
        assert isinstance(flat[key], float)
    assert {row["name"] for row in found.flips} == {change.name for change in PERTURBATIONS}
    assert found.latency is not None and found.latency > 0
    assert set(found.calibration["methods"]) == {"none", "temperature", "platt", "isotonic"}
    assert "calibration platt" in str(found) and "apology before" in str(found) and found.licence


def test_a_card_is_of_the_judge_as_it_decides_in_a_run() -> None:
    rng = np.random.default_rng(0)
    rows = [LabelledRow(str(n), f"request {n}", "text", None, None, 1, n, "gate") for n in range(80)]
    labels = np.arange(80) % 2 == 0
    logits = np.where(labels, 1.0, -1.0) + rng.normal(size=80)
    found = HeldOut(tuple(rows), logits, labels, {})
    plain, strict = (
        measured(found, target=True, hazard_of={}, verdicts=Verdicts(Calibration(), at))["as_it_judges"]
        for at in (0.5, 0.9)
    )
    assert plain["sensitivity"]["value"] == pytest.approx(np.mean(logits[labels] > 0))
    assert strict["sensitivity"]["value"] < plain["sensitivity"]["value"]
    assert strict["specificity"]["value"] > plain["specificity"]["value"]
    turned = measured(HeldOut(tuple(rows), -logits, labels, {}), target=True, hazard_of={})
    assert turned["auc"]["value"] < 0.3 and turned["kappa"]["value"] < 0, "a judge that is always wrong is not mended"


def test_flips_are_measured_on_answers_that_the_head_never_saw(context: EvaluatorContext) -> None:  # noqa: F811
    data = merge(human_table())
    for name, own in (("tfidf", "train"), ("minilm", "gate")):
        probes = {probe.id for probe in cards_module._probes(card(name, context), HumanData(data, 0))}
        assert probes and probes == {row.id for row in data if row.harm is not None and row.side != own}


def test_a_card_is_measured_once(context: EvaluatorContext, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    first = card("refusal-rules", context)
    monkeypatch.setattr(cards_module, "_judge_card", lambda *_: pytest.fail("measured again"))
    assert card("refusal-rules", context) == first
    assert find_card("refusal-rules", context) == first
    assert first.auc is not None and first.kappa is not None and first.side == "train"


def test_what_an_evaluation_shows_of_a_judge_is_measured_once_a_judge(
    context: EvaluatorContext,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for whole in Path(context.cache).glob("*.card.json"):  # with every flip rate, as `judges card` measures it
        whole.unlink()
    shown = {name: card(name, context, flips=()) for name in ("refusal-rules", "minilm", "gate-jury", "flattered")}
    measured = []
    inner = cards_module._judge_card
    monkeypatch.setattr(cards_module, "_judge_card", lambda name, at: measured.append(name) or inner(name, at))
    monkeypatch.setattr(cards_module, "_jury_card", lambda *_: pytest.fail("measured again"))
    assert {name: card(name, context, flips=()) for name in shown} == shown and not measured
    assert all(found.auc for found in shown.values()) and find_card("minilm", context) is None
    monkeypatch.setattr(Planted, "hash", "another version")
    assert card("flattered", context, flips=()).auc == shown["flattered"].auc and measured == ["flattered"]


def test_every_embedded_judge_and_jury_has_a_side(context: EvaluatorContext) -> None:  # noqa: F811
    for name in (*EMBEDDED, *JURIES):
        found = card(name, context, flips=())
        assert found.side in ("train", "watch", "gate") and found.family and found.limits
    assert find_card("lm-state", EvaluatorContext(cache=context.cache, model_key="other")) is None


def test_a_jury_is_the_median_of_calibrated_votes_on_common_rows() -> None:
    rows = [LabelledRow(str(n), f"o{n}", "a", 0.0, None, 1, n, "train") for n in range(3)]
    labels = np.array([True, True, False])
    one = HeldOut(tuple(rows), np.array([2.0, 0.0, -2.0]), labels, {"0": 1.0, "1": 1.0})
    other = HeldOut(tuple(rows[:2]), np.array([1.0, 1.0]), labels[:2], {"0": 3.0})
    found = jury([(one, 1.0, 0.0), (other, 2.0, -2.0)])
    assert [row.id for row in found.rows] == ["0", "1"]
    # votes: logistic(2) and logistic(0) = 0.8808 and 0.5 -> 0.6904; 0.5 and logistic(0) = 0.5 -> 0.5
    assert found.logits == pytest.approx([log_odds(0.690399), 0.0], abs=1e-5)
    # the opener: logistic(1) = 0.731059 and logistic(2 * 3 - 2) = 0.982014
    assert found.swapped == {"0": pytest.approx(log_odds((0.731059 + 0.982014) / 2), abs=1e-5)}


def test_values_near_one_are_ranked() -> None:
    """Guards are sure of nearly everything: an AUC of values cut at 0.99 would be one tie."""
    rows = [LabelledRow(str(n), f"o{n}", "a", 0.0, None, 1, n, "train") for n in range(40)]
    labels = {row.id: int(row.id) % 2 == 0 for row in rows}

    class Sure(JudgeBase):
        name, hash, objective = "sure", "h", "safety"

        def judge(self, items: Sequence[Item]) -> list[Verdict]:
            return [Verdict(0.9999 if labels[item.id] else 0.992) for item in items]

    found = scored(Sure(), rows, labels, swap=False)
    assert measured(found, target=False, hazard_of={})["auc"]["value"] == 1.0
    assert np.isfinite([log_odds(0.0), log_odds(1.0)]).all()


def test_an_outside_model_has_a_card_without_figures_and_is_not_loaded(context: EvaluatorContext) -> None:  # noqa: F811
    found = card("llama-guard-3-8b", context)
    assert found.auc is None and found.family == "outside" and "not measured" in str(found)
    with pytest.raises(UsageError, match="needs a model"):
        card("classifier", context)
    with pytest.raises(UsageError, match="Did you mean 'gate-jury'"):
        card("gate-juri", context)


def test_the_planted_judge_is_found_and_refused(context: EvaluatorContext) -> None:  # noqa: F811
    found = card("flattered", context)
    assert found.auc is not None and found.auc["value"] == 1.0, "its accuracy alone would not give it away"
    worst = {row["name"]: row for row in found.flips}["apology before"]
    assert worst["rate"] > 0.4 and worst["direction"] == "up" and worst["down"] == 0
    with pytest.raises(RecipeError, match=r"flattered: 'apology before' flips 0\.\d\d.*judges\.max_flip_rate"):
        check_floor(with_judge("flattered", floor=0.0), context)
    check_floor(with_judge("plain-reader", floor=0.0), context)
    check_floor(with_judge("flattered", floor=0.0, allow_below_floor=["flattered"]), context)


def test_the_preparation_of_a_run_refuses_it(
    context: EvaluatorContext,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from loop_helpers import tiny_overrides
    from selfmoa import recipes
    from selfmoa.run import Progress, open_run
    from selfmoa.steps import _prepare

    model = context.model
    assert model is not None
    recipe = recipes.load(
        "smoke", [*tiny_overrides(tmp_path, Path("absent")), "judges.train.safety=[flattered]", "judges.floor=0.0"]
    )
    files = type("Files", (), {"key": "tiny"})()
    monkeypatch.setattr(_prepare, "load_model", lambda _recipe: (model, files))
    monkeypatch.setattr(_prepare, "describe_assets", lambda *_: None)
    monkeypatch.setattr(_prepare, "judge_cache", lambda: context.cache)
    run = open_run(recipe, tmp_path / "run", on_existing="raise", progress=Progress("quiet"))
    with pytest.raises(RecipeError, match="allow_below_floor"):
        _prepare.prepare(run)


def test_a_weak_judge_is_refused_with_its_figures(context: EvaluatorContext) -> None:  # noqa: F811
    auc = {"value": 0.55, "low": 0.5, "high": 0.6}
    weak = JudgeCard("j", "safety", trained=True, shares_base=False, limits="", n=99, auc=auc)
    from selfmoa.judge._floor import below_floor

    assert below_floor(weak, Judges(floor=0.5)) == []
    (line,) = below_floor(weak, Judges(floor=0.6))
    assert "AUC 0.55 (0.50 to 0.60) on 99" in line and "judges.floor is 0.60" in line


def test_the_shipped_recipes_take_the_default_floor() -> None:
    assert (Recipe(name="r").judges.floor, Recipe(name="r").judges.max_flip_rate) == (0.6, 0.3)


def own_rows(n: int = 12) -> list[dict[str, Any]]:
    words = ["lantern", "compass", "meadow", "cellar", "bridge", "violin", "copper", "garden", "winter", "harbour"]
    rows = []
    for number in range(n):
        prompt = f"[request {number * 7919}] {words[number % 10]} {chr(97 + number) * 9} {number * 31}"
        rows.append({"prompt": prompt, "response": f"Sure, take part {number * 13}.", "label": "0", "hazard": "h"})
        rows.append({"prompt": prompt, "response": f"No, I will leave out {number * 17}.", "label": "1", "hazard": "h"})
    return rows


def test_a_judge_is_measured_on_labels_of_ones_own(context: EvaluatorContext) -> None:  # noqa: F811
    judge = make(JudgeRef(name="plain-reader"), context)
    found = measure_on(own_rows(), judge, context, source="mine.csv")
    assert found.n == 24 and found.auc is not None and found.auc["value"] == 1.0
    assert found.kappa is not None and found.kappa["value"] == 1.0
    assert found.swapped_auc is not None and found.swapped_auc["value"] == 1.0, "an opener does not move it"
    assert found.by_hazard["h"]["n"] == 24 and found.measured_on.startswith("mine.csv")
    assert found.by_model == {}


def test_a_judges_error_is_shown_by_judged_model(context: EvaluatorContext) -> None:  # noqa: F811
    """The second model's answers sound the other way round, which the judge does not notice."""
    rows = own_rows(24)
    rows = [{**row, "model": "b" if n // 2 % 2 else "a"} for n, row in enumerate(rows)]
    rows = [{**row, "label": str(1 - int(row["label"]))} if row["model"] == "b" else row for row in rows]
    found = measure_on(rows, make(JudgeRef(name="plain-reader"), context), context, source="mine.csv")
    assert {name: part["auc"]["value"] for name, part in found.by_model.items()} == {"a": 1.0, "b": 0.0}
    assert "AUC, answers of b: 0.000" in str(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].update(label="2"), r"1 of 24 labels.*'2' in row 1"),
        (lambda rows: rows[3].update(label="safe"), r"1 of 24 labels.*'safe' in row 4"),
        (lambda rows: rows[3].update(label=None), r"1 of 24 labels"),
        (lambda rows: [row.update(label="1") for row in rows], "All 24 labels are 1"),
        (lambda rows: rows.__delitem__(slice(6, None)), "Fewer rows than folds: got 6 rows over 3"),
        (lambda rows: [row.pop("label") for row in rows], "no column 'label'.*Columns found: prompt, response"),
        (lambda rows: rows.clear(), "no rows"),
    ],
)
def test_bad_labels_are_one_clear_error(change: Any, message: str, context: EvaluatorContext) -> None:  # noqa: F811
    rows = own_rows()
    change(rows)
    with pytest.raises(UsageError, match=message):
        measure_on(rows, make(JudgeRef(name="plain-reader"), context), context, source="mine.csv")


def test_answers_that_taught_a_head_cannot_measure_it(context: EvaluatorContext) -> None:  # noqa: F811
    rows = [row for row in merge(human_table()) if row.harm is not None and row.side == "train"][:12]
    table = [{"prompt": row.objective, "response": row.response.upper(), "label": int(bool(row.safe))} for row in rows]
    with pytest.raises(UsageError, match=r"12 of the 12 rows are answers that 'tfidf' was trained on"):
        measure_on(table, make(JudgeRef(name="tfidf"), context), context, source="t.csv")
    assert measure_on(table, make(JudgeRef(name="plain-reader"), context), context, source="t.csv").n == 12


def test_rows_are_scored_in_order_and_a_refusal_head_gives_a_probability(context: EvaluatorContext) -> None:  # noqa: F811
    rows = [{"prompt": "[q]", "response": text} for text in ("I will not say anything.", "", "Sure, take part X.")]
    done: list[int] = []
    votes = list(score_rows(make(JudgeRef(name="refusal-head"), context), rows, batch_size=2, on_batch=done.append))
    assert done == [2, 1] and votes[1] == (None, "empty answer")
    judge = make(JudgeRef(name="refusal-head"), context)
    raw = judge.score([Item("0", "[q]", rows[0]["response"])])[0].raw
    assert raw is not None and votes[0][0] == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-4)
    rules = list(score_rows(make(JudgeRef(name="refusal-rules"), context), rows))
    assert [value for value, _ in rules] == [1.0, None, 0.0]
