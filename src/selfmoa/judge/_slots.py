"""What a judge's name alone tells, and whether every judge of a recipe fits its place. Nothing is loaded."""

from __future__ import annotations

from selfmoa.errors import RecipeError, nearest
from selfmoa.judge._about import ABOUT
from selfmoa.judge._families import preset_note
from selfmoa.judge._registry import is_own, known
from selfmoa.recipe import JudgeRef, Judges

__all__ = ["check_slots", "described"]


def described(name: str) -> tuple[str, str, str, str]:
    """(family, objective, licence, what to mind) of a known judge, '' for what only making it would tell."""
    about, preset = ABOUT.get(name), preset_note(name)
    if about is not None:
        return about.family, about.objective, about.licence, f"selfmoa judges card {name}"
    if preset is not None:
        return preset.family, preset.objective, preset.licence, preset.note
    if is_own(name):
        return "your own", "", "", f"selfmoa judges card {name}"
    return "rubric", "", "that of the model you name", "An LLM as judge: docs/outside-judges.md"


def check_slots(judges: Judges) -> None:
    """Raise `RecipeError` for an unknown judge, one in the place of another objective, and a side without safety.

    A judge of the user's own, or a family without preset, tells its objective only when it is made.
    """
    for side, named in (("train", judges.train), ("gate", judges.gate)):
        if not named.safety:
            raise RecipeError(f"judges.{side}.safety is empty; name at least one judge of safety.")
        for objective in ("safety", "helpfulness", "refusal", "coherence"):
            place = getattr(named, objective)
            for ref in (place,) if isinstance(place, JudgeRef) else place:
                _check(ref, objective, f"judges.{side}.{objective}")
    for ref in judges.watch:
        _check(ref, "safety", "judges.watch")


def _check(ref: JudgeRef, objective: str, where: str) -> None:
    if ref.name not in known():
        raise RecipeError(f"{where}: there is no judge {ref.name!r}.{nearest(ref.name, known())}")
    own = ref.options.get("objective") or described(ref.name)[1]
    if own and own != objective:
        raise RecipeError(f"{where}: {ref.name!r} judges {own}, not {objective}. Name another, or put it there.")
