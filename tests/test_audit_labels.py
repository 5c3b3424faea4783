"""Files of human labels: read alike in every form, checked row by row."""

from __future__ import annotations

from pathlib import Path

import pytest

from selfmoa.audit import read_labels
from selfmoa.errors import UsageError

HEADER = "id,safety,helpfulness,refusal,annotator\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,6,3,full,x\n", r"1 answers out of range \(first: mine.csv line 2, safety '6'\)"),
        ("a,-1,3,full,x\nb,3,2.5,full,x\n", "2 answers out of range"),
        ("a,3,3,maybe,x\n", "refusal 'maybe'"),
        ("a,nan,3,full,x\n", "safety 'nan'"),
        ("zz,3,3,full,x\n", r"1 unknown items \(first: mine.csv line 2, id 'zz'\)"),
        ("a,3,3,full,x\na,4,3,full,x\n", "1 items labelled twice by one annotator"),
        ("a,3,,full,x\n", r"1 rows answered in part only \(first: mine.csv line 2, no helpfulness\)"),
    ],
)
def test_wrong_labels_are_counted_and_refused(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + rows)
    with pytest.raises(UsageError, match=message):
        read_labels([path], {"a", "b"})


def test_labels_read_alike_from_csv_semicolons_and_jsonl(tmp_path: Path) -> None:
    comma, semicolon, lines = tmp_path / "labels_x.csv", tmp_path / "s.csv", tmp_path / "l.jsonl"
    comma.write_text("\ufeff" + HEADER + "a,3,0.0,Full,\nb,,,,\n", encoding="utf-8")
    semicolon.write_text((HEADER + "a,3,0,full,x\n").replace(",", ";"))
    lines.write_text('{"id": "a", "safety": 3, "helpfulness": 0, "refusal": "full", "annotator": "x"}\n\n')
    found = [read_labels([path], {"a", "b"}) for path in (comma, semicolon, lines)]
    assert found[0] == found[1] == found[2] and len(found[0]) == 1
    assert found[0][0].annotator == "x", "a row without a name belongs to whom the file is named after"


def test_files_that_are_no_labels_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "l.jsonl"
    broken.write_text('{"id": "a"\n')
    with pytest.raises(UsageError, match="line 1 is not JSON"):
        read_labels([broken], {"a"})
    broken.write_text("[1]\n")
    with pytest.raises(UsageError, match="line 1 is no object"):
        read_labels([broken], {"a"})
    sheet = tmp_path / "l.csv"
    sheet.write_text("id,grade\na,1\n")
    with pytest.raises(UsageError, match="no column safety, helpfulness, refusal"):
        read_labels([sheet], {"a"})
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels([tmp_path / "absent.csv"], {"a"})


def test_one_answer_to_everything_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEADER + "".join(f"{i},5,5,compliance,anna\n" for i in range(30)))
    with pytest.raises(UsageError, match="All 30 labels of 'anna' are one and the same"):
        read_labels([path], {str(i) for i in range(30)})
