"""Whether answers keep to what their prompts lay down, checked by IFBench's published verifiers (arXiv 2507.02833).

No model judges: a verifier is a program that counts words, looks for bullets and so on. It needs
`pip install "selfmoa[ifbench]"`; the verifiers themselves are read from the pinned wheel that the prompts come from.
"""

from selfmoa.instructions._constraints import Constraints, read_constraints
from selfmoa.instructions._follow import follow, judges, not_checked, notes
from selfmoa.instructions._verifiers import Verdict, Verifiers, absent, load_verifiers

__all__ = [
    "Constraints",
    "Verdict",
    "Verifiers",
    "absent",
    "follow",
    "judges",
    "load_verifiers",
    "not_checked",
    "notes",
    "read_constraints",
]
