"""Judges: text in, a value in [0, 1] or a reason out; each trained one with a measured card."""

from selfmoa.judge import _coherence, _families, _helpfulness, _refusal_head, _safety  # noqa: F401  (they register)
from selfmoa.judge._cards import JudgeCard, card, train_heads
from selfmoa.judge._families import preset_note
from selfmoa.judge._jury import aggregate, score_all
from selfmoa.judge._pairwise import Comparison, compare_pairs, compare_pairwise
from selfmoa.judge._preset import Preset
from selfmoa.judge._protocol import Evaluator, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._refusal import classify_refusal, refusal_class
from selfmoa.judge._registry import known, make, register
from selfmoa.judge._rubric import RubricJudge

__all__ = [
    "Comparison",
    "Evaluator",
    "EvaluatorContext",
    "Item",
    "JudgeBase",
    "JudgeCard",
    "Objective",
    "Preset",
    "RubricJudge",
    "Verdict",
    "aggregate",
    "card",
    "classify_refusal",
    "compare_pairs",
    "compare_pairwise",
    "known",
    "make",
    "preset_note",
    "refusal_class",
    "register",
    "score_all",
    "train_heads",
]
