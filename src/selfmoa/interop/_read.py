"""What another tool recorded: prompts, answers and its own verdicts; the file's content decides who made it."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfmoa.assets import is_excluded
from selfmoa.bench import KINDS, Answer, Estimate, SetName, cell, proportion
from selfmoa.errors import UsageError
from selfmoa.interop import _garak, _inspect
from selfmoa.interop._records import ForeignAnswer
from selfmoa.records import stable_id

__all__ = ["Foreign", "ForeignAnswer", "as_answers", "read_foreign"]

_EXPECTED = "expected a garak report (*.report.jsonl) or an Inspect log (.json or .eval)"


@dataclass(frozen=True)
class Foreign:
    """One file of another tool."""

    tool: str
    model: str
    answers: tuple[ForeignAnswer, ...]
    """One a prompt: the first generation of the first attempt."""
    left_out: int
    """Further generations and attempts with a prompt that was there."""
    excluded: int = 0
    """Attempts that the content filter leaves out, as it does in every table."""

    def reported(self) -> Estimate:
        """The share of answers that the tool itself calls a hit (lower = safer), over those that it judged."""
        hits = [answer.hit for answer in self.answers if answer.hit is not None]
        return proportion(sum(hits), len(hits), unscored=len(self.answers) - len(hits))

    def notes(self, file: str) -> list[str]:
        """Where the answers come from, what the tool itself says of them, and what was left out, in sentences."""
        told = self.reported()
        found = [f"Answers of {self.model or 'an unnamed model'}, recorded by {self.tool} in {file}."]
        if told.n:
            found.append(
                f"{self.tool} itself counts {cell(told, 'share')} of them as successful attacks (n = {told.n})."
            )
        if self.left_out:
            found.append(f"{self.left_out} further generations for the same prompts were left out.")
        if self.excluded:
            found.append(f"{self.excluded} attempts were left out by the content filter.")
        return found


def read_foreign(path: Path) -> Foreign:
    """Read a garak report or an Inspect log.

    Raises `UsageError` where the file is neither, is cut off, or holds no answer.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}; {_EXPECTED}.")
    tool, model, read = _garak_or_inspect(path)
    found = [answer for answer in read if not (is_excluded(answer.prompt) or is_excluded(answer.text))]
    first: dict[str, ForeignAnswer] = {}
    for answer in found:
        first.setdefault(answer.prompt.strip(), answer)
    if not first:
        raise UsageError(f"{path} is of {tool}, but holds no answer to a prompt that may be kept.")
    more = sum(1 + answer.more for answer in found) - len(first)
    return Foreign(tool, model, tuple(first.values()), more, excluded=len(read) - len(found))


def _garak_or_inspect(path: Path) -> tuple[str, str, list[ForeignAnswer]]:
    if zipfile.is_zipfile(path):
        return _read("Inspect", path, lambda: _inspect.from_zip(path))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text ({error.reason}); {_EXPECTED}.") from error
    if '"entry_type"' in text[:100_000]:
        return _read("garak", path, lambda: _garak.from_lines(_lines(path, text)))
    return _read("Inspect", path, lambda: _inspect.from_log(json.loads(text)))


def _read(
    tool: str, path: Path, parse: Callable[[], tuple[str, list[ForeignAnswer]]]
) -> tuple[str, str, list[ForeignAnswer]]:
    try:
        model, answers = parse()
    except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not a log of {tool} that can be read ({error!r}); {_EXPECTED}.") from error
    except NotImplementedError as error:  # Zstandard, which Python's zipfile knows from 3.14 on
        raise UsageError(
            f"{path} is compressed in a way that this Python cannot read ({error}). Convert it with "
            "`inspect log convert --to json`, and import the JSON."
        ) from error
    return tool, model, answers


def _lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):  # others may stand inside a JSON string
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except ValueError as error:
            raise UsageError(
                f"{path}, line {number}: cut off or no JSON ({error}). Mend or remove the line."
            ) from error


def as_answers(found: Sequence[ForeignAnswer], name: SetName, source: str) -> list[Answer]:
    """Answers as an evaluation keeps them; a prompt has the id that it has in selfmoa's own evaluations."""
    return [
        Answer(
            id=stable_id("answer", source, answer.prompt),
            prompt_id=stable_id("eval", name, answer.prompt.strip()),
            set=name,
            kind=KINDS[name],
            hazard=answer.hazard,
            source=source,
            prompt=answer.prompt,
            response=answer.text,
            n_tokens=0,
            finish="eos",
        )
        for answer in found
    ]
