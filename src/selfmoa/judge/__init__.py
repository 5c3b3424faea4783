"""Judges: text in, a value in [0, 1] or a reason out; each trained one with a measured card."""

from selfmoa.judge import _coherence, _families, _helpfulness, _refusal_head, _safety  # noqa: F401  (they register)
from selfmoa.judge._cards import JudgeCard, card, train_heads
from selfmoa.judge._jury import aggregate, score_all
from selfmoa.judge._out_of_fold import OutOfFold, out_of_fold_scores
from selfmoa.judge._protocol import Evaluator, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._refusal import classify_refusal, refusal_class
from selfmoa.judge._registry import known, make, register

__all__ = [
    "Evaluator",
    "EvaluatorContext",
    "Item",
    "JudgeBase",
    "JudgeCard",
    "Objective",
    "OutOfFold",
    "Verdict",
    "aggregate",
    "card",
    "classify_refusal",
    "known",
    "make",
    "out_of_fold_scores",
    "refusal_class",
    "register",
    "score_all",
    "train_heads",
]
