"""People check the judges: a blind sample, labels, agreement, and figures corrected by the labels. No torch."""

from selfmoa.audit._agree import HumanAgreement, JudgeAgreement
from selfmoa.audit._draw import DEFAULT_SIZES, draw
from selfmoa.audit._figures import MINIMUM, AuditFigure
from selfmoa.audit._guideline import GUIDELINE
from selfmoa.audit._key import Key, load_answers, load_key
from selfmoa.audit._labels import Label, label_files, read_labels
from selfmoa.audit._result import AuditResult, audit
from selfmoa.audit._session import Progress, label_items
from selfmoa.audit._tables import AGREEMENT_COLUMNS, FIGURE_COLUMNS, PEOPLE_COLUMNS, read_audit, report_rows

__all__ = [
    "AGREEMENT_COLUMNS",
    "DEFAULT_SIZES",
    "FIGURE_COLUMNS",
    "GUIDELINE",
    "MINIMUM",
    "PEOPLE_COLUMNS",
    "AuditFigure",
    "AuditResult",
    "HumanAgreement",
    "JudgeAgreement",
    "Key",
    "Label",
    "Progress",
    "audit",
    "draw",
    "label_files",
    "label_items",
    "load_answers",
    "load_key",
    "read_audit",
    "read_labels",
    "report_rows",
]
