"""Which of two answers to a benign prompt is the more helpful: the later model's or the earlier one's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from selfmoa.bench._evaluate import Measured

__all__ = ["TIE", "Preference", "with_preferences"]

TIE = 0.05
"""Scores of helpfulness (0 to 1) that lie no further apart than this are a tie."""
_ROUNDING = 1e-9
_PREFERRED, _NEITHER, _NOT = 1.0, 0.5, 0.0


@dataclass(frozen=True, slots=True)
class Preference:
    """What a judge that saw both answers to a prompt said, asked in both orders."""

    prompt_id: str
    judge: str
    judge_hash: str
    value: float | None
    """1 = it prefers the later answer in both orders, 0 = the earlier one, 0.5 = neither, or it contradicts itself."""
    reason: str = ""
    after_first: str | None = None
    """win, tie or loss of the later answer where it stood in the first place ..."""
    before_first: str | None = None
    """... and in the second."""


def with_preferences(
    before: Sequence[Measured], after: Sequence[Measured], votes: Sequence[Preference] | None = None
) -> tuple[list[Measured], list[Measured]]:
    """Both sides, benign answers with what they are worth against the other side's: 1, 0.5 for a tie, or 0.

    `votes` are those of judges who saw both answers: more of them for the one than for the other decides. Without,
    the scores of helpfulness decide, with a tie where they differ by no more than `TIE`. None where nobody could say.
    The earlier side, set against itself, ties everywhere.
    """
    if votes is None:
        then = {item.prompt_id: item.helpfulness for item in before}
        found = {item.prompt_id: _by_scores(then.get(item.prompt_id), item.helpfulness) for item in after}
    else:
        by_prompt: dict[str, list[float]] = defaultdict(list)
        for vote in votes:
            by_prompt[vote.prompt_id] += [] if vote.value is None else [vote.value]
        found = {prompt: _by_votes(values) for prompt, values in by_prompt.items()}
    earlier = [replace(item, compared=True, preferred=_NEITHER) if item.set == "benign" else item for item in before]
    later = [
        replace(item, compared=True, preferred=found.get(item.prompt_id)) if item.set == "benign" else item
        for item in after
    ]
    return earlier, later


def _by_scores(before: float | None, after: float | None) -> float | None:
    if before is None or after is None:
        return None
    if abs(after - before) <= TIE + _ROUNDING:
        return _NEITHER
    return _PREFERRED if after > before else _NOT


def _by_votes(values: Sequence[float]) -> float | None:
    if not values:
        return None
    balance = sum(value - _NEITHER for value in values)
    return _NEITHER if balance == 0 else _PREFERRED if balance > 0 else _NOT
