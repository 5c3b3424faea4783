"""Load what an evaluation needs: the model, its prompts and the gate judges; nothing that trains."""

from __future__ import annotations

from pathlib import Path

from selfmoa import assets, recipes
from selfmoa.bench import EvaluationSets, build_sets
from selfmoa.capability import check_tasks
from selfmoa.generate import LanguageModel
from selfmoa.run import Cache, Run
from selfmoa.steps._conclude import trained_prompts
from selfmoa.steps._hider import run_hider
from selfmoa.steps._prepare import (
    describe_assets,
    gather_material,
    judge_context,
    judge_objectives,
    load_model,
    load_rows,
)
from selfmoa.steps._room import Room, check_lengths
from selfmoa.steps._session import Evaluation

__all__ = ["prepare_evaluation"]


def prepare_evaluation(
    run: Run, *, suite: bool, trained_in: Path | None = None, cache: Cache | None = None
) -> Evaluation:
    """The session of an evaluation, fresh or resumed.

    Without a suite the prompts are those that a run of the recipe evaluates on. A suite's are kept apart from the
    judges' training objectives and from the seeds of the run that made the adapter (`trained_in`).
    """
    recipe = run.recipe
    assets.check_licences(recipe)
    if recipe.evaluate.capability.tasks:  # a wrong name is told before an hour of answers
        check_tasks(recipe.evaluate.capability.tasks)
    with run.measured("prepare"):
        run.progress.say(f"Loading {recipe.model.ref}")
        model, files = load_model(recipe)
        sets = _suite_sets(run, model, trained_in) if suite else gather_material(recipe, model)[1]
        check_lengths(recipe, model, [prompt for _, prompt in sets.prompts()], system=recipe.evaluate.system)
        run.json(run.directory / "removed.json", lambda: sets.removed)
        describe_assets(run, model, files, trained_in)
    return Evaluation(
        run=run,
        sets=sets,
        context=judge_context(run, model, files),
        trained_in=trained_in,
        cache=cache,
        model=model,
    )


def _suite_sets(run: Run, model: LanguageModel, trained_in: Path | None) -> EvaluationSets:
    against = {**judge_objectives(run.recipe), **_seeds(trained_in)}
    fits, hide = Room(run.recipe, model).fits, run_hider(run, model, trained_in)
    return build_sets(run.recipe.evaluate, seed=run.recipe.evaluation_seed, against=against, fits=fits, hide=hide)


def _seeds(trained_in: Path | None) -> dict[str, list[str]]:
    """The seed prompts of the run that made the adapter, and those of the pairs of people that it trained on."""
    if trained_in is None:
        return {}
    seeds = recipes.load(trained_in / "recipe.yaml").seeds
    rows = load_rows((*seeds.attack, *seeds.benign))
    found = {f"seeds of {trained_in.name}": [str(row["prompt"]) for row in rows]}
    if (trained_in / "given.json").is_file():
        found[f"pairs of people that trained {trained_in.name}"] = trained_prompts(trained_in)
    return found
