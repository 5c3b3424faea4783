"""Atomic files: temp file, fsync, rename. A reader sees the whole old file or the whole new one."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from selfmoa.errors import StorageError

__all__ = [
    "read_each",
    "read_json",
    "read_records",
    "write_bytes",
    "write_json",
    "write_records",
    "write_table",
    "write_text",
]

log = logging.getLogger("selfmoa")
Record = TypeVar("Record")


_RESUME = (
    "Free space or fix the permissions, then run the same command with --on-existing resume; what is finished is kept."
)


def write_bytes(path: Path, data: bytes, *, remedy: str = _RESUME) -> None:
    """Write atomically. Raises `StorageError` (disk full, no permission) that says `remedy`; the old file stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror or error}. {remedy}") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN becomes null, dataclasses become objects."""
    write_text(path, json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The parsed file, or None where it is absent or corrupt (a corrupt cache is a miss)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is corrupt and is made again (%s)", path, error)
        return None


def read_each(directory: Path, pattern: str) -> list[Any]:
    """What `read_json` finds in every file below the directory that matches, in order of their paths; {} for none."""
    return [read_json(path) or {} for path in sorted(directory.glob(pattern))]


def write_records(path: Path, records: Sequence[Any], kind: type) -> None:
    """Write dataclass records of one kind as a Parquet table."""
    _write_parquet(path, pa.Table.from_pylist([dataclasses.asdict(record) for record in records], schema=_schema(kind)))


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of plain values as a Parquet table; types are those of the values."""
    _write_parquet(path, pa.Table.from_pylist([dict(row) for row in rows]))


def _write_parquet(path: Path, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def read_records(path: Path, kind: type[Record]) -> list[Record] | None:
    """The records, or None where the file is absent or corrupt."""
    if not path.is_file():
        return None
    try:
        return [kind(**row) for row in pq.read_table(path).to_pylist()]
    except (OSError, pa.ArrowException, TypeError) as error:
        log.warning("%s is corrupt and is made again (%s)", path, error)
        return None


def _schema(kind: type) -> pa.Schema:
    hints = typing.get_type_hints(kind)
    return pa.schema([(field.name, _arrow(hints[field.name])) for field in dataclasses.fields(kind)])


def _arrow(hint: Any) -> pa.DataType:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _arrow(next(part for part in typing.get_args(hint) if part is not type(None)))
    if origin is typing.Literal:
        return pa.string()
    return {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[hint]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return value.item()
    return str(value) if isinstance(value, Path) else value
