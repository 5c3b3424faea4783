"""The HTTP engine against a scripted server: retries, faults, money, and the key that never shows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from endpoint_helpers import Reaction, Server, fails, says, serving
from selfmoa.errors import EndpointError, StorageError, UsageError
from selfmoa.generate import Charge, Endpoint, EndpointGenerator, Generation, Ledger, Request, Unanswered
from selfmoa.recipe import Sampling

GREEDY = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=40)
KEY = "sk-NotARealKey-0123456789"
Script = Callable[[dict[str, Any], int], Reaction]


def ask(
    react: Script, n: int = 1, *, ledger: Ledger | None = None, **options: Any
) -> tuple[list[Generation | Unanswered], Server]:
    """n questions to a scripted server, and what it saw."""
    with serving(react) as server:
        settings = {"model": "judge", "backoff": 0.001, "concurrency": 1, "base_url": server.base_url, **options}
        generator = EndpointGenerator(Endpoint(**settings), ledger)
        requests = [Request(user=f"question {number}", system="rules") for number in range(n)]
        return generator.ask(requests, GREEDY, seed=7), server


def in_turn(*reactions: Reaction) -> Script:
    """One reaction after the other; the last one stays."""
    return lambda _, number: reactions[min(number, len(reactions) - 1)]


def reason(answer: Generation | Unanswered) -> str:
    assert isinstance(answer, Unanswered), answer
    return answer.reason


# -- what is sent and read --------------------------------------------------------------------------------


def test_one_answer_a_request_in_order_whatever_order_they_come_back_in() -> None:
    def react(body: dict[str, Any], number: int) -> Reaction:
        reaction = says(body["messages"][-1]["content"].upper())
        reaction.delay = 0.05 if number % 3 == 0 else 0.0
        return reaction

    answers, server = ask(react, 9, concurrency=3)
    assert [answer.text for answer in answers if isinstance(answer, Generation)] == [f"QUESTION {i}" for i in range(9)]
    assert 2 <= server.most_at_once <= 3


def test_the_request_says_what_the_recipe_asks_for() -> None:
    answers, server = ask(in_turn(says("yes", finish="length")))
    assert answers == [Generation("yes", 5, "length")]
    assert server.requests == [
        {
            "model": "judge",
            "messages": [{"role": "system", "content": "rules"}, {"role": "user", "content": "question 0"}],
            "temperature": 0.0,
            "max_tokens": 40,
            "seed": 7,
        }
    ]
    assert "Authorization" not in server.headers[0]


def test_extra_fields_replace_ours_and_null_takes_them_out() -> None:
    extra = {"max_tokens": None, "max_completion_tokens": 64, "temperature": None, "seed": None, "reasoning": "low"}
    _, server = ask(in_turn(says("yes")), extra=extra, system_role=False)
    assert server.requests == [
        {
            "model": "judge",
            "messages": [{"role": "user", "content": "rules\n\nquestion 0"}],
            "max_completion_tokens": 64,
            "reasoning": "low",
        }
    ]


def test_half_a_surrogate_pair_in_a_text_is_sent_not_raised() -> None:
    with serving(in_turn(says("fine"))) as server:
        generator = EndpointGenerator(Endpoint(base_url=server.base_url, model="judge"))
        assert generator.ask([Request(user="odd \ud800 text")], GREEDY, seed=0) == [Generation("fine", 5, "eos")]


def test_a_list_of_text_parts_is_read() -> None:
    answers, _ = ask(in_turn(says([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])))
    assert answers == [Generation("ab", 5, "eos")]


def test_as_a_generator_it_raises_where_there_is_no_answer_and_has_neither_adapters_nor_openers() -> None:
    with serving(lambda _, number: says("yes") if number == 0 else fails(400)) as server:
        generator = EndpointGenerator(Endpoint(base_url=server.base_url, model="judge", concurrency=1))
        request = Request(user="question")
        assert generator.generate([request], GREEDY, role=None, seed=0) == [Generation("yes", 5, "eos")]
        with pytest.raises(EndpointError, match="HTTP 400"):
            generator.generate([request], GREEDY, role=None, seed=0)
        with pytest.raises(UsageError, match="no adapters"):
            generator.generate([request], GREEDY, role="target", seed=0)
        with pytest.raises(UsageError, match="prefilled"):
            generator.generate([Request(user="question", prefill="Sure")], GREEDY, role=None, seed=0)
    assert len(server.requests) == 2


# -- faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_passes_is_retried(status: int) -> None:
    answers, server = ask(in_turn(fails(status), fails(status), says("at last")))
    assert answers == [Generation("at last", 5, "eos")]
    assert len(server.requests) == 3


def test_retries_are_bounded() -> None:
    answers, server = ask(in_turn(fails(500)), 2, retries=3)
    assert [reason(answer) for answer in answers] == ["HTTP 500 from the endpoint"] * 2
    assert len(server.requests) == 2 * (1 + 3)


def test_backoff_doubles_with_jitter() -> None:
    _, server = ask(in_turn(fails(503), fails(503), says("yes")), backoff=0.08)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    # half of each pause is jitter: 0.04 to 0.08 s, then 0.08 to 0.16 s; a busy machine adds to it
    assert gaps[0] >= 0.04
    assert gaps[1] >= 0.08


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(form: str) -> None:
    # a date has whole seconds only: 1.5 s from now, cut to the second, is at least 0.5 s away
    wait = "0.4" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=1.5), usegmt=True)
    answers, server = ask(in_turn(fails(429, Retry_After=wait), says("yes")))
    assert answers == [Generation("yes", 5, "eos")]
    assert server.times[1] - server.times[0] >= 0.4


def test_a_retry_after_beyond_max_wait_ends_the_item() -> None:
    answers, server = ask(in_turn(fails(429, Retry_After="3600")), max_wait=30)
    assert "asks to wait 3600 s, longer than max_wait (30 s)" in reason(answers[0])
    assert len(server.requests) == 1


def test_a_nonsense_retry_after_is_ignored() -> None:
    answers, _ = ask(in_turn(fails(429, Retry_After="soon"), says("yes")))
    assert answers == [Generation("yes", 5, "eos")]


@pytest.mark.parametrize(
    ("reaction", "said"),
    [
        (fails(401), "key_env"),
        (fails(402), "no credit"),
        (fails(403), "may not use"),
        (fails(404), "base_url and model"),
        (fails(429, code="insufficient_quota"), "no credit"),
        (fails(302, Location="http://127.0.0.1:1/"), "base_url"),
    ],
)
def test_what_no_later_request_can_escape_ends_the_call(reaction: Reaction, said: str) -> None:
    answers, server = ask(in_turn(reaction), 20)
    assert len(server.requests) == 1
    assert len(answers) == 20
    assert all(said in reason(answer) for answer in answers)


def test_a_bad_request_is_not_retried_and_says_what_the_endpoint_said() -> None:
    answers, server = ask(in_turn(fails(400, message="unknown\nfield\x1b seed"), says("yes")), 2)
    assert reason(answers[0]).startswith("HTTP 400 from the endpoint (unknown field seed); check")
    assert answers[1] == Generation("yes", 5, "eos")
    assert len(server.requests) == 2


def test_a_text_that_is_too_long_or_filtered_is_that_items_affair() -> None:
    script = in_turn(fails(400, code="context_length_exceeded"), fails(400, code="content_filter"), says("yes"))
    answers, server = ask(script, 3, give_up_after=1)
    assert "longer than the model's context" in reason(answers[0])
    assert "content filter" in reason(answers[1])
    assert answers[2] == Generation("yes", 5, "eos")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("reaction", "said"),
    [
        (Reaction(body=b"<!doctype html><p>Welcome", headers={"Content-Type": "text/html"}), "web page"),
        (Reaction(body=b"  <html></html>"), "web page"),
        (Reaction(body=b'{"choices": [{"mess'), "malformed JSON"),
        (Reaction(body=b""), "malformed JSON"),
        (Reaction(body=b"\xff\xfe\xfa"), "malformed JSON"),
        (Reaction(body=b"[" * 200_000), "malformed JSON"),
        (Reaction(body=b"x" * 4_000_001), "exceeds"),
        (Reaction(body=b"abc", headers={"Content-Encoding": "gzip"}), "not encoded as it says"),
        (Reaction(body=b"[]"), "no choices"),
        (Reaction(body=b'"text"'), "no choices"),
        (Reaction(body=b'{"choices": []}'), "no choices"),
        (Reaction(body=b'{"choices": {"0": 1}}'), "no choices"),
        (Reaction(body=b'{"choices": [7]}'), "empty"),
        (Reaction(body=b'{"choices": [{"message": "hello"}]}'), "empty"),
        (says(None), "empty"),
        (says("  "), "empty"),
        (says(12), "empty"),
        (says("", finish="length"), "max_tokens"),
        (says(None, refusal="I cannot."), "declined"),
        (says("half a", finish="content_filter"), "content filter"),
    ],
)
def test_a_body_without_an_answer_is_one_unanswered_item(reaction: Reaction, said: str) -> None:
    answers, server = ask(in_turn(reaction, says("yes")), 2)
    assert said in reason(answers[0])
    assert answers[1] == Generation("yes", 5, "eos")
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", [{"delay": 0.5}, {"drip": 0.02}])
def test_a_slow_answer_times_out_and_is_retried(fault: dict[str, float]) -> None:
    slow = says("x" * 200)
    slow.delay, slow.drip = fault.get("delay", 0.0), fault.get("drip", 0.0)
    answers, server = ask(in_turn(slow), timeout=0.15, retries=1)
    assert "within 0.15 s" in reason(answers[0])
    assert len(server.requests) == 2


def test_a_lost_connection_is_retried() -> None:
    answers, server = ask(in_turn(Reaction(hang_up=True), says("yes")))
    assert answers == [Generation("yes", 5, "eos")]
    assert len(server.requests) == 2


def test_no_server_at_all() -> None:
    with serving(in_turn(says("yes"))) as server:
        pass
    generator = EndpointGenerator(Endpoint(base_url=server.base_url, model="judge", retries=1, backoff=0.001))
    answers = generator.ask([Request(user="question")] * 3, GREEDY, seed=0)
    assert all("no connection to the endpoint (ConnectError)" in reason(answer) for answer in answers)


def test_after_failures_in_a_row_nothing_more_is_sent() -> None:
    answers, server = ask(in_turn(says("yes"), fails(500)), 30, retries=1, give_up_after=3)
    assert len(server.requests) == 1 + 3 * 2
    assert reason(answers[3]) == "HTTP 500 from the endpoint"
    assert all(reason(answer).startswith("gave up on the endpoint after 3 failures") for answer in answers[4:])


# -- the key ---------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_shows_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUDGE_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    script = in_turn(
        fails(400, message=f"bad key {KEY}"), fails(500, message=KEY), says("yes"), fails(401, message=KEY)
    )
    answers, server = ask(script, 3, key_env="JUDGE_KEY", ledger=Ledger(tmp_path / "costs.jsonl"))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "bad key ***" in reason(answers[0])
    everywhere = caplog.text + str(answers) + (tmp_path / "costs.jsonl").read_text() + str(server.requests)
    assert KEY not in everywhere


def test_a_key_with_a_line_break_inside_never_reaches_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-a\nb")
    with pytest.raises(UsageError, match="JUDGE_KEY holds characters") as caught:
        EndpointGenerator(Endpoint(base_url="https://example.org/v1", model="m", key_env="JUDGE_KEY"))
    assert "sk-a" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(UsageError, match="JUDGE_KEY is not set"):
        EndpointGenerator(Endpoint(base_url="https://example.org/v1", model="m", key_env="JUDGE_KEY"))


def test_an_unencrypted_address_elsewhere_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    EndpointGenerator(Endpoint(base_url="http://127.0.0.1:1/v1", model="m", key_env="JUDGE_KEY"))
    assert not caplog.text
    EndpointGenerator(Endpoint(base_url="http://judge.example/v1", model="m", key_env="JUDGE_KEY"))
    assert "travels unencrypted" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"key_env": KEY},
        {"key_env": "0123abcdef"},
        {"base_url": f"https://user:{KEY}@example.org/v1"},
        {"base_url": f"https://example.org/v1?key={KEY}"},
        {"extra": {"api_key": KEY}},
        {"api_key": KEY},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Endpoint.model_validate({"base_url": "https://example.org/v1", "model": "m", **options})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "example.org/v1"},
        {"base_url": "ftp://example.org"},
        {"base_url": "http://example.org:99999/v1"},
        {"base_url": "http://["},
        {"model": ""},
        {"timeout": 0},
        {"concurrency": 0},
        {"extra": {"messages": []}},
        {"extra": {"n": 4}},
        {"extra": {"max_tokens": None}},
        {"extra": {"max_tokens": "many"}},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Endpoint.model_validate({"base_url": "https://example.org/v1", "model": "m", **options})


def test_the_full_address_is_taken_too() -> None:
    assert Endpoint(base_url="http://h/v1/chat/completions", model="m").base_url == "http://h/v1"


# -- money -----------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


PRICES = {"usd_per_million_prompt": 100.0, "usd_per_million_completion": 1000.0}


def test_tokens_are_counted_and_priced(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "costs.jsonl")
    ask(in_turn(says("yes", usage=(10, 5))), 2, ledger=ledger, **PRICES)
    found = rows(tmp_path / "costs.jsonl")
    assert [(row["prompt_tokens"], row["completion_tokens"], row["estimated"]) for row in found] == [(10, 5, False)] * 2
    # 10 x 100 / 1e6 + 5 x 1000 / 1e6
    assert found[0]["usd"] == pytest.approx(0.006)
    assert ledger.spent == pytest.approx(0.012)
    assert found[0]["outcome"] == "ok"
    assert found[0]["model"] == "judge"


@pytest.mark.parametrize("usage", [None, (-1, 5), ("10", 5), (True, False)])
def test_tokens_that_nobody_counted_are_estimated_and_said_to_be(tmp_path: Path, usage: Any) -> None:
    answers, _ = ask(in_turn(says("twelve bytes", usage=usage)), ledger=Ledger(tmp_path / "costs.jsonl"), **PRICES)
    # "rules" + "question 0" are 15 bytes and the answer 12: 5 and 4 tokens of three bytes
    (row,) = rows(tmp_path / "costs.jsonl")
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (5, 4, True)
    assert row["usd"] == pytest.approx(5 * 1e-4 + 4 * 1e-3)
    assert answers == [Generation("twelve bytes", 4, "eos")]


def test_an_attempt_that_may_be_billed_is_charged_at_its_worst_and_a_refused_one_not_at_all(tmp_path: Path) -> None:
    slow = says("yes")
    slow.delay = 1.0
    ask(in_turn(fails(500), slow, says("yes")), ledger=Ledger(tmp_path / "c.jsonl"), timeout=0.4, **PRICES)
    refused, timed_out, answered = rows(tmp_path / "c.jsonl")
    assert (refused["outcome"], refused["usd"]) == ("HTTP 500", 0.0)
    # 15 bytes + 16 for each of two messages, and all of max_tokens
    assert (timed_out["prompt_tokens"], timed_out["completion_tokens"], timed_out["estimated"]) == (47, 40, True)
    assert timed_out["outcome"] == "ReadTimeout"
    assert answered["usd"] == pytest.approx(0.006)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_budget_is_never_passed(tmp_path: Path, concurrency: int) -> None:
    # Each request may cost 47 x 1e-4 + 40 x 1e-3 = 0.0447 and costs 0.006. The cap of 0.06 admits requests while
    # spent + 0.0447 <= 0.06, that is after 0, 1 and 2 bills (0.012), not after 3 (0.018 + 0.0447 > 0.06).
    path = tmp_path / "costs.jsonl"
    answers, server = ask(
        in_turn(says("yes")), 12, ledger=Ledger(path, cap_usd=0.06), max_usd=0.06, concurrency=concurrency, **PRICES
    )
    assert len(server.requests) == 3
    assert sum(row["usd"] for row in rows(path)) == pytest.approx(0.018)
    left = [answer for answer in answers if isinstance(answer, Unanswered)]
    assert len(left) == 9
    assert all(answer.reason.startswith("budget used up (max_usd 0.06") for answer in left)


def test_retries_stay_within_the_budget_too(tmp_path: Path) -> None:
    slow = says("yes")
    slow.delay = 0.4
    ledger = Ledger(tmp_path / "costs.jsonl", cap_usd=0.1)
    answers, server = ask(in_turn(slow), 3, ledger=ledger, timeout=0.1, retries=10, max_usd=0.1, **PRICES)
    # a timed-out attempt is charged 0.0447: two fit into 0.1
    assert len(server.requests) == 2
    assert ledger.spent == pytest.approx(0.0894)
    assert all("budget used up" in reason(answer) for answer in answers)


def test_the_budget_holds_over_a_resumed_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "costs.jsonl"
    ask(in_turn(says("yes")), 2, ledger=Ledger(path, cap_usd=0.06), max_usd=0.06, **PRICES)
    with path.open("a") as handle:
        handle.write('{"usd": 0.00')  # a killed run leaves half a line
    again = Ledger(path, cap_usd=0.05)
    assert again.spent == pytest.approx(0.012)
    assert "line 3 is no charge" in caplog.text
    answers, server = ask(in_turn(says("yes")), 2, ledger=again, max_usd=0.05, **PRICES)
    assert not server.requests
    assert "budget used up" in reason(answers[0])


def test_a_cap_without_a_price_is_refused() -> None:
    with pytest.raises(UsageError, match="no price is given"):
        EndpointGenerator(Endpoint(base_url="http://127.0.0.1:1/v1", model="m", max_usd=1.0))


def test_a_ledger_that_cannot_be_written_stops_the_spending(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="budget cannot be kept"):
        ask(in_turn(says("yes")), 5, ledger=Ledger(tmp_path / "file" / "costs.jsonl"))


def test_a_ledger_by_hand() -> None:
    def bill(usd: float) -> Charge:
        return Charge("", "m", "ok", 0, 0, False, usd, 0.0)

    ledger = Ledger(cap_usd=1.0)
    assert ledger.reserve(0.6)
    ledger.settle(0.6, bill(0.25))
    assert ledger.reserve(0.75)  # 0.25 + 0.75 just fits
    ledger.settle(0.75, bill(0.75))
    assert not ledger.used_up
    assert not ledger.reserve(0.01)
    assert ledger.used_up.startswith("budget used up (max_usd 1")
    assert not ledger.reserve(0.0)  # once closed, closed for all
    assert ledger.spent == 1.0
