"""Load everything a run needs and keep seeds, development and evaluation prompts apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from selfmoa import assets
from selfmoa.attack import History, Material, Pool, borderline_from, gather
from selfmoa.bench import EvaluationSets, Fence, build_sets
from selfmoa.errors import RecipeError, UsageError
from selfmoa.generate import LanguageModel
from selfmoa.judge import Evaluator, EvaluatorContext, Intent, Item, check_floor, holds_head, make
from selfmoa.recipe import DataRef, JudgeRef, JudgeSide, Recipe, TrainSide
from selfmoa.run import Run, aligned_model, read_json, require_base, write_json
from selfmoa.steps._measure import measure
from selfmoa.steps._own import add_own, turn_of
from selfmoa.steps._reset import is_reset, reset_base
from selfmoa.steps._room import Room, check_hidden, check_lengths
from selfmoa.steps._session import Evaluation, Session, TrainJudges

__all__ = [
    "describe_assets",
    "gather_material",
    "judge_cache",
    "judge_context",
    "judge_objectives",
    "load_model",
    "load_rows",
    "prepare",
]

_JUDGE_DATA = "wheel:pyrit-human-scores"


def prepare(run: Run) -> Session:
    """The session of a run, fresh or resumed."""
    recipe, say = run.recipe, run.progress.say
    assets.check_licences(recipe)
    with run.measured("prepare"):
        say(f"Loading {recipe.model.ref}")
        model, files = load_model(recipe)
        material, sets = gather_material(recipe, model)
        fence = Fence([*sets.texts(), *(prompt.text for prompt in material.dev)])
        if recipe.reset:
            original = Evaluation(run, sets, judge_context(run, model, files), None, None, model)
            files = reset_base(run, model, fence, partial(measure, original, "original"))
            model, _ = load_model(recipe.model_copy(update={"model": aligned_model(run.directory)}))
        intent = _intent(material) if recipe.attack.min_harm or recipe.seeds.own else None
        if recipe.seeds.own and intent:
            say("Writing everyday requests of the model's own")
            material = add_own(run, model, material, fence, intent)
            fence = Fence([*sets.texts(), *(prompt.text for prompt in material.dev)])
        material = _apart(run, material)
        for role in ("expander", "hider"):
            model.add_role(role, copy_of="target")
        _check_pool(recipe, run, material)
        check_hidden(recipe, model)
        own = (*material.attacks, *material.benign, *material.dev)
        check_lengths(recipe, model, own)
        check_lengths(recipe, model, [prompt for _, prompt in sets.prompts()], system=recipe.evaluate.system)
        run.json(run.directory / "removed.json", lambda: sets.removed)
        run.json(run.directory / "published.json", lambda: dict(material.published))
        describe_assets(run, model, files)
        context = judge_context(run, model, files)
        say("Loading the training judges (the first time their heads are trained; minutes)")
        check_floor(recipe.judges, context)
        judges = _load_side(recipe.judges.train, context)
        watch = tuple(make(ref, context) for ref in recipe.judges.watch) if recipe.stage.check else ()
    session = Session(
        run=run,
        model=model,
        material=material,
        sets=sets,
        trained_in=run.directory,
        cache=None,
        fence=fence,
        context=context,
        judges=judges,
        watch=watch,
        intent=intent if recipe.attack.min_harm else None,
        pool=Pool(material.attacks),
        history=History(material.texts()),
    )
    _fit_maps(session)
    return session


def _intent(material: Material) -> Intent:
    """From the seeds alone: development prompts stay unseen."""
    contrasts = borderline_from(material.attacks, len(material.attacks))
    harmless = [prompt.text for prompt in (*material.benign, *contrasts)]
    return Intent.fit([prompt.text for prompt in material.attacks], harmless, judge_cache())


def load_model(recipe: Recipe) -> tuple[LanguageModel, assets.ModelFiles]:
    """The resident model and the files it came from."""
    settings = recipe.model
    files = assets.resolve_model(settings.ref)
    model = LanguageModel.load(
        files.directory,
        settings.lora,
        threads=settings.threads,
        load_in_4bit=settings.load_in_4bit,
        seed=recipe.seed,
    )
    return model, files


def judge_context(run: Run, model: LanguageModel, files: assets.ModelFiles) -> EvaluatorContext:
    """What the judges of a run are made with."""
    return EvaluatorContext(
        cache=judge_cache(),
        model=model,
        model_key=files.key,
        batch_size=run.recipe.judges.batch_size,
        ledgers=run.directory / "ledgers",
        state=read_json(run.directory / "calibration.json") or {},
    )


def judge_cache() -> Path:
    """Where trained heads are kept."""
    return assets.cache_dir("judges")


def _load_side(side: JudgeSide, context: EvaluatorContext) -> TrainJudges:
    """The judges of one side of the recipe."""
    further = side.objectives.items() if isinstance(side, TrainSide) else ()
    return TrainJudges(
        safety=tuple(make(ref, context) for ref in side.safety),
        helpfulness=tuple(make(ref, context) for ref in side.helpfulness),
        refusal=make(side.refusal, context),
        coherence=make(side.coherence, context),
        further=tuple((name, _of_objective(name, ref, context)) for name, jury in further for ref in jury),
    )


def _of_objective(name: str, ref: JudgeRef, context: EvaluatorContext) -> Evaluator:
    judge = make(ref, context)
    if judge.objective == "safety":
        raise UsageError(
            f"judges.train.objectives.{name}: {ref.name!r} judges safety, which is asked of attacks only and against "
            "the plain request. Name it under judges.train.safety."
        )
    return judge


def gather_material(recipe: Recipe, model: LanguageModel) -> tuple[Material, EvaluationSets]:
    """Seeds first, then evaluation items that touch no seed, no development prompt and no judge objective; then the
    seeds' other forms, which touch no evaluation item."""
    limit = recipe.attack.hidden_max_tokens

    def fits(text: str) -> bool:
        return len(model.tokenizer(text, add_special_tokens=False)["input_ids"]) <= limit

    room = Room(recipe, model)
    attack_rows = room.rows(load_rows(recipe.seeds.attack, seeds=True))
    if len(attack_rows) < 8:
        raise UsageError(f"The attack seeds hold {len(attack_rows)} prompts, expected at least 8; add prompts.")
    gathered = partial(
        gather,
        attack_rows,
        room.rows(load_rows(recipe.seeds.benign)),
        load_rows(recipe.seeds.templates) if recipe.attack.hide else [],
        n_dev_harmful=recipe.stage.n_harmful,
        n_dev_harmless=recipe.stage.n_harmless,
        max_pairs=(recipe.attack.expand.sft.max_pairs, recipe.attack.hider.sft.max_pairs * recipe.attack.hide),
        bleu_max=recipe.attack.bleu_max,
        hidden_fits=fits,
        seed=recipe.seed,
    )
    material = gathered()
    against = {"seeds and development prompts": material.texts(), **judge_objectives(recipe)}
    sets = build_sets(recipe.evaluate, seed=recipe.evaluation_seed, against=against, fits=room.fits)
    # whatever form the loop asks in, the evaluation sets are those of the published words
    turn = turn_of(recipe, Fence(sets.texts()))
    return gathered(turn=turn) if turn else material, sets


