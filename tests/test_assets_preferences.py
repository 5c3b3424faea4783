"""Preferences of people: both layouts, labels, and what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from selfmoa.assets import Preference, load_preferences
from selfmoa.errors import AssetError, UsageError
from selfmoa.recipe import PairTable


def table(path: Path, rows: list[dict[str, Any]], **fields: Any) -> PairTable:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return PairTable(ref=f"path:{path}", **fields)


def test_labels_say_which_answer_is_better_and_which_is_safer(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "response_0": "x", "response_1": "y", "better_response_id": b, "safer_response_id": s}
        for b, s in ((0, 0), (1, 0), (1, 1))
    ]
    columns = {"answers": ("response_0", "response_1"), "better": "better_response_id", "safer": "safer_response_id"}
    found, unusable = load_preferences(table(tmp_path / "t.jsonl", rows, **columns))
    assert found == [Preference("p", "x", "y", True), Preference("p", "y", "x", False), Preference("p", "y", "x", True)]
    assert unusable == 0


def test_chosen_and_rejected_need_no_label(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "chosen": "x", "rejected": "y"},
        {"prompt": "p", "chosen": "x", "rejected": "y"},
        {"prompt": "q", "chosen": "x", "rejected": "x"},
        {"prompt": "q", "chosen": "", "rejected": "x"},
    ]
    found, unusable = load_preferences(table(tmp_path / "t.jsonl", rows))
    assert found == [Preference("p", "x", "y", True)] and unusable == 3


def test_transcripts_of_one_turn_are_split(tmp_path: Path) -> None:
    asked = "\n\nHuman: What is X?\n\nAssistant: "
    rows = [
        {"chosen": f"{asked}this", "rejected": f"{asked}that"},
        {"chosen": f"{asked}a\n\nHuman: b\n\nAssistant: c", "rejected": f"{asked}a\n\nHuman: b\n\nAssistant: d"},
        {"chosen": f"{asked}this", "rejected": "\n\nHuman: Another?\n\nAssistant: that"},
        {"chosen": "no conversation", "rejected": "neither"},
    ]
    found, unusable = load_preferences(table(tmp_path / "t.jsonl.gz", rows, transcripts=True))
    assert found == [Preference("What is X?", "this", "that", True)] and unusable == 3


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y", "label": "first"}]
    with pytest.raises(UsageError, match="no column 'safer'"):
        load_preferences(table(tmp_path / "t.jsonl", rows, safer="safer"))
    with pytest.raises(UsageError, match="'label' holds 'first', expected 0 or 1"):
        load_preferences(table(tmp_path / "t.jsonl", rows, better="label"))
    with pytest.raises(AssetError, match="No such table"):
        load_preferences(PairTable(ref=f"path:{tmp_path}/none.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"x" * 100)[:20])
    with pytest.raises(UsageError, match="not a valid"):
        load_preferences(PairTable(ref=f"path:{tmp_path}/cut.jsonl.gz"))


def test_the_public_pairs_of_people_are_readable(shared_data: Path) -> None:
    path = shared_data / "hh-rlhf-harmless-test" / "test.jsonl.gz"
    if not path.is_file():
        pytest.skip("hh-rlhf is not at hand")
    found, unusable = load_preferences(PairTable(ref=f"path:{path}", transcripts=True))
    assert len(found) > 500 and unusable > 1000 and all(one.chosen_safer for one in found)
