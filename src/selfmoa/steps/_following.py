"""Whether the target keeps to what its prompts lay down."""

from __future__ import annotations

from collections.abc import Sequence

from selfmoa import instructions
from selfmoa.bench import Measured
from selfmoa.steps._session import Judged

__all__ = ["follow"]


def follow(session: Judged, items: Sequence[Measured]) -> list[Measured]:
    """The answers with the verifiers' verdicts, where the recipe's benign tables say what must be kept to."""
    sources = {item.source for item in items}
    tables = [ref for ref in session.recipe.evaluate.benign.data if ref.ref in sources]
    asked = {prompt: found for table in tables for prompt, found in session.constraints(table).items()}
    return instructions.follow(items, asked)
