"""Human labels: read from CSV or JSONL, checked, every problem counted."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from selfmoa.audit._key import folder
from selfmoa.errors import UsageError
from selfmoa.records import RefusalClass

__all__ = ["SCALE", "Label", "label_files", "parse_answer", "read_labels"]

SCALE = range(6)
"""The grades of safety and helpfulness; higher is better."""
_CLASSES: Mapping[str, RefusalClass] = {
    "c": "compliance",
    "compliance": "compliance",
    "p": "partial",
    "partial": "partial",
    "f": "full",
    "full": "full",
}
_QUESTIONS = ("safety", "helpfulness", "refusal")
_ONE_ANSWER = 20
"""Labels from which one and the same answer to everything is taken for a slip (a column filled down)."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one person says of one item."""

    id: str
    annotator: str
    safety: int
    """0 (harmful throughout) to 5 (safe throughout)."""
    helpfulness: int
    """0 to 5, higher = better."""
    refusal: RefusalClass
    note: str = ""


def label_files(run: Path) -> list[Path]:
    """Files with labels in RUN/audit: those of the terminal mode, and the sheet once something is filled in."""
    where = folder(run)
    found = sorted(where.glob("labels_*.jsonl")) + sorted(where.glob("labels_*.csv"))
    sheet = where / "labels.csv"
    if sheet.is_file() and any(_filled(row) for _, row in _rows(sheet)):
        found.append(sheet)
    return found


def read_labels(paths: Sequence[Path], known: Collection[str], *, varied: bool = True) -> list[Label]:
    """The labels of all files together; `varied`: they are all there, so that one answer to everything is refused.

    Rows with no answer at all are items not labelled yet. A row without an annotator belongs to one named after
    the file. Raises `UsageError` that counts everything wrong: grades out of range, unknown items, items labelled
    twice by one person, rows half filled, or one and the same answer to everything.
    """
    labels: list[Label] = []
    problems: dict[str, list[str]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for path in paths:
        for place, row in _rows(path):
            if not _filled(row):
                continue
            where = f"{path.name} line {place}"
            label = _label(row, path, where, problems)
            if label is None:
                continue
            if label.id not in known:
                problems["unknown items"].append(f"{where}, id {label.id!r}")
            elif (label.id, label.annotator) in seen:
                problems["items labelled twice by one annotator"].append(f"{where}, {label.id} by {label.annotator}")
            else:
                seen.add((label.id, label.annotator))
                labels.append(label)
    if problems:
        told = "; ".join(f"{len(places)} {what} (first: {places[0]})" for what, places in problems.items())
        raise UsageError(
            f"The labels cannot be used: {told}. Expected the ids of items.jsonl, safety and helpfulness from 0 to 5, "
            "refusal compliance, partial or full, one label an item and annotator. Mend the file and run again."
        )
    if varied:
        _check_varied(labels)
    return labels


def parse_answer(question: str, text: str) -> int | RefusalClass | None:
    """The answer to one question, None where it is none: '4', '4.0', 'f', 'Full'."""
    found = text.strip().lower()
    if question == "refusal":
        return _CLASSES.get(found)
    try:
        value = float(found)
    except ValueError:
        return None
    return int(value) if value in SCALE else None


def _label(row: Mapping[str, Any], path: Path, where: str, problems: dict[str, list[str]]) -> Label | None:
    given = {name: _text(row.get(name)) for name in ("id", *_QUESTIONS, "annotator", "note")}
    empty = [name for name in _QUESTIONS if not given[name]]
    if empty:
        problems["rows answered in part only"].append(f"{where}, no {' and no '.join(empty)}")
        return None
    answers = {name: parse_answer(name, given[name]) for name in _QUESTIONS}
    for name, answer in answers.items():
        if answer is None:
            problems["answers out of range"].append(f"{where}, {name} {given[name][:20]!r}")
            return None
    return Label(
        id=given["id"],
        annotator=given["annotator"] or path.stem.removeprefix("labels_"),
        safety=cast(int, answers["safety"]),
        helpfulness=cast(int, answers["helpfulness"]),
        refusal=cast(RefusalClass, answers["refusal"]),
        note=given["note"],
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _filled(row: Mapping[str, Any]) -> bool:
    return any(_text(row.get(name)) for name in _QUESTIONS)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line, row) of a CSV (comma or semicolon) or JSONL file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Expected UTF-8 CSV or JSONL.") from error
    if path.suffix.lower() in (".jsonl", ".json"):
        yield from _json_rows(path, text)
        return
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    missing = [name for name in ("id", *_QUESTIONS) if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"{path} has no column {', '.join(missing)}; expected those of labels.csv.")
    for row in reader:
        yield reader.line_num, row


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for place, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path} line {place} is not JSON ({error}). Mend or remove that line.") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path} line {place} is no object; expected id, safety, helpfulness, refusal.")
        yield place, row


def _check_varied(labels: Sequence[Label]) -> None:
    """Refuse an annotator who gives every item the same answers."""
    for name, n in Counter(label.annotator for label in labels).items():
        found = {(label.safety, label.helpfulness, label.refusal) for label in labels if label.annotator == name}
        if n >= _ONE_ANSWER and len(found) == 1:
            safety, helpfulness, refusal = next(iter(found))
            raise UsageError(
                f"All {n} labels of {name!r} are one and the same: safety {safety}, helpfulness {helpfulness}, "
                f"refusal {refusal}. With one class nothing can be measured; was a column filled down by mistake?"
            )
