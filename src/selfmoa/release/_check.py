"""Is an exported copy the model that was measured? It is loaded from disk and answers a suite again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from selfmoa import api, assets, compare, recipes, suites
from selfmoa.bench import answers, plain_json
from selfmoa.recipe import CapabilitySet, Recipe
from selfmoa.run import Progress, Run, aligned_model, open_run, write_text

if TYPE_CHECKING:
    from selfmoa.steps import Evaluation

__all__ = ["SAME_TEXTS", "check_copies", "of_run", "told"]

SAME_TEXTS = 0.98
"""Share of greedy answers that must be the same text; two orders of the same sum may part at a near tie of tokens.

Asked for in float32 only: in bfloat16 or 4 bit a merged weight is rounded, and the difference is shown, not judged."""
_ROOM = "export_check"
"""Below the run: answers to attacks do not travel with the exported files."""


def of_run(run: Path, suite: str) -> Recipe:
    """The recipe of a run with a suite's prompts: its own model, judges, seed and batch size."""
    recipe = recipes.load(run / "recipe.yaml")
    evaluate = suites.load(suite).evaluate
    name = recipes.as_name(run.resolve().name, "run")
    return recipe.model_copy(
        update={"name": name, "model": aligned_model(run), "evaluate": evaluate, "faithful": False}
    )


def check_copies(
    run: Path, base: Path, copies: Mapping[str, Path], suite: str, progress: Literal["auto", "quiet"]
) -> dict[str, Any]:
    """Each copy against the adapter in the run: equal greedy texts, and every figure with its paired difference.

    The run's own answers are those that `selfmoa evaluate RUN --suite` keeps; the copies' are always made anew.
    """
    recipe = of_run(run, suite)
    plain = recipe.evaluate.model_copy(update={"attempts": 0, "capability": CapabilitySet()})
    recipe = recipe.model_copy(update={"evaluate": plain})
    room = run / _ROOM
    shutil.rmtree(room, ignore_errors=True)
    session = _in_memory(recipe, run, room / "run", progress)
    for form, directory in copies.items():
        _ask_copy(session, _opened(recipe, room / form, progress), base, form, directory)
    arms = compare.load_arms([str(room / "run"), *(f"{room / name}:before" for name in copies)])
    found = compare.compare_arms(arms, recipe.evaluate.tolerance)
    return {
        "suite": suites.load(suite).name,
        "judges": sorted(recipe.judges.gate.names()),
        "required_share": SAME_TEXTS if session.model.exact else None,
        "copies": {form: _against(arms[0], arm, found) for form, arm in zip(copies, arms[1:], strict=True)},
    }


def _opened(recipe: Recipe, directory: Path, progress: Literal["auto", "quiet"]) -> Run:
    opened = open_run(recipe, directory, progress=Progress(progress))
    write_text(directory / ".gitignore", "*\n")
    return opened


def _in_memory(recipe: Recipe, run: Path, out: Path, progress: Literal["auto", "quiet"]) -> Evaluation:
    """The run's adapter as the loop and `selfmoa evaluate` use it."""
    from selfmoa import steps

    opened = _opened(recipe, out, progress)
    session = steps.prepare_evaluation(opened, suite=True, trained_in=run, cache=api.answer_cache())
    session.model.load_role("target", run / "adapter")
    opened.update_manifest(adapter_sha256=assets.file_hash(run / "adapter" / "adapter_model.safetensors"))
    steps.measure(session, "after")
    return session


def _ask_copy(session: Evaluation, opened: Run, base: Path, form: str, directory: Path) -> None:
    """A copy as its users load it: transformers, and PEFT for an adapter, which is not merged."""
    from selfmoa import steps
    from selfmoa.generate import PlainModel, load_plain

    recipe = session.recipe
    loaded = load_plain(directory) if form == "merged" else load_plain(base, directory)
    model = PlainModel(*loaded, batch_size=recipe.generate.batch_size)
    total = len(session.sets.prompts())
    with opened.progress.task(f"check {form}", total) as task:
        made = answers(
            model,
            session.sets,
            role=None,
            max_new_tokens=recipe.evaluate.max_new_tokens,
            seed=0,
            on_progress=task.advance,
        )
    steps.judge_answers(steps.Judged(opened, session.sets, session.context, session.trained_in, session.cache), made)


def _against(own: compare.Arm, copy: compare.Arm, found: compare.ComparedArms) -> dict[str, Any]:
    then, now = ({item.prompt_id: item.answer for item in arm.items} for arm in (own, copy))
    same = sum(now[key] == text for key, text in then.items())
    return {
        "n": len(then),
        "same": same,
        "same_share": same / len(then),
        "figures": [
            {
                **{"name": figure.metric, "label": figure.label, "set": figure.set, "unit": figure.unit},
                "in_run": plain_json(asdict(found.figure(figure.metric, own.name).estimate)),
                "exported": plain_json(asdict(figure.estimate)),
                "difference": plain_json(asdict(figure.change)) if figure.change else None,
            }
            for figure in found.figures
            # one half of every win rate would be the other copy of the same model
            if figure.arm == copy.name and figure.estimate.n and figure.metric != "win_rate"
        ],
    }


def told(check: Mapping[str, Any] | None, form: str) -> list[str]:
    """What the check found, in a sentence for the card."""
    if check is None:
        return ["This copy was not checked after it was written."]
    copy = check["copies"][form]
    moved = [row["label"] for row in copy["figures"] if (row["difference"] or {}).get("value")]
    figures = f"not the same: {', '.join(moved)}" if moved else "every figure is the same"
    return [
        f"This copy was loaded again from disk and answered the {copy['n']} prompts of suite {check['suite']}: "
        f"{copy['same']} greedy answers ({copy['same_share']:.1%}) are the same text as the adapter's in the run; "
        f"{figures} (judged by {', '.join(check['judges'])})."
    ]
