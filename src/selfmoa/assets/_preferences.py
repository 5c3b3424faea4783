"""Preferences of people: two answers to one prompt, and which was found better and safer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selfmoa.assets._exclude import is_excluded
from selfmoa.assets._load import load_table
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef, PairTable

__all__ = ["Preference", "load_preferences"]

_USER, _MODEL = "Human:", "Assistant:"


@dataclass(frozen=True, slots=True)
class Preference:
    """One labelled pair; `chosen` is the better answer."""

    prompt: str
    chosen: str
    rejected: str
    chosen_safer: bool
    """False where people found the worse answer safer."""


def load_preferences(table: PairTable) -> tuple[list[Preference], int]:
    """The pairs of a table, each once, and how many rows cannot be used (several turns, an empty or the same answer).

    Rows whose prompt or answers the content filter excludes are left out. Raises `UsageError` naming the column that is
    missing or holds something else than a label.
    """
    column = table.answers[0] if table.transcripts else table.prompt
    rows = load_table(DataRef(ref=table.ref, prompt=column, where=table.where))
    for name in filter(None, (*table.answers, table.better, table.safer)):
        if name not in rows[0]:
            found = ", ".join(map(repr, rows[0]))
            raise UsageError(f"{table.ref} has no column {name!r} (train.pairs). Columns found: {found}.")
    read = [_preference(table, row) for row in rows]
    kept = list(dict.fromkeys(pair for pair in read if pair is not None))
    return kept, len(rows) - len(kept)


def _preference(table: PairTable, row: dict[str, Any]) -> Preference | None:
    answers = [str(row[name] or "") for name in table.answers]
    prompt = str(row[table.prompt]).strip() if not table.transcripts else ""
    if table.transcripts:
        one, other = (_one_turn(text) for text in answers)
        if one is None or other is None or one[0] != other[0]:
            return None
        prompt, answers = one[0], [one[1], other[1]]
    first, second = (text.strip() for text in answers)
    if not (prompt and first and second) or first == second or any(map(is_excluded, (prompt, first, second))):
        return None
    better = _label(table, table.better, row)
    safer = _label(table, table.safer, row) if table.safer else better
    chosen, rejected = (first, second) if better == 0 else (second, first)
    return Preference(prompt, chosen, rejected, safer == better)


def _one_turn(text: str) -> tuple[str, str] | None:
    """(what the person asked, the answer) of a conversation of one turn; None for a longer one."""
    asked, sign, answer = text.strip().partition(f"\n\n{_MODEL}")
    if not sign or not asked.startswith(_USER) or f"\n\n{_USER}" in answer or f"\n\n{_MODEL}" in answer:
        return None
    return asked.removeprefix(_USER).strip(), answer.strip()


def _label(table: PairTable, column: str | None, row: dict[str, Any]) -> int:
    if column is None:
        return 0
    try:
        found = int(row[column])
    except (TypeError, ValueError):
        found = -1
    if found not in (0, 1):
        raise UsageError(f"{table.ref}: column {column!r} holds {row[column]!r}, expected 0 or 1 (train.pairs).")
    return found
