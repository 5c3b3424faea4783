"""The moves of the loop, one file each. Each reads and writes the run directory; `loop.py` orders them."""

from selfmoa.steps._align import align_target, baseline
from selfmoa.steps._answer import answer
from selfmoa.steps._attack import write_attacks
from selfmoa.steps._attackers import restart_attackers, retrain_attackers, train_attackers
from selfmoa.steps._conclude import compare, conclude, describe
from selfmoa.steps._given import given_pairs
from selfmoa.steps._judge import judge
from selfmoa.steps._measure import gate_judges, judge_answers, measure
from selfmoa.steps._prepare import judge_cache, judge_objectives, load_model, prepare
from selfmoa.steps._prepare_evaluation import prepare_evaluation
from selfmoa.steps._review import review
from selfmoa.steps._select import prefer, select, summarise
from selfmoa.steps._session import Evaluation, Judged, Session

__all__ = [
    "Evaluation",
    "Judged",
    "Session",
    "align_target",
    "answer",
    "baseline",
    "compare",
    "conclude",
    "describe",
    "gate_judges",
    "given_pairs",
    "judge",
    "judge_answers",
    "judge_cache",
    "judge_objectives",
    "load_model",
    "measure",
    "prefer",
    "prepare",
    "prepare_evaluation",
    "restart_attackers",
    "retrain_attackers",
    "review",
    "select",
    "summarise",
    "train_attackers",
    "write_attacks",
]
