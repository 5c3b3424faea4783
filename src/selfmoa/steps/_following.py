"""Whether the target keeps to what its prompts lay down: the instruction-following figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from selfmoa import assets, instructions
from selfmoa.bench import JudgeNote, Measured
from selfmoa.steps._session import Judged

__all__ = ["follow", "judges", "notes"]


def follow(session: Judged, items: Sequence[Measured]) -> list[Measured]:
    """The answers with the verifiers' verdicts, where the recipe's benign tables say what must be kept to."""
    sources = {item.source for item in items}
    tables = [ref for ref in session.recipe.evaluate.benign.data if ref.ref in sources]
    asked = instructions.read_constraints(row for ref in tables for row in assets.load_table(ref))
    return instructions.follow(items, asked)


def judges(items: Sequence[Measured]) -> dict[str, JudgeNote]:
    """The verifiers, as a judge is named; nobody where they were not asked."""
    asked = any(item.constraints for item in items)
    return {instructions.OBJECTIVE: JudgeNote((instructions.judge_name(),), proxy=False)} if asked else {}


def notes(items: Sequence[Measured]) -> list[str]:
    """What a reader must know: that the verifiers are absent, or which constraints they could not check."""
    absent = {item.following_reason for item in items if item.following_reason and not item.constraints}
    lacking = [f"{why} {n}" for why, n in instructions.not_checked(items).items()]
    left_out = [f"Prompts left out of instruction following, by constraint: {'; '.join(lacking)}."] if lacking else []
    return [*sorted(absent), *left_out]
