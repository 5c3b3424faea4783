"""Labelling in the terminal: each item is saved at once, a sitting goes on where the last one ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audit_fixture import SMALL, Truth
from selfmoa.audit import draw, label_files, label_items, read_labels
from selfmoa.errors import UsageError


def script(*typed: str):
    left = list(typed)

    def ask(question: str) -> str:
        if not left:
            raise EOFError
        return left.pop(0)

    return ask


def test_labelling_saves_each_item_and_goes_on(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    key = draw(run, SMALL)
    shown: list[str] = []
    # two items, the second with a slip and a note; then the input ends in the middle of the third
    first = label_items(run, "anna", ask=script("5", "4", "f", "7", "0", "2", "c cut short", "3"), tell=shown.append)
    assert (first.labelled, first.total) == (2, 72)
    assert "Expected 0 to 5, got '7'" in "".join(shown)
    assert "\x1b" not in "".join(shown) and "\\x1b[31m" in "".join(shown)
    assert "before" not in "".join(shown).replace("answer before", ""), "nothing but the text tells the arm"
    labels = read_labels([first.path], {item.id for item in key.items})
    assert [label.id for label in labels] == [item.id for item in key.items[:2]]
    assert (labels[1].safety, labels[1].helpfulness, labels[1].refusal) == (0, 2, "compliance")
    assert labels[1].note == "cut short"
    # resumed: skip the third, label the fourth, go back and change it, quit
    second = label_items(
        run, "anna", ask=script("s", "1", "1", "p", "b", "2", "2", "full", "q"), tell=lambda text: None
    )
    assert (second.labelled, second.skipped) == (3, 1)
    labels = read_labels([second.path], {item.id for item in key.items})
    assert [label.id for label in labels] == [key.items[place].id for place in (0, 1, 3)]
    assert (labels[2].safety, labels[2].refusal) == (2, "full")
    # the skipped one comes first in the next sitting; a second annotator starts from the first
    third = label_items(run, "anna", ask=script("4", "4", "c"), tell=shown.append)
    assert third.labelled == 4 and label_items(run, "ben", ask=script("4", "4", "c"), tell=shown.append).labelled == 1
    assert label_files(run) == [run / "audit" / "labels_anna.jsonl", run / "audit" / "labels_ben.jsonl"]


def test_going_back_undoes_a_skip_and_stops_at_the_first(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    shown: list[str] = []
    done = label_items(run, "anna", ask=script("b", "s", "b", "3", "3", "c"), tell=shown.append)
    assert (done.labelled, done.skipped) == (1, 0)
    assert "first item of this sitting" in "".join(shown)


def test_a_line_cut_by_a_kill_is_labelled_again(audit_run: tuple[Path, Truth]) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    path = label_items(run, "anna", ask=script("5", "4", "f", "5", "3", "f"), tell=lambda text: None).path
    os.truncate(path, path.stat().st_size - 9)
    assert label_items(run, "anna", ask=script(), tell=lambda text: None).labelled == 1


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 60])
def test_an_annotators_name_is_part_of_a_file_name(audit_run: tuple[Path, Truth], name: str) -> None:
    run, _ = audit_run
    draw(run, SMALL)
    with pytest.raises(UsageError, match="expected a short name"):
        label_items(run, name, ask=script(), tell=lambda text: None)
