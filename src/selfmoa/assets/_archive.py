"""What the readers of tables share: files inside a wheel."""

from __future__ import annotations

import json
from typing import Any
from zipfile import ZipFile

__all__ = ["NO_HAZARD", "Row", "json_lines", "names_in", "text_of"]

Row = dict[str, Any]
NO_HAZARD = "none"


def text_of(archive: ZipFile, name: str) -> str:
    return archive.read(name).decode("utf-8-sig")


def names_in(archive: ZipFile, folder: str, suffix: str) -> list[str]:
    return sorted(name for name in archive.namelist() if name.startswith(folder) and name.endswith(suffix))


def json_lines(text: str) -> list[Row]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]
