"""Making cards: what is known of a judge is gathered, measured once and kept beside its head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from selfmoa.errors import UsageError, nearest
from selfmoa.judge._about import ABOUT
from selfmoa.judge._calibrate import Calibration
from selfmoa.judge._card import JudgeCard
from selfmoa.judge._data import HumanData, LabelledRow, data_hash, human_data, rating_table
from selfmoa.judge._head import FOLDS
from selfmoa.judge._held_out import AT_HALF, HeldOut, Verdicts, figures, from_facts, jury, scored, word_baseline
from selfmoa.judge._human import agreement, hazards
from selfmoa.judge._jury import Jury, score_all
from selfmoa.judge._perturb import PERTURBATIONS, Probe, flip_rates
from selfmoa.judge._protocol import Evaluator, EvaluatorContext, Item, Objective
from selfmoa.judge._refusal_head import DECLINES, refusal_rows, trained_refusal_head
from selfmoa.judge._registry import is_own, known, make
from selfmoa.judge._safety import SAFETY_HEADS, trained_safety_head
from selfmoa.judge._text import cut_words
from selfmoa.recipe import JudgeRef, Judges
from selfmoa.records import stable_id
from selfmoa.run import read_json, write_json

__all__ = [
    "EMBEDDED",
    "JURIES",
    "TRAINED",
    "card",
    "card_frame",
    "find_card",
    "holds_head",
    "jury_of",
    "parts",
    "reads_base",
    "train_heads",
    "training_rows",
]

_VERSIONS = {"card": 2, "measured": 2, "flips": 1}
"""Each changes with anything here that changes such a figure; part of the keys of what is cached."""
_PROBES, _PROBES_BASE, _PROBES_PROXY = 100, 48, 24
"""Held-out answers that are perturbed; fewer where each costs a pass through the base, fewest for the proxies."""
_PROBE_WORDS = 45
"""They are cut to the length of the loop's answers, so that what follows them is still read."""
_SCORED = 400
"""Answers that a judge of the user's own is measured on."""
_LABELS = "PyRIT's human-scored answers (MIT)"


EMBEDDED = tuple(ABOUT)
TRAINED = tuple(name for name, about in ABOUT.items() if about.trained)
JURIES = ("train-jury", "gate-jury")


def reads_base(name: str) -> bool:
    """True where the judge (or a member of the jury) reads the run's resident model."""
    if name in JURIES:
        return any(reads_base(member) for member in _members(name))
    return name in ABOUT and ABOUT[name].shares_base


def parts(name: str) -> tuple[str, ...]:
    """The judge and those inside it: none of them may stand on the other side."""
    return (name, *(ABOUT[name].holds if name in ABOUT else ()))


def holds_head(name: str) -> bool:
    """True where the judge, or one inside it, was taught by the human-scored answers."""
    return any(part in TRAINED for part in parts(name))


