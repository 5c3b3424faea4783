"""Inspect's log: one JSON object, or a zip with the header and one JSON file a sample.

Its scores carry no direction, so none is taken for a verdict on safety.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from selfmoa.errors import UsageError
from selfmoa.interop._records import ForeignAnswer

__all__ = ["from_log", "from_zip"]

_ATTACHED = "attachment://"


def from_log(log: Any) -> tuple[str, list[ForeignAnswer]]:
    """(model, answers) of a log; samples without an answer are left out."""
    if not isinstance(log, dict) or "eval" not in log:
        raise UsageError("The file is JSON without `entry_type` or `eval`: neither a garak report nor an Inspect log.")
    return _answers(log["eval"], log.get("samples") or [])


def from_zip(path: Path) -> tuple[str, list[ForeignAnswer]]:
    """The same of the zipped form."""
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("header.json"))
        names = sorted(name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json"))
        return _answers(header["eval"], [json.loads(archive.read(name)) for name in names])


def _answers(spec: dict[str, Any], samples: list[dict[str, Any]]) -> tuple[str, list[ForeignAnswer]]:
    found = []
    for sample in map(_whole, samples):
        choices = (sample.get("output") or {}).get("choices") or []
        prompt = _prompt(sample["input"])
        if prompt and choices:
            text = _content(choices[0]["message"]["content"])
            found.append(ForeignAnswer(prompt, text, str(spec.get("task") or "unknown"), more=len(choices) - 1))
    return str(spec.get("model") or ""), found


def _whole(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample with its long texts in place: Inspect keeps them apart and leaves `attachment://NAME`."""
    attached = sample.get("attachments") or {}

    def put(value: Any) -> Any:
        if isinstance(value, str):
            return attached.get(value.removeprefix(_ATTACHED), value) if value.startswith(_ATTACHED) else value
        if isinstance(value, list):
            return [put(part) for part in value]
        return {key: put(part) for key, part in value.items()} if isinstance(value, dict) else value

    return {"input": put(sample["input"]), "output": put(sample.get("output"))}


def _prompt(value: Any) -> str:
    if isinstance(value, str):
        return value
    turns = [turn for turn in value if turn.get("role") == "user"]
    return _content(turns[-1]["content"]) if turns else ""


def _content(value: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(value, str):
        return value
    return "".join(part.get("text") or "" for part in value if part.get("type") == "text")
