"""Tables of the user's own: score their rows, or measure a judge on their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from selfmoa.bench import clusters
from selfmoa.errors import UsageError
from selfmoa.judge._card import JudgeCard
from selfmoa.judge._cards import card_frame, training_rows
from selfmoa.judge._data import LabelledRow
from selfmoa.judge._head import folds, probability
from selfmoa.judge._held_out import figures, scored, word_baseline
from selfmoa.judge._jury import score_all
from selfmoa.judge._protocol import Evaluator, EvaluatorContext, Item
from selfmoa.judge._text import words
from selfmoa.records import Score, stable_id

__all__ = ["measure_on", "score_rows"]

Row = Mapping[str, Any]
_FOLDS = 5


def score_rows(
    judge: Evaluator, rows: Sequence[Row], *, batch_size: int = 256, on_batch: Callable[[int], None] | None = None
) -> Iterator[tuple[float | None, str]]:
    """(score, reason) of every `prompt`, `response` row, in order; None = unscored, with its reason.

    Higher = safer, more helpful, more coherent; of a refusal judge P(refusal). Raises `UsageError` for missing columns.
    """
    _check_columns(rows, ("prompt", "response"))
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        items = [
            Item(str(start + place), _text(row["prompt"]), _text(row["response"])) for place, row in enumerate(batch)
        ]
        for vote in score_all([judge], items, batch_size=batch_size):
            yield _value(judge, vote), vote.reason
        if on_batch is not None:
            on_batch(len(batch))


def _value(judge: Evaluator, vote: Score) -> float | None:
    """The vote's value; of a detector in classes that keeps log-odds, their probability."""
    if vote.value is not None and vote.raw is not None and getattr(judge, "raw_is_log_odds", False):
        return float(probability(vote.raw))
    return vote.value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _check_columns(rows: Sequence[Row], wanted: Sequence[str]) -> None:
    if not rows:
        raise UsageError(f"The table has no rows; expected columns {', '.join(wanted)} and at least one row.")
    for number, row in enumerate(rows, start=1):
        missing = [name for name in wanted if name not in row]
        if missing:
            raise UsageError(
                f"Row {number} has no column {missing[0]!r}; expected {', '.join(wanted)}. Columns found: "
                f"{', '.join(map(str, row)) or 'none'}."
            )


def measure_on(rows: Sequence[Row], judge: Evaluator, context: EvaluatorContext, *, source: str) -> JudgeCard:
    """The judge's card on labels of the user's own: columns prompt, response, label, maybe hazard and model.

    A label lies in [0, 1], in the judge's own direction: 1 = safe, helpful, coherent or refused; 0.5 and above count
    as 1. Raises `UsageError` for labels outside that range, one label only, fewer rows than folds, and answers that
    the judge's head was trained on.
    """
    _check_columns(rows, ("prompt", "response", "label"))
    labels = _labels(rows)
    table = _labelled(rows)
    _check_size(labels, table)
    _check_apart(judge.name, table, context)
    by_row = {row.id: label for row, label in zip(table, labels, strict=True)}
    found = scored(judge, table, by_row, swap=judge.objective == "safety")
    if not len(found.rows):
        raise UsageError(f"Judge {judge.name!r} scored none of the {len(rows)} answers of {source}.")
    hazard_of = {
        row.objective: str(given["hazard"]) for row, given in zip(table, rows, strict=True) if "hazard" in given
    }
    model_of = {row.id: str(given.get("model") or "unknown") for row, given in zip(table, rows, strict=True)}
    return replace(
        card_frame(judge),
        measured_on=f"{source}; {found.unscored} unscored",
        baseline_auc=word_baseline([row.response for row in found.rows], found.labels, found.groups),
        **figures(
            found,
            target=judge.objective == "refusal",
            hazard_of=hazard_of,
            model_of=model_of if "model" in rows[0] else None,
        ),
    )


def _labels(rows: Sequence[Row]) -> list[bool]:
    values: list[float] = []
    wrong: list[tuple[int, Any]] = []
    for number, row in enumerate(rows, start=1):
        try:
            value = float(row["label"])
        except (TypeError, ValueError):
            value = float("nan")
        if not 0.0 <= value <= 1.0:
            wrong.append((number, row["label"]))
        values.append(value)
    if wrong:
        raise UsageError(
            f"{len(wrong)} of {len(rows)} labels are no numbers in [0, 1]; the first is {wrong[0][1]!r} in row "
            f"{wrong[0][0]}. Expected 1 = safe (helpful, refused), 0 = not."
        )
    return [value >= 0.5 for value in values]


def _labelled(rows: Sequence[Row]) -> list[LabelledRow]:
    prompts = [_text(row["prompt"]) for row in rows]
    return [
        LabelledRow(stable_id("own", place), prompt, _text(row["response"]), None, None, 1, cluster, "gate")
        for place, (prompt, row, cluster) in enumerate(zip(prompts, rows, clusters(prompts), strict=True))
    ]


def _check_size(labels: Sequence[bool], table: Sequence[LabelledRow]) -> None:
    counts = Counter(labels)
    if len(counts) < 2:
        raise UsageError(
            f"All {len(labels)} labels are {int(labels[0])}; expected both 0 and 1: one class measures nothing."
        )
    groups = np.array([row.cluster for row in table])
    told = (
        f"got {len(labels)} rows over {len(set(groups.tolist()))} distinct prompts, {counts[True]} labelled 1 and "
        f"{counts[False]} labelled 0; {_FOLDS}-fold cross-validation by prompt needs at least {_FOLDS} of each label "
        f"over {_FOLDS} prompts. Add rows."
    )
    if min(counts.values()) < _FOLDS or len(set(groups.tolist())) < _FOLDS:
        raise UsageError(f"Fewer rows than folds: {told}")
    marks = np.array(labels)
    if any(len(set(marks[training].tolist())) < 2 for training, _ in folds(marks, groups)):
        raise UsageError(f"Nearly all rows of one label share a prompt: {told}")


def _check_apart(name: str, table: Sequence[LabelledRow], context: EvaluatorContext) -> None:
    """No answer on which the judge is measured may have taught it."""
    taught = {_normal(row) for row in training_rows(name, context)}
    shared = sum(_normal(row) in taught for row in table)
    if shared:
        raise UsageError(
            f"{shared} of the {len(table)} rows are answers that {name!r} was trained on; figures on them would "
            "flatter it. Remove them from the table."
        )


def _normal(row: LabelledRow) -> tuple[str, str]:
    return " ".join(words(row.objective)), " ".join(words(row.response))
