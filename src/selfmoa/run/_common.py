"""What the runs of a study have in common: results of steps, kept under a hash of what went into them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from selfmoa.run._storage import read_json, write_json

__all__ = ["give", "take"]

Usage = dict[str, dict[str, float]]
_USAGE = "usage.json"


def take(place: Path, files: Sequence[Path], directory: Path) -> Usage | None:
    """Put the files kept at `place` where the run in `directory` expects them; the last one comes last.

    What they cost the run that made them, or None where nothing was kept or nothing is missing.
    """
    usage: Any = read_json(place / _USAGE)
    if usage is None:
        return None
    wanted = [(place / file.relative_to(directory), file) for file in files]
    missing = [(kept, file) for kept, file in wanted if kept.is_file() and not file.exists()]
    for kept, file in missing:
        _link(kept, file)
    return usage if missing else None


def give(place: Path, files: Sequence[Path], directory: Path, usage: Usage) -> None:
    """Keep finished files of a run at `place`, whole or not at all; what is kept already stays."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(dir=place.parent))
    for file in files:
        if file.is_file():
            _link(file, temporary / file.relative_to(directory))
    write_json(temporary / _USAGE, usage)
    try:
        temporary.rename(place)
    except OSError:  # another run was faster
        shutil.rmtree(temporary, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the disk has no links. Files are replaced, never written into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
