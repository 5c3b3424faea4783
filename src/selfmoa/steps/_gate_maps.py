"""Maps of gate judges whose raw score is no share: by the quartiles of what the model answered as it was.

They belong to the run: judged by another's map, or by one of each side's own, before and after were not on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfmoa.bench import Answer
from selfmoa.judge import make
from selfmoa.run import read_json, read_records
from selfmoa.steps._session import Judged

__all__ = ["FILE", "fit_maps", "known_maps"]

FILE = "gate_maps.json"
"""Below `evaluation/`; absent where no gate judge needs one."""


def known_maps(session: Judged) -> None:
    """Hand what was fitted to the judges that are made next."""
    session.context.state.update(read_json(session.run.directory / "evaluation" / FILE) or {})


def fit_maps(session: Judged) -> None:
    """Fit each map once, on the first answers: harmful prompts' for safety, all others' for helpfulness.

    They are those before, of a run with a safety reset those of the model before that. Without any the judges' own
    maps are used, and nothing is kept.
    """
    directory = session.run.directory / "evaluation"
    fresh = [make(ref, session.context) for ref in session.recipe.judges.gate.refs()]
    unfitted: list[Any] = [judge for judge in fresh if hasattr(judge, "fit")]
    if not unfitted:
        return

    names = ("original", "before")
    answers = next(filter(None, (read_records(directory / f"answers_{name}.parquet", Answer) for name in names)), None)
    if not answers:
        return

    def fitted() -> dict[str, Any]:
        for judge in unfitted:
            judge.fit(_asked(judge.objective, answers))
        return {judge.name: session.context.state[judge.name] for judge in unfitted}

    session.context.state.update(session.run.json(directory / FILE, fitted))


def _asked(objective: str, answers: Sequence[Answer]) -> list[Answer]:
    found = [answer for answer in answers if (answer.kind == "attack") == (objective == "safety")]
    return found or list(answers)
