"""Evaluation: disjoint prompt sets, gate judges' figures with intervals, the before/after comparison."""

from selfmoa.bench._comparison import Comparison, compare, table_rows
from selfmoa.bench._duplicates import Fence, clusters, near_duplicates
from selfmoa.bench._evaluate import Answer, GateJudges, JudgeNote, Measured, answer_batch, answers, score
from selfmoa.bench._metrics import Metric, MetricChange, compare_metrics, summarise
from selfmoa.bench._sets import SETS, EvaluationSets, Removal, SetName, Touch, build_sets, check_disjoint
from selfmoa.bench._stage import DevAnswer, StageCheck, stage_check
from selfmoa.bench._statistics import (
    Estimate,
    mean,
    paired_mean_change,
    paired_proportion_change,
    proportion,
    verdict,
)

__all__ = [
    "SETS",
    "Answer",
    "Comparison",
    "DevAnswer",
    "Estimate",
    "EvaluationSets",
    "Fence",
    "GateJudges",
    "JudgeNote",
    "Measured",
    "Metric",
    "MetricChange",
    "Removal",
    "SetName",
    "StageCheck",
    "Touch",
    "answer_batch",
    "answers",
    "build_sets",
    "check_disjoint",
    "clusters",
    "compare",
    "compare_metrics",
    "mean",
    "near_duplicates",
    "paired_mean_change",
    "paired_proportion_change",
    "proportion",
    "score",
    "stage_check",
    "summarise",
    "table_rows",
    "verdict",
]