def judge_objectives(recipe: Recipe) -> dict[str, list[str]]:
    """What the recipe's embedded heads were trained on; empty where it uses none."""
    if not any(holds_head(name) for name in recipe.judges.names()):
        return {}
    rows = assets.load_table(DataRef(ref=_JUDGE_DATA, prompt="objective"))
    return {"judge-training objectives": sorted({str(row["objective"]) for row in rows})}


def load_rows(refs: Sequence[DataRef], *, seeds: bool = False) -> list[dict[str, Any]]:
    """The rows of several tables, one after the other."""
    return [row for ref in refs for row in assets.load_table(ref, seeds=seeds)]


def _apart(run: Run, material: Material) -> Material:
    """Without what repeats a development prompt: the stage check would see what was trained on."""
    dev = Fence([prompt.text for prompt in material.dev])
    attacks, benign = (
        tuple(prompt for prompt in prompts if not dev.touches(prompt.text))
        for prompts in (material.attacks, material.benign)
    )
    gone = len(material.attacks) + len(material.benign) - len(attacks) - len(benign)
    if gone:
        run.progress.say(f"{gone} prompts nearly repeat a development prompt and are left out.")
    return replace(material, attacks=attacks, benign=benign)


def _check_pool(recipe: Recipe, run: Run, material: Material) -> None:
    """Raise `RecipeError` where the pool cannot fill one round; say so where later rounds must be smaller."""
    wanted = recipe.attack.k - round(recipe.attack.k * recipe.attack.benign_fraction)
    size = len(material.attacks)
    if wanted > size:
        raise RecipeError(
            f"attack.k asks for {wanted} attack prompts a round, but after development prompts, and what nearly "
            f"repeats them, were set apart the pool holds {size}. Lower attack.k or add tables to seeds.attack."
        )
    if wanted * recipe.loop.n_rounds > size:
        run.progress.say(
            f"The pool of {size} seeds fills {size // wanted} rounds of {wanted}; later ones rest on what got through."
        )


def describe_assets(run: Run, model: LanguageModel, files: assets.ModelFiles, trained_in: Path | None = None) -> None:
    """Model and assets, into the manifest. Raises `UsageError` where it names other weights."""
    require_base(run.directory, files.key)
    needed = assets.plan(run.recipe)
    for line in assets.unpinned(run.recipe):
        run.progress.say(f"Note: {line}")
    run.update_manifest(
        model={
            "ref": run.recipe.model.ref,
            "key": files.key,
            "title": files.info.title,
            "licence": files.info.licence,
            "architecture": model.base_name,
            "parameters": sum(p.numel() for n, p in model.net.named_parameters() if "lora_" not in n),
        },
        reset_control=is_reset(model, trained_in),
        # a model's own key stands above; hashing gigabytes again would tell nothing more
        assets=[
            {**asdict(info), "sha256": info.hash if info.wheels or info.kind == "table" else ""} for info in needed
        ],
    )


def _fit_maps(session: Session) -> None:
    """Fit, once, the maps of judges whose raw score is no probability, on the unaligned model's answers."""
    path = session.run.directory / "calibration.json"
    asked = (*session.judges.all(), *(judge for _, judge in session.judges.further), *session.watch)
    open_maps = [item for item in asked if hasattr(item, "fit") and item.name not in session.context.state]
    if not open_maps or not session.material.dev:
        return
    prompts = session.material.dev
    sampling, label = session.recipe.generate.sampling, "unaligned answers for the judges' maps"
    file = session.run.directory / "dev" / "calibration.parquet"
    made_from = (*session.weights, prompts, sampling, session.recipe.generate.batch_size, session.recipe.seed)
    with session.run.common("unaligned answers", [file], *made_from), session.run.measured("judges' maps"):
        texts = session.answers(file, prompts, sampling, label=label, seed=partial(session.seed, "calibration"))
    with session.run.measured("prepare"):
        items = [Item(str(i), prompts[i].text, text, prompts[i].kind) for i, text in texts.items()]
        session.context.memory.clear()
        for judge in open_maps:
            judge.fit(items)
    write_json(path, session.context.state)
