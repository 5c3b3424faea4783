"""Several judges on the same answers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, TypeVar

import numpy as np

from selfmoa.errors import EvaluatorError
from selfmoa.judge._dawid_skene import dawid_skene
from selfmoa.judge._protocol import Evaluator, Item, JudgeBase, Verdict
from selfmoa.records import Score, stable_id

__all__ = ["Jury", "JuryRule", "aggregate", "combine", "disagreement", "score_all"]

JuryRule = Literal["median", "worst", "dawid_skene"]
Key = TypeVar("Key", bound=Hashable)
_POSITIVE = 0.5


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


class Jury(JudgeBase):
    """Judges of one objective as a single one: the median of their values."""

    def __init__(self, name: str, members: Sequence[Evaluator]) -> None:
        self.name, self.objective = name, members[0].objective
        self._members = members

    @property
    def hash(self) -> str:
        return stable_id(self.name, *(member.hash for member in self._members))

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An answer that none of them scores is unscored, for the first one's reason."""
        verdicts = []
        for votes in zip(*(member.score(items) for member in self._members), strict=True):
            value = aggregate(votes)
            verdicts.append(Verdict(value, votes[0].reason if value is None else ""))
        return verdicts


def combine(
    votes: Mapping[Key, Sequence[Score]], rule: JuryRule = "median", kin: Mapping[str, str] | None = None
) -> dict[Key, float | None]:
    """One value in [0, 1] for each answer's votes on one objective; None where every judge abstained.

    median: of the values present. worst: the least of them. dawid_skene: P(positive) given all votes of the batch,
    each taken as yes from 0.5 on; `kin` (judge -> base or encoder) says who shares a voice. Needs three judges.
    """
    if rule == "median":
        return {key: aggregate(scores) for key, scores in votes.items()}
    if rule == "worst":
        return {
            key: min((score.value for score in scores if score.value is not None), default=None)
            for key, scores in votes.items()
        }
    names = sorted({score.judge for scores in votes.values() for score in scores})
    table = _table(votes, names)
    voted = np.where(np.isnan(table), np.nan, (table >= _POSITIVE).astype(float))
    found = dawid_skene(voted, [(kin or {}).get(name, name) for name in names])
    return {key: None if np.isnan(value) else float(value) for key, value in zip(votes, found, strict=True)}


def disagreement(votes: Mapping[Key, Sequence[Score]]) -> list[dict[str, Any]]:
    """How far each two judges of one jury part: {judges, n, opposite, correlation}.

    opposite: share of answers on which one says yes and the other no (0.5 is the border), in [0, 1]. correlation:
    Pearson's, of the values; None where one of them never varies.
    """
    names = sorted({score.judge for scores in votes.values() for score in scores})
    table = _table(votes, names)
    rows = []
    for one, other in combinations(range(len(names)), 2):
        both = table[~np.isnan(table[:, one]) & ~np.isnan(table[:, other])][:, [one, other]]
        varied = len(both) > 1 and bool((both.std(axis=0) > 0).all())
        rows.append(
            {
                "judges": [names[one], names[other]],
                "n": len(both),
                "opposite": float(np.mean((both[:, 0] >= _POSITIVE) != (both[:, 1] >= _POSITIVE)))
                if len(both)
                else None,
                "correlation": float(np.corrcoef(both.T)[0, 1]) if varied else None,
            }
        )
    return rows


def _table(votes: Mapping[Key, Sequence[Score]], names: Sequence[str]) -> np.ndarray:
    """(answers, judges) of values, NaN where a judge abstained."""
    place = {name: column for column, name in enumerate(names)}
    table = np.full((len(votes), len(names)), np.nan)
    for row, scores in enumerate(votes.values()):
        for score in scores:
            if score.value is not None:
                table[row, place[score.judge]] = score.value
    return table
