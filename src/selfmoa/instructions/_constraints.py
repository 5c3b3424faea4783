"""What a prompt lays down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Constraints", "read_constraints"]


@dataclass(frozen=True, slots=True)
class Constraints:
    """The checkable constraints of one prompt, as IFBench names them."""

    prompt: str
    ids: tuple[str, ...]
    """E.g. count:word_count_range."""
    kwargs: tuple[Mapping[str, Any], ...]
    """What each of them is told, e.g. min_words; None stands for nothing."""


def read_constraints(rows: Iterable[Mapping[str, Any]]) -> dict[str, Constraints]:
    """Prompt -> constraints, of the rows that have `instruction_id_list` and `kwargs`, as IFBench's and IFEval's do."""
    found = {}
    for row in rows:
        ids, kwargs = row.get("instruction_id_list"), row.get("kwargs")
        if _listed(ids, str) and _listed(kwargs, Mapping) and len(ids or ()) == len(kwargs or ()):
            found[row["prompt"].strip()] = Constraints(row["prompt"], tuple(ids or ()), tuple(kwargs or ()))
    return found


def _listed(value: Any, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, kind) for one in value)
