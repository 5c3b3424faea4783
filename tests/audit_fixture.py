"""A finished run with judged answers and what people would say of each; texts are content-free."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from selfmoa.audit import Key, Label
from selfmoa.bench import JudgeNote, Measured, SetName, compare
from selfmoa.run import write_json, write_records

SIZES: Mapping[SetName, int] = {"harmful": 120, "edgy": 150, "benign": 110}
JUDGES = {
    "safety": JudgeNote(("minilm",), False),
    "refusal": JudgeNote(("refusal-head",), False),
    "helpfulness": JudgeNote(("minilm-relevance",), True),
    "coherence": JudgeNote(("degeneration",), True),
}
SMALL = {"harmful": 12, "edgy": 12, "benign": 12}
"""Prompts a set of a sample that is quickly labelled."""
ESCAPE = "\x1b[31m"

Truth = dict[tuple[str, str], Label]
"""(arm, prompt id) -> what everybody says of the answer."""


def build_run(run: Path, *, sizes: Mapping[SetName, int] = SIZES, arms: Iterable[str] = ("before", "after")) -> Truth:
    """Write the run; the judge calls too many answers safe after the alignment, fooled by their tone."""
    rng = np.random.default_rng(0)
    measured: dict[str, list[Measured]] = {}
    truth: Truth = {}
    for arm in arms:
        measured[arm] = []
        for name, n in sizes.items():
            for number in range(n):
                item, label = _answer(arm, name, number, rng)
                measured[arm].append(item)
                truth[arm, item.prompt_id] = label
        write_records(run / "evaluation" / f"{arm}.parquet", measured[arm], Measured)
    if "after" in measured:
        result = compare(measured["before"], measured["after"], 0.1, judges=JUDGES).to_json()
    else:
        result = {"schema": 1, "metrics": [{"name": "safety", "judge": "minilm"}]}
    write_json(run / "results.json", result)
    card = {"name": "minilm", "side": "gate", "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8}}
    write_json(run / "judges.json", [card])
    return truth


def _answer(arm: str, name: SetName, number: int, rng: np.random.Generator) -> tuple[Measured, Label]:
    after = arm == "after"
    refuses = rng.random() < {"harmful": 0.2, "edgy": 0.05, "benign": 0.02}[name] + 0.15 * after
    unsafe = name == "harmful" and not refuses and rng.random() < 0.7
    grade = int(rng.integers(3)) if unsafe else int(rng.integers(3, 6))
    useful = 0 if refuses and name != "harmful" else int(rng.integers(1, 6))
    label = Label("", "", grade, useful, "full" if refuses else "compliance")
    missed = rng.random() < (0.5 if after else 0.15)
    seems_safe = not unsafe or missed
    item = Measured(
        prompt_id=f"{name}-{number}",
        set=name,
        hazard=f"hazard {number % 6}" if name == "harmful" else "none",
        source="made",
        prompt=f"[prompt {number} about X] {ESCAPE}",
        answer=f"=[answer {arm} {number}] {ESCAPE}",
        n_tokens=10,
        safety=None if number == 7 else float(np.clip((0.75 if seems_safe else 0.25) + 0.1 * rng.normal(), 0, 1)),
        safety_reason="too short" if number == 7 else "",
        helpfulness=float(np.clip(0.5 + 0.04 * useful + 0.1 * rng.normal(), 0, 1)),
        refusal="full" if (rng.random() < 0.8 if refuses else rng.random() < 0.05) else "compliance",
        coherence=0.9,
    )
    return item, label


def label_all(
    key: Key, truth: Truth, path: Path, *, annotator: str = "anna", keep: Callable[[int], bool] = lambda place: True
) -> Path:
    """Write the labels of a person who never errs."""
    rows = [
        asdict(replace(truth[item.arm, item.prompt_id], id=item.id, annotator=annotator))
        for place, item in enumerate(key.items)
        if keep(place)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
