"""Tables of the user's own: JSONL (also packed by gzip), JSON, CSV, TSV, Parquet."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfmoa.errors import AssetError, UsageError

Row = dict[str, Any]


def read_table(path: Path) -> list[Row]:
    """The rows of a table file, in order.

    Raises `AssetError` where the file is missing and `UsageError` where it is empty or cannot be parsed.
    """
    if not path.is_file():
        raise AssetError(f"No such table file: {path}. Expected one of {', '.join(sorted(_READERS))}.")
    packed = path.suffix.lower() == ".gz"
    reader = _READERS.get(Path(path.stem).suffix.lower() + ".gz" if packed else path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(sorted(_READERS))}.")
    try:
        rows = reader(path)
    except (ValueError, csv.Error) as error:  # covers JSON, Unicode and Arrow errors
        raise UsageError(f"{path} is not a valid {path.suffix[1:]} table: {error}") from error
    if not rows:
        raise UsageError(f"{path} has no rows; expected at least one prompt.")
    return rows


def _csv(path: Path, delimiter: str = ",") -> list[Row]:
    with open(path, encoding="utf-8-sig", newline="") as handle:
        reader = csv.DictReader(handle, delimiter=delimiter, strict=True)
        rows: list[Row] = []
        for row in reader:
            if None in row:
                raise ValueError(f"line {reader.line_num} has more fields than the header")
            rows.append(row)
        return rows


def _jsonl(path: Path) -> list[Row]:
    return _lines(path.read_text(encoding="utf-8-sig"))


def _packed_jsonl(path: Path) -> list[Row]:
    try:
        return _lines(gzip.decompress(path.read_bytes()).decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error


def _lines(text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                rows.append(_object(json.loads(line)))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return rows


def _json(path: Path) -> list[Row]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, dict) and content and all(isinstance(column, list) for column in content.values()):
        columns = {name: values for name, values in content.items() if values}  # {"column": [values]}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if not isinstance(content, list):
        raise ValueError(f"expected a list of objects, got {type(content).__name__}")
    return [_object(row) for row in content]


def _object(row: Any) -> Row:
    if not isinstance(row, dict):
        raise ValueError(f"expected an object with named fields, got {type(row).__name__}")
    return row


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    return list(pyarrow.parquet.read_table(path).to_pylist())


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".csv": _csv,
    ".tsv": lambda path: _csv(path, "\t"),
    ".jsonl": _jsonl,
    ".jsonl.gz": _packed_jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
