"""Tasks: which questions are drawn, and how they are written down for lm-eval."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfmoa.assets import is_excluded, load_table
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef
from selfmoa.records import stable_id
from selfmoa.run import write_text

__all__ = ["Written", "draw", "harness_name", "name_of", "write_task"]

_QUESTION = "Question: {{prompt}}\nAnswer:"
_FORMS = {"openbookqa": "{{prompt}}"}
"""Text before the choice where it is not `_QUESTION`. OpenBookQA's and PIQA's are lm-eval's own; MMLU and CommonsenseQA
are asked for the text of the answer, not for its letter, which small models cannot tell apart."""


@dataclass(frozen=True, slots=True)
class Written:
    """A task that lies in a directory for lm-eval."""

    name: str
    """The user's."""
    harness_name: str
    """lm-eval's, e.g. selfmoa_mmlu: its own `mmlu` is another task."""


def name_of(task: str) -> str:
    """What a task is called in figures and files."""
    return Path(task).stem if task.startswith("path:") else task.removeprefix("set:").removeprefix("hub:")


def harness_name(task: str) -> str:
    """What lm-eval calls a task of ours."""
    return "selfmoa_" + re.sub(r"\W", "_", name_of(task))


def draw(subjects: Sequence[str], ids: Sequence[str], n: int | None, seed: int) -> list[int]:
    """Places of the n questions that are asked, in order; None = all.

    Every subject gives its share, to within one question, so that the accuracy of the subset estimates that of the
    whole. Within a subject the order is a hash of seed and id: a smaller n takes a part of what a larger one takes.
    """
    if len(subjects) != len(ids):
        raise ValueError(f"got {len(subjects)} subjects and {len(ids)} ids; expected one each")
    members: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(ids)), key=lambda place: _rank(seed, ids[place])):
        members[subjects[place]].append(place)
    # the k-th of s questions stands at (k + 1/2) / s: taking the lowest n gives shares by Webster's method
    spread = [
        ((turn + 0.5) / len(places), _rank(seed, ids[place]), place)
        for places in members.values()
        for turn, place in enumerate(places)
    ]
    return sorted(place for _, _, place in sorted(spread)[:n])


def write_task(directory: Path, task: str, data: DataRef, *, n: int | None, seed: int) -> Written:
    """Draw the questions of a table and write them with the task's definition; lm-eval reads both (--include_path).

    The definition names the questions by their absolute path: correct it where the directory is moved.
    """
    # a question that a table holds twice is asked once
    rows = list({row["id"]: row for row in _questions(data)}.values())
    taken = draw([row["subject"] for row in rows], [row["id"] for row in rows], n, seed)
    written = Written(name_of(task), harness_name(task))
    questions = directory.resolve() / f"{written.harness_name}.jsonl"
    lines = [json.dumps(rows[place], ensure_ascii=False) for place in taken]
    write_text(questions, "\n".join(lines) + "\n")
    definition = {
        "task": written.harness_name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "num_fewshot": 0,
        "doc_to_text": _FORMS.get(written.name, _QUESTION),
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
    }
    write_text(directory / f"{written.harness_name}.yaml", yaml.safe_dump(definition, sort_keys=False))
    return written


def _questions(data: DataRef) -> list[dict[str, Any]]:
    """id, prompt, choices, gold and subject of every row. Raises `UsageError` naming the first that is no question."""
    found = []
    for number, row in enumerate(load_table(data), start=1):
        choices, gold = row.get("choices"), row.get("gold")
        listed = isinstance(choices, list) and len(choices) > 1 and all(isinstance(text, str) for text in choices)
        if not (listed and isinstance(gold, int) and 0 <= gold < len(choices or ())):
            raise UsageError(
                f"{data.ref}: row {number} is no multiple-choice question. Expected columns prompt (text), choices "
                "(list of at least two texts) and gold (place of the right one, from 0) in JSON lines or Parquet."
            )
        if not any(is_excluded(text) for text in choices or ()):
            question = {"prompt": row["prompt"], "choices": choices, "gold": gold}
            subject = str(row.get("subject") or name_of(data.ref))
            found.append({"id": stable_id(row["prompt"], *(choices or ())), **question, "subject": subject})
    if not found:
        raise UsageError(f"{data.ref} has no question that the content filter keeps.")
    return found


def _rank(seed: int, item: str) -> str:
    return hashlib.sha256(f"{seed}\x1f{item}".encode()).hexdigest()
