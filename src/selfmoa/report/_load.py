"""Reads a run directory into plain rows; says what is missing or unreadable instead of failing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from selfmoa.errors import UsageError
from selfmoa.records import with_fate

__all__ = ["RunData", "Step", "load_run", "read_lines", "read_rows"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One round or stage: its number, directory and summary (empty where it is unfinished)."""

    number: int
    directory: Path
    summary: Row


@dataclass
class RunData:
    """What is in a run directory. Absent files are empty values, named in `missing`."""

    directory: Path
    recipe: Row = field(default_factory=dict)
    recipe_text: str = ""
    manifest: Row = field(default_factory=dict)
    results: Row = field(default_factory=dict)
    judges: list[Row] = field(default_factory=list)
    usage: dict[str, Row] = field(default_factory=dict)
    estimate: Row = field(default_factory=dict)
    """What the run was expected to cost; empty where its model had not been measured on that machine."""
    published: Row = field(default_factory=dict)
    """Seed id -> its words in its data set, where it was asked in the other form."""
    rounds: list[Step] = field(default_factory=list)
    stages: list[Step] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def rows(self, *parts: str) -> list[Row]:
        """Rows of a Parquet table of the run; notes it as missing where it cannot be read."""
        found = read_rows(self.directory.joinpath(*parts))
        if found is None:
            self.note("/".join(parts))
        return found or []

    def note(self, name: str) -> None:
        """`name` is missing from the run directory or unreadable."""
        if name not in self.missing:
            self.missing.append(name)


def load_run(directory: Path) -> RunData:
    """Read `directory`. Raises `UsageError` where it is no run directory at all."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory; expected a run directory made by `selfmoa align`.")
    if not any((directory / name).is_file() for name in ("recipe.yaml", "manifest.json", "results.json")):
        raise UsageError(
            f"{directory} holds no recipe.yaml, manifest.json or results.json, so it is no run directory. "
            "Give the directory that `selfmoa align` named, e.g. runs/demo."
        )
    run = RunData(directory.resolve())
    run.recipe_text, run.recipe = _recipe(run)
    run.manifest = _object(run, "manifest.json")
    run.results = _object(run, "results.json")
    run.usage = {key: value for key, value in _object(run, "usage.json").items() if isinstance(value, dict)}
    run.estimate = _object(run, "estimate.json") if (run.directory / "estimate.json").is_file() else {}
    run.published = _object(run, "published.json") if (run.directory / "published.json").is_file() else {}
    run.judges = _judges(run)
    run.rounds = _steps(run, "round", "summary.json")
    stages = _steps(run, "stage", "stage.json")
    fates = with_fate([step.summary for step in stages])
    run.stages = [replace(step, summary=fate) for step, fate in zip(stages, fates, strict=True)]
    return run


def read_rows(path: Path) -> list[Row] | None:
    """Rows of one Parquet file, None where it is absent or corrupt."""
    try:
        return pq.read_table(path).to_pylist() if path.is_file() else None
    except (OSError, pa.ArrowException):
        return None


def read_lines(path: Path) -> list[Row] | None:
    """Objects of one JSON-lines file; a cut last line of a killed run is left out."""
    if not path.is_file():
        return None
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _object(run: RunData, name: str) -> Row:
    found = _json(run.directory / name)
    if isinstance(found, dict):
        return found
    run.note(name)
    return {}


def _judges(run: RunData) -> list[Row]:
    found = _json(run.directory / "judges.json")
    if isinstance(found, dict):
        cards = found.get("judges") or found.get("cards") or list(found.values())
        found = cards
    if not isinstance(found, list):
        run.note("judges.json")
        return []
    return [card for card in found if isinstance(card, dict)]


def _recipe(run: RunData) -> tuple[str, Row]:
    try:
        text = (run.directory / "recipe.yaml").read_text(encoding="utf-8")
        parsed = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        run.note("recipe.yaml")
        return "", {}
    return text, parsed if isinstance(parsed, dict) else {}


def _steps(run: RunData, kind: str, summary: str) -> list[Step]:
    steps = []
    for directory in run.directory.glob(f"{kind}_*"):
        digits = directory.name.removeprefix(f"{kind}_")
        if not directory.is_dir() or not digits.isdigit():
            continue
        found = _json(directory / summary)
        if not isinstance(found, dict):
            run.note(f"{directory.name}/{summary}")
            found = {}
        steps.append(Step(int(digits), directory, found))
    if not steps and (run.recipe.get("loop") or {}).get("n_rounds") != 0:
        run.note(f"{kind}_01/")
    return sorted(steps, key=lambda step: step.number)
