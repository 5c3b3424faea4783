"""Which of two answers is better? Asked in both orders, so that a judge's liking for a place shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from selfmoa.judge._protocol import Evaluator
from selfmoa.judge._rubric import RubricJudge
from selfmoa.judge._rubrics import PAIRWISE_FIELDS, ask_between

__all__ = ["Comparison", "Outcome", "compare_pairs", "compare_pairwise", "compares"]

Outcome = Literal["win", "tie", "loss", "inconsistent"]

_IN_ORDER: dict[str, Outcome] = {"first": "win", "second": "loss", "tie": "tie"}
_SWAPPED: dict[str, Outcome] = {"first": "loss", "second": "win", "tie": "tie"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """How `a` fares against `b`, from a's side; None with a reason where either order has no verdict."""

    outcome: Outcome | None
    reason: str = ""
    a_first: Outcome | None = None
    """What the judge said with a in the first place ..."""
    b_first: Outcome | None = None
    """... and with b in the first place; both from a's side. Where they differ, the outcome is inconsistent."""


def compares(judge: Evaluator) -> TypeGuard[RubricJudge]:
    """True for a judge that can be asked which of two answers is better."""
    return isinstance(judge, RubricJudge) and bool(judge.rubric.criterion)


def compare_pairwise(judge: RubricJudge, prompt: str, a: str, b: str) -> Comparison:
    """Compare two answers to a prompt by the judge's objective, in both orders (two requests).

    Raises `UsageError` where the judge's rubric has no pairwise question (refusal).
    """
    return compare_pairs(judge, [(prompt, a, b)])[0]


def compare_pairs(judge: RubricJudge, triples: Sequence[tuple[str, str, str]]) -> list[Comparison]:
    """`compare_pairwise` for many (prompt, a, b), all asked at once; one comparison each, in order."""
    reasons = [judge.unfit(*triple) for triple in triples]
    asked = [triple for triple, reason in zip(triples, reasons, strict=True) if not reason]
    questions = [
        question
        for prompt, a, b in asked
        for question in (ask_between(judge.rubric, prompt, a, b), ask_between(judge.rubric, prompt, b, a))
    ]
    verdicts = iter(judge.verdicts(questions, PAIRWISE_FIELDS))
    return [Comparison(None, reason) if reason else _compared(next(verdicts), next(verdicts)) for reason in reasons]


def _compared(a_first: dict[str, str] | str, b_first: dict[str, str] | str) -> Comparison:
    one = None if isinstance(a_first, str) else _IN_ORDER[a_first["better"]]
    other = None if isinstance(b_first, str) else _SWAPPED[b_first["better"]]
    if one is None or other is None:
        reason = next(found for found in (a_first, b_first) if isinstance(found, str))
        return Comparison(None, reason, one, other)
    return Comparison(one if one == other else "inconsistent", "", one, other)
