"""Where a guided answer ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfmoa.generate import Generation
from selfmoa.records import Response
from selfmoa.steps._answer import _drop_unlikely, _ended, _said

LONG = "I cannot help with that. It would be wrong.\n\n1. First, take the"


@pytest.mark.parametrize(
    ("limit", "text", "finish"),
    [
        (1, "I cannot help with that.", "eos"),
        (2, "I cannot help with that. It would be wrong.", "eos"),
        (3, LONG, "length"),  # nothing is cut off: it is as unfinished as it was
        (None, LONG, "length"),
    ],
)
def test_a_guided_answer_ends_after_its_sentences(limit: int | None, text: str, finish: str) -> None:
    ended = _ended(Generation(LONG, 20, "length"), limit)
    assert (ended.text, ended.finish, ended.n_tokens) == (text, finish, 20)


def test_blanks_after_the_last_sentence_are_no_end() -> None:
    whole = Generation("I cannot help. ", 5, "length")
    assert _ended(whole, 1) == _ended(whole, None) == whole


def test_the_least_likely_guided_answers_are_dropped_whatever_the_models_own_are() -> None:
    def answer(logprob: float | None, guided: bool) -> Response:
        return Response(f"{guided}{logprob}", "a", 1, 0, "x", guided, "", 1, "eos", logprob)

    guided = [answer(logprob, True) for logprob in (-5.0, -1.0, -4.0, -2.0, -3.0, None)]
    for own in (-0.1, -9.0):
        answers = [answer(own, False), *guided]
        dropped = {item.logprob for item in _drop_unlikely(answers, 0.4) if item.status == "dropped"}
        assert dropped == {-5.0, -4.0}
        assert all(item.status == "kept" for item in _drop_unlikely(answers, 0))


@pytest.mark.parametrize(
    ("opener", "limit", "said"),
    [
        ("I must decline.", 1, True),
        ("I must decline.", 2, False),
        ("I must decline, because", 1, False),
        ("I must decline.", None, False),
        ("", 1, False),
    ],
)
def test_an_opener_that_is_all_of_the_answer_needs_no_sampling(opener: str, limit: int | None, said: bool) -> None:
    response = Response("r", "a", 1, 0, "", True, opener, 0, "eos", None)
    assert _said(response, limit) is said
    assert not _said(replace(response, guided=False), limit)
