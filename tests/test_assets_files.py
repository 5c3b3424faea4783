"""Tables of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from selfmoa.assets import count_excluded, half, load_table
from selfmoa.errors import AssetError, UsageError
from selfmoa.recipe import DataRef

ROWS = [{"prompt": f"[request {i}]", "hazard": f"category {i % 2}"} for i in range(6)]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        lines = [comma.join(rows[0]), *(comma.join(row.values()) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("prefix", ["", "path:"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, suffix: str, prefix: str) -> None:
    path = write(tmp_path / f"seeds{suffix}", ROWS)
    rows = load_table(DataRef(ref=f"{prefix}{path}"), seeds=True)
    assert [(row["prompt"], row["hazard"]) for row in rows] == [(row["prompt"], row["hazard"]) for row in ROWS]
    assert all(row["group"] == row["prompt"] for row in rows)


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"text": "[a]", "kind": "x", "group": "g"}])
    (row,) = load_table(DataRef(ref=str(path), prompt="text", hazard="kind"), seeds=True)
    assert (row["prompt"], row["hazard"], row["group"]) == ("[a]", "x", "g")


def test_parts_split_whole_groups_and_are_stable(tmp_path: Path) -> None:
    rows = [{"prompt": f"[request {i}]", "group": f"group {i // 3}"} for i in range(60)]
    ref = str(write(tmp_path / "t.jsonl", rows))
    loop = load_table(DataRef(ref=ref, part="loop"))
    evaluation = load_table(DataRef(ref=ref, part="eval"))
    assert len(loop) + len(evaluation) == 60
    assert not {row["group"] for row in loop} & {row["group"] for row in evaluation}
    assert {half(f"group {i}") for i in range(20)} == {"loop", "eval"}


def test_excluded_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"prompt": "[harmless]"}, {"prompt": "[grooming of a child]"}]
    data = DataRef(ref=str(write(tmp_path / "t.jsonl", rows)))
    assert [row["prompt"] for row in load_table(data)] == ["[harmless]"]
    assert count_excluded(data) == 1


@pytest.mark.parametrize("name", ["empty.csv", "empty.jsonl", "empty.json"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]" if name.endswith(".json") else "")
    with pytest.raises(UsageError, match="no rows"):
        load_table(DataRef(ref=str(tmp_path / name)))


def test_header_only_and_blank_prompts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text("prompt,hazard\n")
    with pytest.raises(UsageError, match="no rows"):
        load_table(DataRef(ref=str(tmp_path / "header.csv")))
    (tmp_path / "blank.csv").write_text("prompt,hazard\n,x\n  ,y\n")
    with pytest.raises(UsageError, match="no usable rows"):
        load_table(DataRef(ref=str(tmp_path / "blank.csv")))


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"question": "[a]", "answer": "b"}])
    with pytest.raises(UsageError, match=r"no column 'prompt'.*'question', 'answer'"):
        load_table(DataRef(ref=str(path)))
    with pytest.raises(UsageError, match=r"no column 'kind' \(hazard\)"):
        load_table(DataRef(ref=str(path), prompt="question", hazard="kind"))


def test_one_column_seeds_are_refused_but_one_column_prompts_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", [{"prompt": "[a]"}])
    with pytest.raises(UsageError, match=r"no hazard category. Columns found: 'prompt'"):
        load_table(DataRef(ref=str(path)), seeds=True)
    assert load_table(DataRef(ref=str(path)))[0]["hazard"] == "unknown"


def test_prompts_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"prompt": ["a", "b"]}]))
    with pytest.raises(UsageError, match="holds list values"):
        load_table(DataRef(ref=str(path)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bad.jsonl", '{"prompt": "a"}\n{"prompt": '),
        ("bad.json", '{"prompt": "a"}'),
        ("list.jsonl", "[1, 2]"),
        ("ragged.csv", "prompt\na,b\n"),
        ("bad.parquet", "not parquet"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match="not a valid"):
        load_table(DataRef(ref=str(tmp_path / name)))


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="No such table"):
        load_table(DataRef(ref=str(tmp_path / "none.csv")))
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(UsageError, match="unknown kind of table"):
        load_table(DataRef(ref=str(tmp_path / "t.xlsx")))
