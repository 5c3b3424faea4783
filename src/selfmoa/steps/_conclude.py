"""Before against after, as figures with intervals; then the report and the model card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from selfmoa import assets, bench, instructions
from selfmoa.bench import Estimate, Measured
from selfmoa.errors import UsageError
from selfmoa.judge import Evaluator, Item, card, kin_notes
from selfmoa.records import Attack, Pair, Score, with_fate
from selfmoa.run import read_each, read_records, write_json, write_records, write_table
from selfmoa.steps import _capability, _preferences, _prompts
from selfmoa.steps._judge import safety_between_models
from selfmoa.steps._measure import gate_of
from selfmoa.steps._reset import reset_notes
from selfmoa.steps._session import Evaluation, Judged, Session

__all__ = ["compare", "conclude", "describe", "trained_prompts"]

_WEAK_AUC = 0.85
"""Below this a judge ranks one pair in seven or more the wrong way round."""
_NO_REVIEW = "No review took place: it follows a stage after the last round, and none was left to follow."


def conclude(session: Session) -> None:
    """Adapter, judges' cards, comparison, report and model card."""
    from selfmoa.report import write_card, write_report

    run = session.run
    session.model.save_role("target", run.directory / "adapter")
    result = compare(session, notes=_stage_notes(session))
    run.finish()
    write_report(run.directory)
    write_card(run.directory)
    run.event("finished", "run", first_line=result["first_line"])


