"""The verdicts beside the judges' own, and what no verifier could check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from selfmoa.bench import JudgeNote, Measured
from selfmoa.instructions._constraints import Constraints
from selfmoa.instructions._verifiers import Verifiers, absent, judge_name, load_verifiers

__all__ = ["follow", "judges", "not_checked", "notes"]

_OBJECTIVE = "following"
"""What the figures rest on, beside the judges' objectives."""


def follow(
    items: Sequence[Measured], asked: Mapping[str, Constraints], verifiers: Verifiers | None = None
) -> list[Measured]:
    """Answers to benign prompts that lay something down, with the verdicts; all others as they are.

    Where the verifiers are not installed, such answers only carry the reason and stand in no figure.
    """
    if not any(_asked(item, asked) for item in items):
        return list(items)
    why = "" if verifiers else absent()
    if why:
        return [replace(item, following_reason=why) if _asked(item, asked) else item for item in items]
    verifiers = verifiers or load_verifiers()
    return [_checked(item, found, verifiers) if (found := _asked(item, asked)) else item for item in items]


def not_checked(items: Sequence[Measured]) -> dict[str, int]:
    """Constraint, with what it lacks -> number of prompts that it leaves without a verdict; in order of names."""
    found = {(item.prompt_id, why) for item in items if item.constraints for why in item.following_reason.split("; ")}
    return dict(sorted(Counter(why for _, why in found if why).items()))


def judges(items: Sequence[Measured]) -> dict[str, JudgeNote]:
    """The verifiers, as a judge is named; nobody where they were not asked."""
    asked = any(item.constraints for item in items)
    return {_OBJECTIVE: JudgeNote((judge_name(),), proxy=False)} if asked else {}


def notes(items: Sequence[Measured]) -> list[str]:
    """What a reader must know: that the verifiers are absent, or which constraints they could not check."""
    missing = {item.following_reason for item in items if item.following_reason and not item.constraints}
    lacking = [f"{why} {n}" for why, n in not_checked(items).items()]
    left_out = [f"Prompts left out of instruction following, by constraint: {'; '.join(lacking)}."] if lacking else []
    return [*sorted(missing), *left_out]


def _asked(item: Measured, asked: Mapping[str, Constraints]) -> Constraints | None:
    return asked.get(item.prompt) if item.set == "benign" else None


def _checked(item: Measured, asked: Constraints, verifiers: Verifiers) -> Measured:
    found = verifiers.verdict(asked, item.answer)
    return replace(
        item,
        constraints=", ".join(asked.ids),
        following=found.strict,
        following_loose=found.loose,
        following_reason=found.reason,
    )
