"""What a study is: its arms and seeds, read and checked; no torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from selfmoa import recipes
from selfmoa.errors import RecipeError, first_problem, nearest
from selfmoa.recipe import Recipe, Section

__all__ = ["Arm", "Study", "arm_recipe", "load_study"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._]*$"
_SMOKE_PAIRS = 24
"""Pairs of people that an arm of a smoke study trains on."""
_SMOKE_QUESTIONS = 2
"""Questions of each capability task that a smoke study asks."""


class Arm(Section):
    """One recipe of a study."""

    name: str = Field(pattern=_NAME)
    recipe: str = Field(description="A shipped recipe's name, or a file (beside the study's).")
    overrides: tuple[str, ...] = Field((), description="Dotted overrides, e.g. train.lr=1e-4.")
    pairs_of: str | None = Field(None, description="An earlier arm: train on as many pairs as it, seed by seed.")


class Study(Section):
    """Arms x seeds."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    overrides: tuple[str, ...] = Field((), description="Dotted overrides of every arm.")
    arms: tuple[Arm, ...] = Field(min_length=1)
    home: Path | None = Field(None, description="Folder of the study's file, set when it is read.")

    @model_validator(mode="after")
    def _arms_are_told_apart(self) -> Study:
        for what, values in (("arms", [arm.name for arm in self.arms]), ("seeds", list(self.seeds))):
            twice = [value for value, n in Counter(values).items() if n > 1]
            if twice:
                raise ValueError(f"{what}: {twice[0]!r} stands there twice; give each once, under a name of its own.")
        earlier: list[str] = []
        for arm in self.arms:
            if arm.pairs_of is not None and arm.pairs_of not in earlier:
                raise ValueError(f"arm {arm.name!r}: pairs_of {arm.pairs_of!r} is no arm before it.")
            earlier.append(arm.name)
        return self


def load_study(name_or_path: str | Path, overrides: Sequence[str] = (), *, smoke: bool = False) -> Study:
    """Read a study by name (`main`) or file; `overrides` join those of every arm. Every arm's recipe is read, too.

    Raises `RecipeError` for a field that is wrong, equal names, or arms that are evaluated differently.
    """
    path = _find(name_or_path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        study = Study.model_validate({**values, "home": path.parent})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise RecipeError(f"Study {str(path)!r} cannot be read: {error}.") from error
    except ValidationError as error:
        raise RecipeError(f"Study {str(path)!r}: {first_problem(error)}") from error
    study = study.model_copy(update={"overrides": (*study.overrides, *overrides)})
    _same_evaluation([(arm.name, arm_recipe(study, arm, study.seeds[0], smoke=smoke)) for arm in study.arms])
    return study


def arm_recipe(study: Study, arm: Arm, seed: int, *, smoke: bool = False, pairs: int | None = None) -> Recipe:
    """The recipe of one arm and seed; with `pairs` it trains on no more than these."""
    beside = (study.home or Path()) / arm.recipe
    named = recipes.load(beside if beside.is_file() else arm.recipe)
    recipe = recipes.with_overrides(named, [*study.overrides, *arm.overrides])
    changes = _smaller(recipe) if smoke else []
    changes += [f"loop.max_pairs={pairs}"] if pairs is not None else []
    return recipes.with_overrides(recipe, [*changes, f"seed={seed}", f"name={arm.name}-{seed}"])


def _find(name_or_path: str | Path) -> Path:
    path, known = Path(name_or_path), recipes.studies()
    if path.is_file():
        return path
    name = str(name_or_path).removeprefix("recipes/").removesuffix(".yaml")
    for candidate in (name, f"studies/{name}"):
        if candidate in known:
            return recipes.shipped(candidate)
    shown = [one.removeprefix("studies/") for one in known]
    raise RecipeError(f"There is no study {str(name_or_path)!r}.{nearest(name, shown)}")


def _same_evaluation(arms: Sequence[tuple[str, Recipe]]) -> None:
    """Raise `RecipeError` where arms would be measured on different items or by different judges."""
    first, expected = arms[0][0], _measured_by(arms[0][1])
    for name, recipe in arms[1:]:
        found = _measured_by(recipe)
        wrong = [field for field in expected if expected[field] != found[field]]
        if wrong:
            raise RecipeError(
                f"Arms {first!r} and {name!r} differ in {', '.join(wrong)}: they would be graded on different items or "
                "by different judges, and could not be set side by side. Set it for all, under the study's overrides."
            )


def _measured_by(recipe: Recipe) -> dict[str, Any]:
    evaluate = recipe.evaluate.model_dump(mode="json", exclude={"system", "tolerance"})
    told = {f"evaluate.{name}": value for name, value in evaluate.items()}
    return {**told, "judges.gate": recipe.judges.gate.model_dump(mode="json")}


def _smaller(recipe: Recipe) -> list[str]:
    """Overrides that give a recipe the sizes of `smoke`; nothing gets larger than it was."""
    own = yaml.safe_load(recipes.read_text("smoke"))
    sizes = {key: value for key, value in own.items() if key not in ("name", "description", "extends")}
    now = recipe.model_dump(mode="json")
    changes = [f"{field}={json.dumps(_least(value, now, field))}" for field, value in _leaves(sizes)]
    if recipe.train.pairs:
        changes.append(f"loop.max_pairs={_SMOKE_PAIRS}")
    if recipe.evaluate.capability.tasks:
        changes.append(f"evaluate.capability.n={_SMOKE_QUESTIONS}")
    return changes


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _least(value: Any, now: Any, field: str) -> Any:
    for key in field.split("."):
        now = now[key]
    return min(value, now) if isinstance(value, (int, float)) and isinstance(now, (int, float)) else value
