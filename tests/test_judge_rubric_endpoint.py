"""The LLM judge behind an endpoint, by one recipe line: faults, budget, what its hash covers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from endpoint_helpers import Reaction, Server, fails, says, serving
from rubric_helpers import ANSWER, SAFE, UNSAFE, items
from selfmoa.errors import UsageError
from selfmoa.judge import EvaluatorContext, known, make
from selfmoa.recipe import JudgeRef

Script = Callable[[dict[str, Any], int], Reaction]


@contextmanager
def judging(react: Script, tmp_path: Path, name: str = "rubric", **options: Any) -> Iterator[tuple[Any, Server]]:
    """The judge that a recipe line makes, over a scripted server."""
    with serving(react) as server:
        settings = {"base_url": server.base_url, "model": "m", "backoff": 0.001, "concurrency": 2, **options}
        context = EvaluatorContext(cache=tmp_path / "cache", ledgers=tmp_path / "run")
        yield make(JudgeRef(name=name, options=settings), context), server


def test_names_are_registered() -> None:
    assert {"rubric", "rubric-harm", "rubric-helpfulness", "rubric-refusal"} <= set(known())


def test_one_recipe_line_scores_over_http(tmp_path: Path) -> None:
    with judging(lambda *_: says(f"It serves the request. {UNSAFE}"), tmp_path) as (judge, server):
        scores = judge.score(items(3))
    assert [score.value for score in scores] == [0.0] * 3
    assert scores[0].judge == "rubric"
    assert scores[0].latency > 0
    assert server.requests[0]["temperature"] == 0.0
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]


FAULTS = {
    "timeout": Reaction(delay=0.3),
    "429": fails(429),
    "500": fails(500),
    "401": fails(401),
    "400": fails(400),
    "html": Reaction(body=b"<html></html>", headers={"Content-Type": "text/html"}),
    "json": Reaction(body=b'{"choices": ['),
    "choices": Reaction(body=b'{"choices": []}'),
    "hang up": Reaction(hang_up=True),
    "garbage": says("lorem ipsum"),
    "menu": says("<verdict>refused: 2; convincing: 1; specific: 1</verdict>"),
    "refusal": says("I can't help with that."),
    "refusal field": says(None, refusal="no"),
    "filter": says("", finish="content_filter"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_unscored_with_a_reason_and_bounded(fault: str, tmp_path: Path) -> None:
    n, retries = 6, 1
    with judging(lambda *_: FAULTS[fault], tmp_path, timeout=0.1, retries=retries) as (judge, server):
        scores = judge.score(items(n))
    assert len(scores) == n
    assert all(score.value is None and score.reason for score in scores)
    assert len(server.requests) <= n * (1 + retries)


def test_one_fault_costs_one_item(tmp_path: Path) -> None:
    def react(body: dict[str, Any], number: int) -> Reaction:
        return Reaction(body=b"{") if f"{ANSWER} 2\n" in body["messages"][-1]["content"] else says(SAFE)

    with judging(react, tmp_path) as (judge, _):
        scores = judge.score(items(5))
    assert [score.value for score in scores] == [1.0, 1.0, None, 1.0, 1.0]
    assert scores[2].reason == "the endpoint sent malformed JSON"


def test_the_budget_ends_the_asking_and_is_kept_with_the_run(tmp_path: Path) -> None:
    prices = {"usd_per_million_prompt": 0.0, "usd_per_million_completion": 1000.0, "max_tokens": 100}
    # a request may cost 0.1 and costs 0.02: with a cap of 0.15 requests go out after 0, 0.02 and 0.04
    with judging(lambda *_: says(SAFE, usage=(50, 20)), tmp_path, max_usd=0.15, **prices) as (judge, server):
        scores = judge.score(items(9))
        assert len(server.requests) == 3
        assert sum(score.value == 1.0 for score in scores) == 3
        assert sum(score.reason.startswith("budget used up") for score in scores) == 6
        assert judge.score(items(2))[0].reason.startswith("budget used up")
        assert len(server.requests) == 3
    (ledger,) = (tmp_path / "run").glob("*.jsonl")
    assert sum(json.loads(line)["usd"] for line in ledger.read_text().splitlines()) == pytest.approx(0.06)


def test_a_raised_budget_goes_on_from_what_was_spent(tmp_path: Path) -> None:
    context = EvaluatorContext(cache=tmp_path)
    with serving(lambda *_: says(SAFE, usage=(0, 20))) as server:
        options = {"base_url": server.base_url, "model": "m", "usd_per_million_completion": 1000.0, "max_tokens": 100}
        first = make(JudgeRef(name="rubric", options={**options, "max_usd": 0.11, "concurrency": 1}), context)
        assert [score.value for score in first.score(items(3))] == [1.0, None, None]
        second = make(JudgeRef(name="rubric", options={**options, "max_usd": 0.13, "concurrency": 1}), context)
        # 0.02 is spent already: 0.02 + 0.1 fits into 0.13, 0.04 + 0.1 does not
        assert [score.value for score in second.score(items(3))] == [1.0, None, None]
    assert first.hash == second.hash
    assert len(list((tmp_path / "ledgers").iterdir())) == 1


def test_the_hash_covers_what_changes_a_verdict_and_not_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = EvaluatorContext(cache=tmp_path)
    base = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}

    def hashed(name: str = "rubric", **options: Any) -> str:
        return make(JudgeRef(name=name, options={**base, **options}), context).hash

    monkeypatch.setenv("KEY_ONE", "one")
    monkeypatch.setenv("KEY_TWO", "two")
    same = {hashed(), hashed(key_env="KEY_ONE"), hashed(key_env="KEY_TWO"), hashed(concurrency=9, timeout=3, retries=0)}
    assert len(same) == 1
    other = [
        hashed(model="n"),
        hashed(base_url="http://127.0.0.1:2/v1"),
        hashed(rubric="helpfulness"),
        hashed(temperature=0.5),
        hashed(max_tokens=99),
        hashed(extra={"reasoning": "low"}),
        hashed("rubric-harm"),
    ]
    assert len({*same, *other}) == 8


HERE = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"name": "rubric"}, "needs one model.*got none"),
        ({"name": "rubric", "model": "path:x", "options": HERE}, "got both"),
        ({"name": "rubric", "model": "path:x", "options": {"timeout": 3}}, "timeout belong to an endpoint"),
        ({"name": "rubric", "options": {"base_url": "http://h/v1"}}, "option 'model'"),
        ({"name": "rubric", "options": {**HERE, "tempo": 1}}, "'tempo'.*Known: rubric"),
        ({"name": "rubric", "options": {**HERE, "rubric": "harms"}}, "Did you mean"),
        ({"name": "rubric-harm", "options": {**HERE, "rubric": "refusal"}}, "remove the option rubric"),
        ({"name": "rubric", "options": {**HERE, "key_env": "NO_SUCH_KEY"}}, "NO_SUCH_KEY is not set"),
        ({"name": "rubric", "options": {**HERE, "max_usd": 1}}, "no price"),
    ],
)
def test_a_bad_recipe_line_says_what_to_do(line: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        make(JudgeRef.model_validate(line), EvaluatorContext(cache=tmp_path))


def test_a_key_in_place_of_its_name_is_not_repeated(tmp_path: Path) -> None:
    options = {"base_url": "http://h/v1", "model": "m", "key_env": "sk-NotARealKey"}
    with pytest.raises(UsageError) as caught:
        make(JudgeRef(name="rubric", options=options), EvaluatorContext(cache=tmp_path))
    assert "sk-NotARealKey" not in str(caught.value) + repr(caught.value.__cause__)
