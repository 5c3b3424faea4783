"""The files of an audit under RUN/audit, and the key that says what each blind item is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfmoa.bench import Measured, SetName
from selfmoa.errors import UsageError
from selfmoa.records import Score, stable_id
from selfmoa.run import read_json, read_records

__all__ = ["ARMS", "Answers", "Cell", "Item", "Key", "folder", "item_id", "load_answers", "load_key", "load_votes"]

SCHEMA = 1
ARMS = ("before", "after")

Answers = Mapping[str, Mapping[str, Measured]]
"""Arm -> prompt id -> the answer and what the gate judges say of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A stratum: prompts of one set that were drawn with one probability."""

    name: str
    set: SetName
    prompts: tuple[str, ...]
    """Ids of all prompts in it, drawn or not."""
    drawn: int

    @property
    def probability(self) -> float:
        """Chance of each prompt to be drawn, in (0, 1]."""
        return self.drawn / len(self.prompts)


@dataclass(frozen=True, slots=True)
class Item:
    """What a blind item is; `weight` is one over its chance to be drawn."""

    id: str
    arm: str
    prompt_id: str
    set: SetName
    hazard: str
    cell: str
    probability: float
    weight: float


@dataclass(frozen=True)
class Key:
    """The draw. It stays closed until the labels are in."""

    seed: int
    arms: tuple[str, ...]
    cells: tuple[Cell, ...]
    items: tuple[Item, ...]
    """In the order in which they are labelled."""


def folder(run: Path) -> Path:
    """Where a run keeps its audit."""
    return run / "audit"


def item_id(seed: int, arm: str, prompt_id: str, answer: str) -> str:
    """Id of a blind item: says nothing of its arm, and changes with the answer."""
    return stable_id("audit", seed, arm, prompt_id, answer)


def load_answers(run: Path) -> Answers:
    """Judged answers of the arms that were evaluated. Raises `UsageError` where the run is not finished."""
    if not (run / "results.json").is_file():
        raise UsageError(
            f"{run} has no results.json, so there is nothing to audit. Give the directory of a finished run, e.g. "
            "one that `selfmoa align` named; an unfinished one goes on with --on-existing resume."
        )
    found: dict[str, dict[str, Measured]] = {}
    for arm in ARMS:
        items = read_records(run / "evaluation" / f"{arm}.parquet", Measured)
        if items:
            found[arm] = {item.prompt_id: item for item in items}
    if "before" not in found:
        raise UsageError(f"{run / 'evaluation' / 'before.parquet'} is missing or unreadable; evaluate again.")
    if "after" in found and found["after"].keys() != found["before"].keys():
        odd = len(found["after"].keys() ^ found["before"].keys())
        raise UsageError(f"Before and after differ in {odd} prompts; evaluate both on the same sets.")
    return found


def load_votes(run: Path, arm: str) -> list[Score]:
    """Every judge's vote on an arm, of both sides, by prompt id (`response_id`); empty where the run kept none."""
    names = (f"votes_{arm}.parquet", f"train_votes_{arm}.parquet")
    return [vote for name in names for vote in read_records(run / "evaluation" / name, Score) or []]


def load_key(run: Path, answers: Answers) -> Key | None:
    """The key, None where nothing was drawn yet.

    Raises `UsageError` where it cannot be read or was drawn from other answers than those at hand.
    """
    path = folder(run) / "key.json"
    if not path.is_file():
        return None
    found: dict[str, Any] | None = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UsageError(f"{path} cannot be read as a key of schema {SCHEMA}. Move {path.parent} away and draw again.")
    try:
        key = Key(
            int(found["seed"]),
            tuple(found["arms"]),
            tuple(Cell(**{**cell, "prompts": tuple(cell["prompts"])}) for cell in found["cells"]),
            tuple(Item(**item) for item in found["items"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not complete ({error}). Move {path.parent} away and draw again.") from error
    changed = sum(_changed(key, item, answers) for item in key.items)
    if changed:
        raise UsageError(
            f"{changed} of {len(key.items)} audited answers are no longer those of {run}: the evaluation was made "
            f"again after the draw. Move {path.parent} away and draw again."
        )
    return key


def _changed(key: Key, item: Item, answers: Answers) -> bool:
    found = answers.get(item.arm, {}).get(item.prompt_id)
    return found is None or item_id(key.seed, item.arm, item.prompt_id, found.answer) != item.id
