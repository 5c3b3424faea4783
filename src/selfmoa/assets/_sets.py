"""The registry of evaluation sets: set:NAME stands for a table with its licence, columns and hazard codes."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from selfmoa.assets._cache import file_hash
from selfmoa.errors import AssetError, UsageError, first_problem, nearest
from selfmoa.recipe import DataRef, Section

__all__ = [
    "HAZARDS",
    "SetDefinition",
    "capability_sets",
    "capability_table",
    "checked_file",
    "set_definition",
    "set_definitions",
]

HAZARDS = {
    "vcr": ("Violent crimes", "S1"),
    "ncr": ("Non-violent crimes", "S2"),
    "src": ("Sex-related crimes", "S3"),
    "cse": ("Child sexual exploitation", "S4"),
    "dfm": ("Defamation", "S5"),
    "spc": ("Specialised advice", "S6"),
    "prv": ("Privacy", "S7"),
    "ipv": ("Intellectual property", "S8"),
    "iwp": ("Indiscriminate weapons", "S9"),
    "hte": ("Hate", "S10"),
    "ssh": ("Suicide and self-harm", "S11"),
    "sxc": ("Sexual content", "S12"),
}
"""MLCommons AILuminate v1.0 code -> (name, the category of Llama Guard 3 that stands for it)."""

_DATA = "SELFMOA_DATA"
"""Environment variable with the folder that data: sources lie in."""


class SetDefinition(Section):
    """One set of prompts and everything that is needed to read it."""

    title: str
    version: int = Field(ge=1, description="Rises when prompts, columns or mapping change.")
    role: Literal["attack", "borderline", "safe", "instruction", "capability"]
    source: str = Field(
        description="wheel:NAME, hub:OWNER/NAME@REVISION, path:FILE, data:FILE or package:FILE, which we ship."
    )
    sha256: str = Field("", description="Of a data: or package: file.")
    prompt: str = "prompt"
    hazard: str | None = None
    hazards: dict[str, str] = Field(default_factory=dict, description="Category of the source -> AILuminate code.")
    where: dict[str, str] = Field(default_factory=dict, description="Column -> value that a row must have.")
    part: Literal["all", "loop", "eval"] = "all"
    language: str = "en"
    licence: str = Field("", description="Empty: that of the source.")
    commercial: bool = False
    home: str = Field("", description="Where a data: file is published.")

    @field_validator("hazards")
    @classmethod
    def _known(cls, found: dict[str, str]) -> dict[str, str]:
        for code in found.values():
            if code not in HAZARDS:
                raise ValueError(f"unknown hazard code {code!r}.{nearest(code, list(HAZARDS))}")
        return found

    def data(self) -> DataRef:
        """The table behind it."""
        return DataRef(ref=self.source, prompt=self.prompt, hazard=self.hazard, part=self.part, where=self.where)


@cache
def set_definitions() -> dict[str, SetDefinition]:
    """Every set of the registry by name. Raises `UsageError` naming the first definition that is wrong."""
    text = (files("selfmoa.assets") / "sets.yaml").read_text(encoding="utf-8")
    return parse_sets(yaml.safe_load(text))


def parse_sets(values: dict[str, Any]) -> dict[str, SetDefinition]:
    """Definitions from plain values; raises `UsageError` naming the first that is wrong."""
    found = {}
    for name, fields in values.items():
        try:
            found[name] = SetDefinition.model_validate(fields)
        except ValidationError as error:
            raise UsageError(f"Set {name!r}: {first_problem(error)}") from error
    return found


def set_definition(ref: str) -> SetDefinition:
    """The definition that set:NAME names; raises `AssetError` with the nearest known name."""
    name = ref.removeprefix("set:")
    known = set_definitions()
    if name not in known:
        raise AssetError(f"There is no set {name!r}.{nearest(name, list(known))}")
    return known[name]


def capability_sets() -> list[str]:
    """Registered sets of questions that show what a model knows."""
    return [name for name, definition in set_definitions().items() if definition.role == "capability"]


def capability_table(task: str) -> DataRef | None:
    """The table that a task's questions come from; None for a task of lm-eval's own.

    `mmlu` or `set:mmlu` is a registered set, `path:FILE` a table of the user's own, `hub:NAME` or any other name one of
    lm-eval's. Raises `UsageError` for a set that is not registered.
    """
    if task.startswith("path:"):
        return DataRef(ref=task)
    name = task.removeprefix("set:")
    if name in capability_sets():
        return DataRef(ref=f"set:{name}")
    if task.startswith("set:"):
        raise UsageError(f"There is no capability set {name!r}.{nearest(name, capability_sets())}")
    return None


def data_path(ref: str) -> Path:
    """Where a data: file should lie."""
    return Path(os.environ.get(_DATA) or "data").expanduser() / ref.removeprefix("data:")


def checked_file(definition: SetDefinition) -> Path:
    """The data: file of a set. Raises `AssetError` where it is missing or not the pinned one."""
    path = data_path(definition.source)
    if not path.is_file():
        raise AssetError(
            f"{definition.title} is not at {path}. It is published at {definition.home or 'its own site'} "
            f"({definition.licence or 'licence not stated'}); put it there, or set {_DATA} to the folder that holds "
            f"{definition.source.removeprefix('data:')}."
        )
    found = file_hash(path)
    if definition.sha256 and found != definition.sha256:
        raise AssetError(
            f"{path} has sha256 {found}, expected {definition.sha256}: it is another version of {definition.title}. "
            "Fetch the pinned one, or name the file as path: in a suite of your own."
        )
    return path
