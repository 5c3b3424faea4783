"""What the model knows: accuracy on multiple-choice questions, measured by lm-eval, before and after alignment.

Zero-shot and without a chat template, as lm-eval does by default; a model that is only ever used through its template
may know more than these figures say. Higher is better. Needs `pip install "selfmoa[capability]"`.
"""

from selfmoa.capability._figures import (
    POOLED,
    Capability,
    Change,
    Figure,
    compare_capability,
    figure_names,
    metric_changes,
    metrics,
    to_json,
)
from selfmoa.capability._items import Answered
from selfmoa.capability._measure import check_tasks, measure_capability, measure_directory, write_capability

__all__ = [
    "POOLED",
    "Answered",
    "Capability",
    "Change",
    "Figure",
    "check_tasks",
    "compare_capability",
    "figure_names",
    "measure_capability",
    "measure_directory",
    "metric_changes",
    "metrics",
    "to_json",
    "write_capability",
]
