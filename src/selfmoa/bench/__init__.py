"""Evaluation: disjoint prompt sets, gate judges' figures with intervals, the before/after comparison."""

from selfmoa.bench._agreement import Agreement, binary_agreement, cohen_kappa, krippendorff_alpha
from selfmoa.bench._comparison import Comparison, compare, plain_json, read_estimate, table_rows
from selfmoa.bench._definitions import DEFINED, DEFINITIONS, MEMBERS, Definition, any_success, counted_on
from selfmoa.bench._diversity import PromptFacts, distinct, prompt_facts, self_bleu, spread
from selfmoa.bench._duplicates import Fence, clusters, near_duplicates
from selfmoa.bench._evaluate import OBJECTIVES, Answer, GateJudges, JudgeNote, Measured, answer_batch, answers, score
from selfmoa.bench._metrics import (
    Metric,
    MetricChange,
    by_hazard,
    by_wrapping,
    compare_metrics,
    item_rows,
    paired_values,
    rate,
    summarise,
    wrapping_rows,
)
from selfmoa.bench._pool import Pooled, pool
from selfmoa.bench._ppi import Corrected, Stratum, ppi_mean, rogan_gladen, sensitivity_band
from selfmoa.bench._preference import TIE, Preference, with_preferences
from selfmoa.bench._sentences import cell, change_cell, missed
from selfmoa.bench._sets import KINDS, SETS, EvaluationSets, Removal, SetName, Touch, build_sets, check_disjoint
from selfmoa.bench._significance import detectable_change, detectable_rate_change, equivalence_p, holm, mcnemar_p
from selfmoa.bench._stage import DevAnswer, StageCheck, stage_check
from selfmoa.bench._statistics import (
    Estimate,
    MetricVerdict,
    mean,
    paired_mean_change,
    paired_proportion_change,
    proportion,
    verdict,
)
from selfmoa.bench._wrap import HIDER, Hide

__all__ = [
    "DEFINED",
    "DEFINITIONS",
    "HIDER",
    "KINDS",
    "MEMBERS",
    "OBJECTIVES",
    "SETS",
    "TIE",
    "Agreement",
    "Answer",
    "Comparison",
    "Corrected",
    "Definition",
    "DevAnswer",
    "Estimate",
    "EvaluationSets",
    "Fence",
    "GateJudges",
    "Hide",
    "JudgeNote",
    "Measured",
    "Metric",
    "MetricChange",
    "MetricVerdict",
    "Pooled",
    "Preference",
    "PromptFacts",
    "Removal",
    "SetName",
    "StageCheck",
    "Stratum",
    "Touch",
    "answer_batch",
    "answers",
    "any_success",
    "binary_agreement",
    "build_sets",
    "by_hazard",
    "by_wrapping",
    "cell",
    "change_cell",
    "check_disjoint",
    "clusters",
    "cohen_kappa",
    "compare",
    "compare_metrics",
    "counted_on",
    "detectable_change",
    "detectable_rate_change",
    "distinct",
    "equivalence_p",
    "holm",
    "item_rows",
    "krippendorff_alpha",
    "mcnemar_p",
    "mean",
    "missed",
    "near_duplicates",
    "paired_mean_change",
    "paired_proportion_change",
    "paired_values",
    "plain_json",
    "pool",
    "ppi_mean",
    "prompt_facts",
    "proportion",
    "rate",
    "read_estimate",
    "rogan_gladen",
    "score",
    "self_bleu",
    "sensitivity_band",
    "spread",
    "stage_check",
    "summarise",
    "table_rows",
    "verdict",
    "with_preferences",
    "wrapping_rows",
]
