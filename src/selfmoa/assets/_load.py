"""Tables: read from any source, checked, filtered, split."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from selfmoa.assets import _files, _hub
from selfmoa.assets._archive import Row
from selfmoa.assets._exclude import is_excluded
from selfmoa.assets._refs import info, local_path, scheme, users_own
from selfmoa.assets._sets import checked_file, set_definition
from selfmoa.assets._tables import READERS
from selfmoa.assets._wheels import open_wheel
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef

_log = logging.getLogger(__name__)


def load_table(data: DataRef, *, seeds: bool = False) -> list[dict[str, Any]]:
    """Rows of a table: every column of the source plus `prompt`, `hazard`, `group` and `ref`.

    Rows that the content filter excludes are left out (see `count_excluded`). `data.part` keeps the groups of
    one half. With `seeds`, a table of the user's own must also have a hazard category, because the
    expander learns from pairs of one category. Raises `UsageError` naming the columns found.
    """
    if scheme(data.ref) == "set":
        return _load_set(data, seeds=seeds)
    kept, excluded = _filtered(data, seeds=seeds)
    if excluded:
        _log.info("%s: %d rows left out by the content filter.", data.ref, excluded)
    if data.part != "all":
        kept = [row for row in kept if half(str(row["group"])) == data.part]
    kept = [row for row in kept if all(str(row.get(column)) == value for column, value in data.where.items())]
    if not kept:
        only = f", where {data.where}" if data.where else ""
        raise UsageError(f"{data.ref} (part {data.part!r}{only}) has no usable rows.")
    return kept


def _load_set(data: DataRef, *, seeds: bool) -> list[Row]:
    """The rows of a registered set, with its hazard codes; its definition says which rows and columns."""
    if data != DataRef(ref=data.ref):
        raise UsageError(f"{data.ref} is a registered set: columns and rows stand in its definition, name it alone.")
    definition = set_definition(data.ref)
    if definition.source.startswith("data:"):
        checked_file(definition)
    return [
        {**row, "hazard": definition.hazards.get(row["hazard"], row["hazard"]), "ref": data.ref}
        for row in load_table(definition.data(), seeds=seeds)
    ]


def count_excluded(data: DataRef) -> int:
    """How many rows of the whole table the content filter leaves out."""
    return _filtered(data, seeds=False)[1]


def half(group: str) -> str:
    """'loop' or 'eval', by the sha256 of the group: the same in every run."""
    return "eval" if hashlib.sha256(group.encode()).digest()[0] % 2 else "loop"


def _filtered(data: DataRef, *, seeds: bool) -> tuple[list[Row], int]:
    rows = _read(data)
    _check_columns(data, rows, seeds=seeds and scheme(data.ref) != "wheel")
    made = [_row(data, row) for row in rows]
    if users_own(data.ref):
        _check_ids(data, made)
    # blank lines of a spreadsheet are no prompts
    made, read = [row for row in made if row["prompt"].strip()], len(made)
    if len(made) < read:
        _log.warning("%s: %d rows without a prompt are left out.", data.ref, read - len(made))
    kept = [row for row in made if not row.pop("excluded", False) and not is_excluded(row["prompt"])]
    return kept, len(made) - len(kept)


def _read(data: DataRef) -> list[Row]:
    where = scheme(data.ref)
    if where == "path":
        return _files.read_table(local_path(data.ref))
    if where == "hub":
        return _hub.read_table(data.ref)
    asset = info(data.ref)
    if asset.ref not in READERS:
        raise UsageError(f"{data.ref} is a {asset.kind}, not a table of prompts.")
    archives = [open_wheel(wheel) for wheel in asset.wheels]
    try:
        return list(READERS[asset.ref](*archives))
    finally:
        for archive in archives:
            archive.close()


def _check_columns(data: DataRef, rows: list[Row], *, seeds: bool) -> None:
    columns = list(rows[0]) if rows else []
    found = f"Columns found: {', '.join(map(repr, columns)) or 'none'}."
    if data.prompt not in columns:
        raise UsageError(
            f"{data.ref} has no column {data.prompt!r}. {found} Add a header line or name the column "
            "with the prompts (prompt: NAME)."
        )
    if data.hazard and data.hazard not in columns:
        raise UsageError(f"{data.ref} has no column {data.hazard!r} (hazard). {found}")
    for column in data.where:
        if column not in columns:
            raise UsageError(f"{data.ref} has no column {column!r} (where). {found}")
    if seeds and not data.hazard and "hazard" not in columns:
        raise UsageError(
            f"{data.ref} has prompts but no hazard category. {found} Attack seeds need a second column with "
            "the category (named 'hazard', or set hazard: NAME): the expander learns from pairs within one."
        )


def _check_ids(data: DataRef, rows: list[Row]) -> None:
    """Raise `UsageError` where one id names two prompts; a row that is there twice is a near-duplicate of itself."""
    known: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(rows, start=1):
        if row.get("id") in (None, "") or not row["prompt"].strip():
            continue
        first, prompt = known.setdefault(str(row["id"]), (number, row["prompt"]))
        if prompt != row["prompt"]:
            raise UsageError(
                f"{data.ref}: id {str(row['id'])!r} stands for two prompts, in rows {first} and {number}. Give each "
                "an id of its own, or leave the column out."
            )


def _row(data: DataRef, row: Row) -> Row:
    prompt = row.get(data.prompt)
    if prompt is not None and not isinstance(prompt, str):
        raise UsageError(
            f"{data.ref}: column {data.prompt!r} holds {type(prompt).__name__} values, expected text. "
            f"Columns found: {', '.join(map(repr, row))}."
        )
    text = prompt or ""
    hazard = row.get(data.hazard or "hazard") or "unknown"
    return {
        **row,
        "prompt": text,
        "hazard": str(hazard),
        "group": str(row.get("group") or text),
        "ref": data.ref,
    }
