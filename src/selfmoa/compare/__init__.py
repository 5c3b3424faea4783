"""Runs, models and saved evaluations side by side, on the same prompts."""

from selfmoa.compare._arms import Arm, judged, learnt_from, load_arm, load_arms
from selfmoa.compare._exports import items_table, to_csv, to_json, to_latex
from selfmoa.compare._figures import FRONT, ArmFigure, Changed, ComparedArms, Group, compare_arms
from selfmoa.compare._pooled import PooledFigure, PooledRuns, pool_runs, pooled_csv, pooled_json

__all__ = [
    "FRONT",
    "Arm",
    "ArmFigure",
    "Changed",
    "ComparedArms",
    "Group",
    "PooledFigure",
    "PooledRuns",
    "compare_arms",
    "items_table",
    "judged",
    "learnt_from",
    "load_arm",
    "load_arms",
    "pool_runs",
    "pooled_csv",
    "pooled_json",
    "to_csv",
    "to_json",
    "to_latex",
]
