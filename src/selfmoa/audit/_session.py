"""Labelling in the terminal: one item at a time, three questions, saved after each, resumable."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfmoa.audit._guideline import QUESTIONS
from selfmoa.audit._key import folder
from selfmoa.audit._labels import Label, parse_answer, read_labels
from selfmoa.display import visible
from selfmoa.errors import StorageError, UsageError
from selfmoa.run import write_text

__all__ = ["Progress", "label_items"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}")
_HELP = {
    "safety": "0 to 5",
    "helpfulness": "0 to 5",
    "refusal": "c, p or f",
}
_COMMANDS = "b = back, s = skip, q = quit; anything after the answer is kept as a note"
_RULE = "-" * 72


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an annotator has come."""

    labelled: int
    skipped: int
    """Items passed over in this sitting; they come again in the next."""
    total: int
    path: Path


def label_items(run: Path, annotator: str, *, ask: Callable[[str], str], tell: Callable[[str], None]) -> Progress:
    """Go through the items that this annotator has not labelled yet.

    `ask(question)` gives the typed answer and raises `EOFError` at its end, which quits; `tell(text)` shows a text.
    Everything shown is neutralised. Each label is on disk before the next item is shown.

    Raises `UsageError` for a name that cannot be part of a file name, `StorageError` where nothing can be saved.
    """
    if not _NAME.fullmatch(annotator):
        raise UsageError(f"Annotator {annotator!r}: expected a short name of letters, digits, '.', '_' and '-'.")
    items = _read_items(run)
    path = folder(run) / f"labels_{annotator}.jsonl"
    _mend(path)
    earlier = read_labels([path], set(items), varied=False) if path.is_file() else []
    done = {label.id: label for label in earlier}
    if others := {label.annotator for label in done.values()} - {annotator}:
        raise UsageError(f"{path} holds labels of {', '.join(sorted(others))}; expected only those of {annotator}.")
    queue = [name for name in items if name not in done]
    tell(f"{len(done)} of {len(items)} items are labelled. {_COMMANDS}.")
    position, skipped = 0, 0
    while position < len(queue):
        name = queue[position]
        tell(_shown(items[name], len(done) + 1, len(items)))
        found = _ask_all(name, annotator, ask, tell)
        if isinstance(found, Label):
            _append(path, found)
            done[name] = found
            position += 1
        elif found == "back":
            position, skipped = _step_back(queue, position, done, skipped, path, tell)
        elif found == "skip":
            position, skipped = position + 1, skipped + 1
        else:
            break
    return Progress(len(done), skipped, len(items), path)


def _read_items(run: Path) -> dict[str, Mapping[str, Any]]:
    path = folder(run) / "items.jsonl"
    if not path.is_file():
        raise UsageError(f"There are no items in {path.parent}; run `selfmoa judges audit {run}` first.")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return {row["id"]: row for row in rows}


def _shown(item: Mapping[str, Any], number: int, total: int) -> str:
    prompt, response = visible(str(item["prompt"])), visible(str(item["response"]))
    return "\n".join(
        ("", _RULE, f"item {number} of {total}", _RULE, "PROMPT", prompt, _RULE, "ANSWER", response or "(empty)", _RULE)
    )


def _ask_all(name: str, annotator: str, ask: Callable[[str], str], tell: Callable[[str], None]) -> Label | str:
    """The label, or back, skip, quit."""
    answers: dict[str, Any] = {}
    notes: list[str] = []
    for question, words in QUESTIONS.items():
        while question not in answers:
            try:
                typed = ask(f"{words} > ").strip()
            except EOFError:
                return "quit"
            command = {"b": "back", "s": "skip", "q": "quit"}.get(typed.lower())
            if command:
                return command
            value, _, note = typed.partition(" ")
            answer = parse_answer(question, value)
            if answer is None:
                tell(f"Expected {_HELP[question]}, got {visible(value)[:20]!r}. {_COMMANDS}.")
                continue
            answers[question] = answer
            notes += [note.strip()] if note.strip() else []
    return Label(name, annotator, answers["safety"], answers["helpfulness"], answers["refusal"], "; ".join(notes))


def _step_back(
    queue: Sequence[str], position: int, done: dict[str, Label], skipped: int, path: Path, tell: Callable[[str], None]
) -> tuple[int, int]:
    """One item back; its label, if it has one, is taken out of the file."""
    if position == 0:
        tell("This is the first item of this sitting.")
        return position, skipped
    name = queue[position - 1]
    if name not in done:
        return position - 1, skipped - 1
    del done[name]
    write_text(path, "".join(_line(label) for label in done.values()))
    return position - 1, skipped


def _line(label: Label) -> str:
    return json.dumps(asdict(label), ensure_ascii=True) + "\n"


def _append(path: Path, label: Label) -> None:
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(_line(label))
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. The last label is not saved.") from error


def _mend(path: Path) -> None:
    """Take out a last line that a kill has cut."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    whole, _, rest = text.rpartition("\n")
    if rest:
        write_text(path, whole + "\n" if whole else "")
