"""Studies: several recipes, each with several seeds, on the same prompts, and one table at the end."""

from selfmoa.study._page import write_study
from selfmoa.study._runner import ArmRun, StudyResult, run_study
from selfmoa.study._spec import Arm, Study, arm_recipe, load_study
from selfmoa.study._summary import read_summaries, summarise
from selfmoa.study._table import Table, markdown, table, tables_by_model, written_into

__all__ = [
    "Arm",
    "ArmRun",
    "Study",
    "StudyResult",
    "Table",
    "arm_recipe",
    "load_study",
    "markdown",
    "read_summaries",
    "run_study",
    "summarise",
    "table",
    "tables_by_model",
    "write_study",
    "written_into",
]