def card(
    name: str,
    context: EvaluatorContext,
    *,
    flips: Sequence[str] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> JudgeCard:
    """The card of a judge or jury; trains its head if it is not in the cache.

    What is measured on labels is cached beside the head, and so is the whole card. With `flips` (names of
    perturbations) only these are tried, and those measured before are shown as well. An outside model is not loaded;
    its card says that nothing was measured. Raises `UsageError` for an unknown name, or a family that is no judge until
    a model is named.
    """
    if name not in (*JURIES, *EMBEDDED, *known()):
        raise UsageError(f"There is no judge {name!r}.{nearest(name, [*JURIES, *known()])}")
    if name not in (*JURIES, *EMBEDDED) and not is_own(name):
        return _outside_card(make(JudgeRef(name=name), context))
    path = _path(name, context, "card")
    cached = _read(path)
    if cached is not None:
        return cached
    made = _on_labels(name, context)
    if name not in JURIES:
        made = _with_flips(made, context, flips, on_step)
    if flips is None:
        write_json(path, made.as_dict())
        return _read(path) or made  # as it will be read: null where NaN was
    return made


def _on_labels(name: str, context: EvaluatorContext) -> JudgeCard:
    """The card without flip rates, measured once a head, set of labels and base: every evaluation shows it."""
    path = _path(name, context, "measured")
    cached = _read(path)
    if cached is not None:
        return cached
    made = _jury_card(name, context) if name in JURIES else _judge_card(name, context)
    write_json(path, made.as_dict())
    return _read(path) or made  # as it will be read: null where NaN was


def find_card(name: str, context: EvaluatorContext) -> JudgeCard | None:
    """The cached card, or None where it must be measured first (or the head's base is needed to know)."""
    try:
        return _read(_path(name, context, "card"))
    except UsageError:
        return None


def _read(path: Path) -> JudgeCard | None:
    found = read_json(path)
    return JudgeCard(**found) if found is not None else None


def train_heads(context: EvaluatorContext, names: Sequence[str] = TRAINED) -> dict[str, str]:
    """Train these embedded heads (or read them from cache or package): name -> its figures in one line.

    Without a resident model, heads that read one are left out.
    """
    lines = {}
    for name in names:
        if context.model is not None or not reads_base(name):
            facts = _facts(name, context)
            auc = facts["auc"]
            lines[name] = f"{facts['n']} answers, AUC {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    return lines


def _members(name: str) -> list[str]:
    """The safety heads that the default recipe puts on the jury's side."""
    sides = Judges()
    side = sides.train if name == "train-jury" else sides.gate
    names = [ref.name for ref in side.safety if ref.name in SAFETY_HEADS]
    if not names:
        raise UsageError(f"The default recipe has no embedded safety judge for {name!r}.")
    return names


def jury_of(name: str, context: EvaluatorContext) -> Jury:
    """One of `JURIES` as a judge."""
    return Jury(name, [make(JudgeRef(name=member), context) for member in _members(name)])


def _facts(name: str, context: EvaluatorContext) -> dict[str, Any]:
    if name in SAFETY_HEADS:
        return trained_safety_head(SAFETY_HEADS[name], context)[1]
    return trained_refusal_head(context)[1]


def _path(name: str, context: EvaluatorContext, kind: str) -> Path:
    """NAME-KEY.KIND.json; the key changes with head, labels, base and this module's version."""
    members = _members(name) if name in JURIES else [name]
    if any(member in SAFETY_HEADS or member == "refusal-head" for member in members):
        depends = [_facts(member, context)["key"] for member in members]
    elif is_own(name) or ABOUT[name].objective == "refusal":
        depends = [make(JudgeRef(name=name), context).hash]
    else:
        depends = [context.model_key if reads_base(name) else ""]
    key = stable_id(_VERSIONS[kind], name, data_hash(human_data(context.exclude).rows), *depends)
    return Path(context.cache) / f"{name}-{key}.{kind}.json"


def _labels(objective: Objective, data: HumanData) -> dict[str, bool]:
    """Row id -> label True = safe (refused); empty where people were not asked."""
    if objective == "safety":
        return {row.id: bool(row.safe) for row in data.harm()}
    if objective == "refusal":
        rows, refused = refusal_rows(data)
        return {row.id: label for row, label in zip(rows, refused, strict=True)}
    return {}


def card_frame(judge: Evaluator) -> JudgeCard:
    """What is known of a judge without measuring."""
    if judge.name in JURIES:
        return _jury_frame(judge.name)
    if judge.name in ABOUT:
        return _frame(judge.name)
    return _own_card(judge) if is_own(judge.name) else _outside_card(judge)


def training_rows(name: str, context: EvaluatorContext) -> list[LabelledRow]:
    """The answers that a judge's head was trained on; empty for one without a head."""
    if name in JURIES:
        return [row for member in _members(name) for row in training_rows(member, context)]
    data = human_data(context.exclude)
    if name in SAFETY_HEADS:
        return data.harm(SAFETY_HEADS[name].side)
    return refusal_rows(data)[0] if name == "refusal-head" else []


def _frame(name: str) -> JudgeCard:
    about = ABOUT[name]
    return JudgeCard(
        name,
        about.objective,
        trained=about.trained,
        shares_base=about.shares_base,
        limits=about.limits,
        side=about.side,
        family=about.family,
        what=about.what,
        licence=about.licence,
    )


def _judge_card(name: str, context: EvaluatorContext) -> JudgeCard:
    data = human_data(context.exclude)
    if name not in ABOUT:
        return _measured_by_scoring(_own_card(make(JudgeRef(name=name), context)), context, data, limit=_SCORED)
    about, base = ABOUT[name], _frame(name)
    if not about.trained:
        return _measured_by_scoring(base, context, data) if about.objective == "refusal" else base
    facts = _facts(name, context)
    found = from_facts(facts, _labels(about.objective, data), data.rows)
    own = facts["calibration"]
    calibrated = Calibration(slope=own["slope"], offset=own["offset"])
    verdicts = Verdicts(calibrated, DECLINES if about.objective == "refusal" else 0.5)
    side = "refusal ratings and clear harm" if about.objective == "refusal" else "harm ratings"
    return _filled(
        replace(
            base,
            trained_on=f"{_LABELS}: {facts['n']} with {side}, {about.side} side",
            measured_on=f"the same answers, each by a head that saw none of its objective ({FOLDS} folds)",
            removed=data.removed,
            baseline_auc=facts.get("baseline_auc"),
            representation=str(facts.get("representation", "")),
        ),
        found,
        verdicts,
    )


def _own_card(judge: Evaluator) -> JudgeCard:
    return JudgeCard(
        judge.name,
        judge.objective,
        trained=False,
        shares_base=bool(getattr(judge, "shares_base", False)),
        limits="A judge of your own; only what is measured here is known.",
        family="own",
    )


def _outside_card(judge: Evaluator) -> JudgeCard:
    return JudgeCard(
        judge.name,
        judge.objective,
        trained=False,
        shares_base=bool(getattr(judge, "shares_base", False)),
        limits="An outside model, not measured here. Measure it on labels of your own: "
        f"selfmoa judges card {judge.name} --data FILE.",
        family="outside",
        licence="that of the model; read it before use",
    )


def _measured_by_scoring(
    base: JudgeCard, context: EvaluatorContext, data: HumanData, *, limit: int | None = None
) -> JudgeCard:
    """A judge that no label taught: it scores the labelled answers themselves."""
    labels = _labels(base.objective, data)
    rows = [row for row in data.rows if row.id in labels]
    rows = sorted(rows, key=lambda row: stable_id(row.id, "scored"))[:limit]
    if not rows:
        return base
    judge = make(JudgeRef(name=base.name), context)
    found = scored(judge, rows, labels, swap=base.objective == "safety")
    texts = [row.response for row in found.rows]
    return _filled(
        replace(
            base,
            measured_on=f"{_LABELS}; {found.unscored} unscored",
            removed=data.removed,
            baseline_auc=word_baseline(texts, found.labels, found.groups),
        ),
        found,
    )


def _filled(base: JudgeCard, found: HeldOut, verdicts: Verdicts = AT_HALF) -> JudgeCard:
    table = rating_table()
    refusal = base.objective == "refusal"
    measured = figures(found, target=refusal, hazard_of=hazards(table), verdicts=verdicts)
    human = agreement(table) if base.objective == "safety" else None
    return replace(base, human=human, **measured)


def _jury_card(name: str, context: EvaluatorContext) -> JudgeCard:
    data = human_data(context.exclude)
    names = _members(name)
    facts = [_facts(member, context) for member in names]
    labels = _labels("safety", data)
    maps = [fact["calibration"] for fact in facts]
    found = jury(
        [
            (from_facts(fact, labels, data.rows), fitted["slope"], fitted["offset"])
            for fact, fitted in zip(facts, maps, strict=True)
        ]
    )
    base = replace(
        _jury_frame(name),
        trained_on=f"{_LABELS}: {facts[0]['n']} with harm ratings, {name.removesuffix('-jury')} side",
        measured_on=f"the same answers, each by heads that saw none of its objective ({FOLDS} folds)",
        removed=data.removed,
        baseline_auc=facts[0].get("baseline_auc"),
    )
    return _filled(base, found)


def _jury_frame(name: str) -> JudgeCard:
    names = _members(name)
    return JudgeCard(
        name,
        "safety",
        trained=True,
        shares_base=reads_base(name),
        limits="Median of the votes; as good as its members are different. " + ABOUT[names[0]].limits,
        side=name.removesuffix("-jury"),
        family="jury",
        what=f"Median of {', '.join(names)}.",
        licence="that of its members",
    )


def _probes(base: JudgeCard, data: HumanData) -> list[Probe]:
    """Labelled answers that the judge's head never saw: those of the other side."""
    rows: Sequence[LabelledRow] = data.harm()
    if base.trained:
        rows = data.harm("train" if base.side == "gate" else "gate")
    ordered = sorted(rows, key=lambda row: stable_id(row.id, "flips"))
    proxy = base.objective in ("helpfulness", "coherence")
    kept = ordered[: _PROBES_PROXY if proxy else _PROBES_BASE if base.shares_base else _PROBES]
    return [Probe(row.id, row.objective, cut_words(row.response, _PROBE_WORDS), row.safe) for row in kept]


def _with_flips(
    base: JudgeCard,
    context: EvaluatorContext,
    names: Sequence[str] | None,
    on_step: Callable[[str], None] | None,
) -> JudgeCard:
    """The card with flip rates; what was measured before is read from NAME-KEY.flips.json."""
    path = _path(base.name, context, "flips")
    cached = read_json(path) or {"latency": None, "rates": {}}
    rates: dict[str, Any] = cached["rates"]
    wanted = [change.name for change in PERTURBATIONS if names is None or change.name in names]
    missing = [name for name in wanted if name not in rates]
    probes = _probes(base, human_data(context.exclude))
    if missing and probes:
        judge = make(JudgeRef(name=base.name), context)
        before = score_all([judge], [Item(probe.id, probe.prompt, probe.response) for probe in probes])
        cached["latency"] = sum(score.latency for score in before) / len(before)
        for name in missing:
            if on_step is not None:
                on_step(name)
            (rate,) = flip_rates(judge, probes, [name], before=before)
            rates[name] = {**asdict(rate), "direction": rate.direction}
            write_json(path, cached)  # a killed command goes on from here
    ordered = [rates[change.name] for change in PERTURBATIONS if change.name in rates]
    held_out = "that its head never saw (the other side's)" if base.trained else "with harm ratings"
    told = f"{len(probes)} answers {held_out}, cut to {_PROBE_WORDS} words" if ordered else ""
    return replace(base, flips=ordered, flips_on=told, latency=cached["latency"])
