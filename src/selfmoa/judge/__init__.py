"""Judges: text in, a value in [0, 1] or a reason out; each trained one with a measured card."""

from selfmoa.judge import _brevity, _coherence, _families, _helpfulness, _refusal_head, _safety  # noqa: F401  (they register)
from selfmoa.judge._card import JudgeCard
from selfmoa.judge._cards import (
    EMBEDDED,
    JURIES,
    TRAINED,
    card,
    find_card,
    holds_head,
    jury_of,
    parts,
    reads_base,
    train_heads,
)
from selfmoa.judge._encoder import ENCODER, encoder
from selfmoa.judge._families import preset_note
from selfmoa.judge._floor import check_floor
from selfmoa.judge._intent import Intent
from selfmoa.judge._jury import aggregate, combine, disagreement, score_all
from selfmoa.judge._kin import kin, kin_notes
from selfmoa.judge._own import measure_on, score_rows
from selfmoa.judge._pairwise import Comparison, compare_pairs, compare_pairwise, compares
from selfmoa.judge._perturb import PERTURBATIONS, FlipRate, Perturbation, Probe, flip_rates
from selfmoa.judge._preset import Preset
from selfmoa.judge._protocol import EMPTY_ANSWER, Evaluator, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._refusal import classify_refusal, refusal_class
from selfmoa.judge._registry import known, make, register
from selfmoa.judge._rubric import RubricJudge
from selfmoa.judge._slots import check_slots, described
from selfmoa.judge._text import first_sentences

__all__ = [
    "EMBEDDED",
    "EMPTY_ANSWER",
    "ENCODER",
    "JURIES",
    "PERTURBATIONS",
    "TRAINED",
    "Comparison",
    "Evaluator",
    "EvaluatorContext",
    "FlipRate",
    "Intent",
    "Item",
    "JudgeBase",
    "JudgeCard",
    "Objective",
    "Perturbation",
    "Preset",
    "Probe",
    "RubricJudge",
    "Verdict",
    "aggregate",
    "card",
    "check_floor",
    "check_slots",
    "classify_refusal",
    "combine",
    "compare_pairs",
    "compare_pairwise",
    "compares",
    "described",
    "disagreement",
    "encoder",
    "find_card",
    "first_sentences",
    "flip_rates",
    "holds_head",
    "jury_of",
    "kin",
    "kin_notes",
    "known",
    "make",
    "measure_on",
    "parts",
    "preset_note",
    "reads_base",
    "refusal_class",
    "register",
    "score_all",
    "score_rows",
    "train_heads",
]
