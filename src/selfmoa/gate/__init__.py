"""May this model be released? A policy of bounds on measured figures, and its verdict in every format a CI reads."""

from selfmoa.gate._formats import github_summary, junit, sarif
from selfmoa.gate._policy import Condition, Policy, load_policy
from selfmoa.gate._verdict import Checked, GateVerdict, judge_results

__all__ = [
    "Checked",
    "Condition",
    "GateVerdict",
    "Policy",
    "github_summary",
    "judge_results",
    "junit",
    "load_policy",
    "sarif",
]
