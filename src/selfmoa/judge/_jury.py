"""Several judges on the same answers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from selfmoa.errors import EvaluatorError
from selfmoa.judge._protocol import Evaluator, Item
from selfmoa.records import Score

__all__ = ["aggregate", "score_all"]


def score_all(
    evaluators: Sequence[Evaluator],
    items: Sequence[Item],
    *,
    batch_size: int = 64,
    on_batch: Callable[[str, int], None] | None = None,
) -> list[Score]:
    """Every judge's score of every item: judge by judge, items in order.

    `on_batch(judge, n)` is called after each batch. Raises `EvaluatorError` where a judge does not give one
    score an item.
    """
    scores: list[Score] = []
    for evaluator in evaluators:
        for start in range(0, len(items), batch_size):
            batch = items[start : start + batch_size]
            found = evaluator.score(batch)
            if len(found) != len(batch):
                raise EvaluatorError(
                    f"Judge {evaluator.name!r} gave {len(found)} scores for {len(batch)} items; expected one each."
                )
            scores += found
            if on_batch is not None:
                on_batch(evaluator.name, len(batch))
    return scores


def aggregate(scores: Iterable[Score]) -> float | None:
    """The median of the values present, None where every judge abstained."""
    values = [score.value for score in scores if score.value is not None]
    return statistics.median(values) if values else None
