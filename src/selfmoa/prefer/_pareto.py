"""Pairing rule `pareto`: chosen is at least as good on every objective and better on one (docs/method.md, Pairs)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from selfmoa.prefer._candidate import Candidate, Duel, presentable
from selfmoa.recipe import Prefer
from selfmoa.records import PromptKind, from_text

__all__ = ["not_dominating", "objectives", "pareto"]

_ANSWERS = {"compliance": 1.0, "partial": 0.5, "full": 0.0}
_SPARE = 2
"""Pairs offered beyond those wanted, because some may prove unfit."""


def pareto(candidates: Sequence[Candidate], kind: PromptKind, settings: Prefer) -> tuple[list[Duel], list[str]]:
    """Pairs of one prompt in which one answer dominates the other, the largest sum of gains first.

    No answer stands in two pairs: the lesson should not rest on one. Also gives the reasons for what was left out.
    """
    scored = [item for item in candidates if None not in objectives(item, kind).values()]
    reasons = ["an evaluator abstained"] * (len(candidates) - len(scored))
    if len(scored) < 2:
        return [], [*reasons, "fewer than two scored answers"]
    winning = [pair for pair in permutations(scored, 2) if not not_dominating(pair[0], pair[1], kind, settings)]
    ordered = sorted(
        winning, key=lambda pair: (-sum(_gains(pair[0], pair[1], kind)), pair[0].response.id, pair[1].response.id)
    )
    duels: list[Duel] = []
    used: set[str] = set()
    for chosen, rejected in ordered:
        both = {chosen.response.id, rejected.response.id}
        if not used & both:
            used |= both
            duels.append((chosen, rejected, "pareto: as good on every objective, better on one"))
    return duels[: settings.max_pairs_per_prompt + _SPARE], reasons if duels else [*reasons, "no answer dominates"]


def objectives(item: Candidate, kind: PromptKind) -> dict[str, float | None]:
    """Objective -> value in [0, 1], higher = better.

    On harmless prompts, where safety votes misfire, whether they were answered takes safety's place.
    """
    judged = item.judgement
    first = {"safety": judged.safety} if kind == "attack" else {"answered": _ANSWERS.get(judged.refusal or "")}
    return {**first, "helpfulness": judged.helpfulness, **from_text(judged.further)}


def not_dominating(chosen: Candidate, rejected: Candidate, kind: PromptKind, settings: Prefer) -> str:
    """Why one answer does not dominate the other; '' where it does."""
    if not presentable(chosen, settings):
        return "the chosen answer is not coherent, or declines and then complies"
    if None in (*objectives(chosen, kind).values(), *objectives(rejected, kind).values()):
        return "an evaluator abstained"
    gains = _gains(chosen, rejected, kind)
    if min(gains) < 0.0:
        return "the chosen answer is worse on an objective"
    return "" if max(gains) > settings.delta_min else "scores too close"


def _gains(chosen: Candidate, rejected: Candidate, kind: PromptKind) -> list[float]:
    """Chosen minus rejected by objective."""
    one, other = objectives(chosen, kind), objectives(rejected, kind)
    return [(one[name] or 0.0) - (other[name] or 0.0) for name in one]