def compare(session: Evaluation, *, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The paired before/after comparison, written to results.json; `notes` join its warnings."""
    run = session.run
    before, after = (
        read_records(run.directory / "evaluation" / f"{name}.parquet", Measured) or [] for name in ("before", "after")
    )
    touched = bench.check_disjoint(session.sets, dict(_made_by_the_run(session)))
    gate = gate_of(session)
    notes_of_gate = gate.notes()
    preferences = _preferences.ask(session, gate.helpfulness, before, after)
    before, after = bench.with_preferences(before, after, preferences)
    cards, asked = list(_cards(session)), [*before, *after]
    write_json(run.directory / "judges.json", cards)
    compared = bench.compare(
        before,
        after,
        session.recipe.evaluate.tolerance,
        judges={
            **notes_of_gate,
            **instructions.judges(asked),
            **_preferences.judges(preferences, notes_of_gate["helpfulness"]),
        },
        removed=session.sets.removed_counts(),
        touched=touched,
        **_seen_by_others(session, before, after),
        notes=[
            *reset_notes(session),
            *notes,
            *assets.unpinned(session.recipe),
            *instructions.notes(asked),
            *_preferences.notes(preferences),
            *_weak(cards),
            *_kin(session),
        ],
        counted=_capability.changes(session),
    )
    facts = _prompts.told(before, session.recipe.seed, run.directory)
    result = replace(compared, prompts=facts).to_json()
    result |= {
        "not_checked": instructions.not_checked(asked),
        "by_wrapping": bench.plain_json(bench.wrapping_rows(before, after)),
        **_original(session),
    }
    write_json(run.directory / "results.json", result)
    rows = [*bench.item_rows("before", before, texts=True), *bench.item_rows("after", after, texts=True)]
    write_table(run.directory / "items.parquet", rows)
    return result


def _original(session: Evaluation) -> dict[str, Any]:
    """The figures of the model before a safety reset; nothing where there was none."""
    items = read_records(session.run.directory / "evaluation" / "original.parquet", Measured)
    if items is None:
        return {}
    judges = {**gate_of(session).notes(), **instructions.judges(items)}
    metrics = [*bench.summarise(items, judges=judges), *_capability.original(session)]
    return {"original": [metric.as_dict() for metric in metrics if metric.estimate.n]}


def _stage_notes(session: Session) -> list[str]:
    """What a reader must know of stages that were not plainly accepted."""
    found = with_fate(read_each(session.run.directory, "stage_*/stage.json"))
    if not found and not session.recipe.loop.n_rounds:
        system = session.recipe.evaluate.system
        told = "The model is given a system prompt after, not before. " if system else ""
        return [f"{told}Nothing was trained: the recipe asks for no round."]
    if not found:
        return ["No alignment stage ran, because too few pairs were gathered: the model is unchanged."]
    stages = [
        f"Stage {stage['stage']} was {stage['verdict']}, {stage['step']:.0%} of its update was kept: {stage['reason']}"
        for stage in found
        if stage["verdict"] != "accepted" or stage["step"] < 1
    ]
    loop = session.recipe.loop
    wanted = session.recipe.review.wanted and loop.stage_at_end and loop.n_rounds
    return [*stages, _NO_REVIEW] if wanted and not _reviewed(session.run.directory) else stages


def _reviewed(directory: Path) -> bool:
    return any("review" in summary for summary in read_each(directory, "round_*/summary.json"))


def describe(session: Judged, *, notes: Sequence[str] = ()) -> dict[str, Any]:
    """The figures of one model, without a comparison, written to results.json; `notes` join its warnings."""
    run = session.run
    items = read_records(run.directory / "evaluation" / "before.parquet", Measured) or []
    judges = {**gate_of(session).notes(), **instructions.judges(items)}
    metrics = [*bench.summarise(items, judges=judges), *_capability.figures(session)]
    cards = list(_cards(session))
    write_json(run.directory / "judges.json", cards)
    result = {
        "schema": 2,
        "model": run.recipe.model.ref,
        "metrics": [metric.as_dict() for metric in metrics if metric.estimate.n or metric.estimate.unscored],
        "removed": session.sets.removed_counts(),
        "prompts": _prompts.told(items, run.recipe.seed),
        "not_checked": instructions.not_checked(items),
        "by_wrapping": bench.plain_json(bench.wrapping_rows(items)),
        "warnings": [
            *reset_notes(session),
            *notes,
            *assets.unpinned(session.recipe),
            *instructions.notes(items),
            *_weak(cards),
        ],
    }
    write_json(run.directory / "results.json", result)
    write_table(run.directory / "items.parquet", bench.item_rows("model", items, texts=True))
    run.finish()
    return run.result or {}


def trained_prompts(directory: Path) -> list[str]:
    """The prompts of every pair that a stage of the run was given, each once."""
    tables = sorted(directory.glob("stage_*/pairs.parquet"))
    rows = (row for path in tables for row in pq.read_table(path, columns=["prompt"]).to_pylist())
    return list(dict.fromkeys(str(row["prompt"]) for row in rows))


def _made_by_the_run(session: Evaluation) -> Iterable[tuple[str, list[str]]]:
    attacks: list[str] = []
    pairs: list[str] = []
    for directory in sorted(session.trained_in.glob("round_*")) if session.trained_in else []:
        found = read_records(directory / "attacks.parquet", Attack) or []
        attacks += [text for item in found if item.status == "kept" for text in (item.expansion, item.hidden)]
        pairs += [pair.prompt for pair in read_records(directory / "pairs.parquet", Pair) or []]
    if session.trained_in:  # pairs of people come from no round
        pairs += trained_prompts(session.trained_in)
    yield "generated attacks", attacks
    yield "trained pairs", pairs


def _seen_by_others(
    session: Evaluation, before: Sequence[Measured], after: Sequence[Measured]
) -> dict[str, Estimate | None]:
    """The training and watch judges' change of safety; nothing where only the gate's were loaded."""
    if not isinstance(session, Session):
        return {}
    return {
        "train_change": _safety_change(session, session.judges.safety, "train", before, after),
        "watch_change": _safety_change(session, session.watch, "watch", before, after),
    }


def _safety_change(
    session: Session, judges: Sequence[Evaluator], side: str, before: Sequence[Measured], after: Sequence[Measured]
) -> Estimate | None:
    """Change of safety on the harmful prompts as judges that do not grade see it: what the loop believes it reached."""
    means: list[list[float | None]] = []
    for name, measured in (("before", before), ("after", after)):
        items = [Item(item.prompt_id, item.prompt, item.answer) for item in measured if item.set == "harmful"]
        votes = [vote for judge in judges for vote in judge.score(items)]
        write_records(session.run.directory / "evaluation" / f"{side}_votes_{name}.parquet", votes, Score)
        values = safety_between_models(session, votes)
        means.append([values.get(item.id) for item in items])
    return bench.paired_mean_change(means[0], means[1]) if means[0] and judges else None


def _kin(session: Evaluation) -> list[str]:
    notes = kin_notes(session.recipe.judges)
    return [f"Not every judge is independent: {'; '.join(notes)}."] if notes else []


def _cards(session: Judged) -> Iterable[dict[str, Any]]:
    """Cards of the judges in use; outside models are named, and said to be unmeasured here."""
    sides = session.recipe.judges
    listed = [
        *(("train", ref) for ref in sides.train.refs()),
        *(("watch", ref) for ref in sides.watch),
        *(("gate", ref) for ref in sides.gate.refs()),
    ]
    for side, ref in listed:
        try:
            facts = card(ref.name, session.context, flips=()).as_dict()
        except UsageError as error:
            facts = {"name": ref.name, "limits": str(error)}
        yield {**facts, "side": side}


def _weak(cards: Sequence[dict[str, Any]]) -> list[str]:
    """Warnings about gate judges that are hardly better than, or worse than, a bag of words."""
    notes = []
    for facts in cards:
        auc, baseline = facts.get("auc"), facts.get("baseline_auc")
        if (
            facts["side"] == "gate"
            and auc
            and (auc["value"] < _WEAK_AUC or (baseline and auc["low"] <= baseline["value"]))
        ):
            beside = f", a bag of words {baseline['value']:.2f}" if baseline else ""
            notes.append(
                f"The gate judge {facts['name']} is weak: AUC {auc['value']:.2f} [{auc['low']:.2f}, {auc['high']:.2f}] "
                f"on {facts['n']} human-scored answers{beside}. Read answers yourself before you rely on it."
            )
    return notes
