"""What a recipe needs, and whether its licences allow what the recipe asks for."""

from __future__ import annotations

from collections.abc import Iterator

from selfmoa.assets import _hub
from selfmoa.assets._refs import COMMIT, hub_source, info, local_path, scheme
from selfmoa.assets._sets import capability_table
from selfmoa.assets._types import AssetInfo
from selfmoa.errors import RecipeError
from selfmoa.recipe import JudgeRef, Recipe

HUMAN_SCORES = "wheel:pyrit-human-scores"
ENCODER = "wheel:minilm-l6-v2"
_MADE = ("style:", "run:")
"""Wrappings that are no asset: words of our own, and what a run has trained."""
_JUDGE_ASSETS = {
    "lm-state": (HUMAN_SCORES,),
    "tfidf": (HUMAN_SCORES,),
    "minilm": (HUMAN_SCORES, ENCODER),
    "minilm-watch": (HUMAN_SCORES, ENCODER),
    "minilm-relevance": (HUMAN_SCORES, ENCODER),
    "refusal-head": (HUMAN_SCORES, ENCODER),
}


def plan(recipe: Recipe) -> list[AssetInfo]:
    """Every asset that the recipe needs, each once: model, seeds, evaluation sets, judges; fetches none."""
    needed: dict[str, AssetInfo] = {}
    for asset in _needed(recipe):
        needed.setdefault(asset.ref, asset)
    return list(needed.values())


def unpinned(recipe: Recipe) -> list[str]:
    """A warning for every asset of the hub that is named without a commit (40 hex digits): it may change any time."""
    found = [(asset.ref, *_hub.parse(source)) for asset in plan(recipe) if (source := hub_source(asset.ref))]
    return [
        f"{ref} is not pinned: {revision!r} of {name} may change, and this would not come out the same. "
        f"Name a commit: hub:{name}@COMMIT."
        for ref, name, revision in found
        if not COMMIT.fullmatch(revision)
    ]


def check_licences(recipe: Recipe) -> None:
    """Raise `RecipeError` if `assets.commercial_only` is set and an asset forbids it or does not say."""
    if not recipe.assets.commercial_only:
        return
    wrong = [asset for asset in plan(recipe) if not asset.commercial]
    if wrong:
        listed = "\n".join(f"  - {asset.ref}: {asset.licence}" for asset in wrong)
        raise RecipeError(
            f"assets.commercial_only is set, but these are not known to allow commercial use:\n{listed}\n"
            "Name others. If you have checked a hub: asset's licence, download it and name it as path:."
        )


def check_paths(recipe: Recipe) -> None:
    """Raise `RecipeError` naming what the recipe gives by `path:` and is not there."""
    missing = [a.ref for a in plan(recipe) if scheme(a.ref) == "path" and not local_path(a.ref).exists()]
    if missing:
        raise RecipeError(
            f"There is nothing at {', '.join(missing)}. Expected a Hugging Face directory or .gguf file for a model, a "
            "CSV, JSON lines or Parquet file for a table; a model of the hub is hub:OWNER/NAME@REVISION."
        )


def _needed(recipe: Recipe) -> Iterator[AssetInfo]:
    yield info(recipe.model.ref)
    seeds, sets = recipe.seeds, recipe.evaluate
    tables = (
        *seeds.attack,
        *seeds.benign,
        *seeds.templates,
        *sets.harmful.data,
        *sets.edgy.data,
        *sets.benign.data,
        *(ref for part in (sets.harmful, sets.edgy, sets.benign) for ref in part.wrap if not ref.ref.startswith(_MADE)),
    )
    for data in (*tables, *filter(None, map(capability_table, sets.capability.tasks))):
        yield info(data.ref, kind="table")
    if recipe.reset:
        yield info(recipe.reset.data.ref, kind="table")
    if recipe.train.pairs:
        yield info(recipe.train.pairs.ref, kind="table")
    for judge in _judges(recipe):
        for ref in _JUDGE_ASSETS.get(judge.name, ()):
            yield info(ref)
        if judge.model:
            yield info(judge.model)


def _judges(recipe: Recipe) -> Iterator[JudgeRef]:
    judges = recipe.judges
    yield from (*judges.train.refs(), *judges.watch, *judges.gate.refs())
