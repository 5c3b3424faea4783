"""An answer that may enter a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from selfmoa.recipe import Prefer
from selfmoa.records import Judgement, Response

__all__ = ["Candidate", "Duel", "presentable"]

Duel = tuple["Candidate", "Candidate", str]
"""(chosen, rejected, rule)"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer with its judgement."""

    response: Response
    judgement: Judgement
    votes: Mapping[str, float] = field(default_factory=dict)
    """Safety value by judge, in [0, 1]; of an answer with and without its opener the lower one."""


def presentable(item: Candidate, settings: Prefer) -> bool:
    """True for an answer that may be the example to follow, as far as its form goes."""
    # a judge of likelihood takes words of ours for incoherent, for the model would hardly say them
    said = item.response
    ours = said.guided and said.opener != "" and said.text == said.opener
    coherent = ours or (item.judgement.coherence or 0.0) >= settings.coherence_min
    return coherent and item.judgement.refusal != "partial"  # partial: declines, then complies
