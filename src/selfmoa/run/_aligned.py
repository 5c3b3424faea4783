"""Which model a run's adapter lies on."""

from __future__ import annotations

from pathlib import Path

from selfmoa import recipes
from selfmoa.errors import UsageError
from selfmoa.recipe import Model
from selfmoa.run._storage import read_json

__all__ = ["RESET", "RESET_DONE", "RESET_MARK", "aligned_model", "require_base", "resets"]

RESET = "reset_control"
"""Directory below the run with the checkpoint whose safety was trained away (recipe section `reset`) ..."""
RESET_DONE = "reset.json"
"""... and the file in it that says that it is complete."""
RESET_MARK = "selfmoa_reset_control"
"""In the checkpoint's config: it goes wherever the weights are saved to."""


def aligned_model(run: Path) -> Model:
    """The settings of the model that a run aligned: the recipe's, or the run's own reset checkpoint."""
    settings = recipes.load(run / "recipe.yaml").model
    reset = run / RESET
    done = read_json(reset / RESET_DONE) is not None
    return settings.model_copy(update={"ref": f"path:{reset}"}) if done else settings


def resets(run: Path) -> bool:
    """True where the run's base is a checkpoint whose safety was trained away."""
    return bool((read_json(run / "manifest.json") or {}).get("reset_control"))


def require_base(run: Path, key: str) -> None:
    """Raise `UsageError` where a run began with other weights than those at hand, whose key this is.

    A model that was trained on in place, or a branch of the hub that moved, has the same name.
    """
    known = ((read_json(run / "manifest.json") or {}).get("model") or {}).get("key")
    if known and known != key and not resets(run):
        raise UsageError(
            f"{run} was made from other weights than {aligned_model(run).ref} has now (manifest.json, model.key). Put "
            "those back, or pin the hub's revision; for the new weights begin a new run."
        )
