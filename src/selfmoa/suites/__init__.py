"""Named evaluation suites: what is measured, apart from what a run trains on.

A suite is the `evaluate:` section of a recipe in a file of its own. A user's is a YAML file of the same form, or a
table with a `prompt` column and, where not all prompts are attacks, a `role` column (attack, borderline, safe).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from selfmoa import assets
from selfmoa.errors import UsageError, first_problem, nearest
from selfmoa.recipe import DataRef, EvalSet, Evaluate, Section

__all__ = ["ROLES", "Suite", "load", "names"]

_ROOT = Path(str(files(__package__)))
_TABLES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_NOTHING = EvalSet(data=(), n=1)
ROLES: dict[str, Literal["harmful", "edgy", "benign"]] = {"attack": "harmful", "borderline": "edgy", "safe": "benign"}
"""Role of a prompt -> evaluation set."""


class Suite(Section):
    """One suite."""

    name: str
    description: str = ""
    evaluate: Evaluate = Field(description="Sets, tokens and tolerance; a set with no tables is left out.")


def names() -> list[str]:
    """The shipped suites."""
    return sorted(path.stem for path in _ROOT.glob("*.yaml"))


def load(name_or_path: str | Path) -> Suite:
    """A shipped suite, a YAML file or a table of prompts. Raises `UsageError` saying what is wrong with it."""
    path = Path(name_or_path)
    if path.suffix in _TABLES:
        return _from_table(path)
    if path.suffix in (".yaml", ".yml"):
        return _from_yaml(path)
    if str(name_or_path) not in names():
        known = ", ".join(names())
        raise UsageError(f"There is no suite {str(name_or_path)!r} (shipped: {known}).{nearest(str(path), names())}")
    return _from_yaml(_ROOT / f"{name_or_path}.yaml")


def _from_yaml(path: Path) -> Suite:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Suite {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"Suite {path} is not YAML: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("evaluate"), dict):
        raise UsageError(f"Suite {path} has no section 'evaluate'; `selfmoa suites show quick` prints one.")
    sections = {key: _NOTHING for key in ("harmful", "edgy", "benign")} | values["evaluate"]
    try:
        return Suite(name=path.stem, description=values.get("description") or "", evaluate=Evaluate(**sections))
    except ValidationError as error:
        raise UsageError(f"Suite {path}: {first_problem(error)}") from error


def _from_table(path: Path) -> Suite:
    """Every prompt of a table, by its role; all are attacks where it has no such column."""
    rows = assets.read_table(path)
    roles = {str(row["role"]) for row in rows} if "role" in rows[0] else set()
    odd = sorted(roles - set(ROLES))
    if odd:
        raise UsageError(f"{path}: role {odd[0]!r} is unknown; expected {', '.join(ROLES)}.")
    data = {role: DataRef(ref=f"path:{path}", where={"role": role}) for role in roles}
    data = data or {"attack": DataRef(ref=f"path:{path}")}
    sets = {key: EvalSet(data=(data[role],), n=len(rows)) if role in data else _NOTHING for role, key in ROLES.items()}
    return Suite(name=path.stem, description=f"Prompts of {path.name}.", evaluate=Evaluate(**sets))
