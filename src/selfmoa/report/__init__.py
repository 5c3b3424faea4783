"""One run as a page, a model card and an answer to "why this pair?"; reads the run directory only."""

from selfmoa.report._card import write_card
from selfmoa.report._compare_page import write_comparison
from selfmoa.report._evaluation_page import write_evaluation
from selfmoa.report._explain import explain, explain_text
from selfmoa.report._page import write_page, write_report
from selfmoa.report._pooled_page import write_pooled

__all__ = [
    "explain",
    "explain_text",
    "write_card",
    "write_comparison",
    "write_evaluation",
    "write_page",
    "write_pooled",
    "write_report",
]
