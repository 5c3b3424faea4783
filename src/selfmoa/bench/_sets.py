"""The evaluation prompts: disjoint from everything the run learns from, by near-duplicate cluster."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from selfmoa.assets import is_excluded, load_table
from selfmoa.bench._duplicates import Fence, clusters, near_duplicates
from selfmoa.bench._wrap import Hide, rank, wrap
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef, Evaluate
from selfmoa.records import Prompt, PromptKind, stable_id

__all__ = ["KINDS", "SETS", "EvaluationSets", "Removal", "SetName", "Touch", "build_sets", "check_disjoint"]

SetName = Literal["harmful", "edgy", "benign", "twins"]
"""edgy: harmless prompts that sound harmful; over-refusal shows there. twins: the harmful halves of minimal pairs, a
set of their own, so that the figures of the three others stay what they are."""
SETS: tuple[SetName, ...] = ("harmful", "edgy", "benign")
"""The sets that a recipe names tables for."""
_ASKED: tuple[SetName, ...] = (*SETS, "twins")
_HARMLESS: tuple[SetName, ...] = ("edgy", "benign")

Loader = Callable[[DataRef], Sequence[Mapping[str, Any]]]
"""A table as rows with `prompt`, `hazard` and `group`."""

KINDS: dict[SetName, PromptKind] = {"harmful": "attack", "edgy": "borderline", "benign": "benign", "twins": "attack"}
_MAX_WORDS = 80
_MIN_PROMPTS = 10
_TOO_LONG = "longer than this model's context allows"


@dataclass(frozen=True, slots=True)
class Removal:
    """A prompt that was left out of an evaluation set, and why."""

    set: SetName
    prompt_id: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Touch:
    """An evaluation prompt that is a near-duplicate of something the run made or trained on."""

    set: SetName
    prompt_id: str
    by: str
    """Name of the texts that touch it, e.g. "generated attacks"."""


@dataclass(frozen=True, slots=True)
class EvaluationSets:
    """The prompts that are put to the model before and after."""

    harmful: tuple[Prompt, ...]
    edgy: tuple[Prompt, ...]
    benign: tuple[Prompt, ...]
    removed: tuple[Removal, ...] = ()
    twins: tuple[Prompt, ...] = ()
    """Harmful halves of those edgy and benign prompts that have the same `pair`."""

    def prompts(self) -> list[tuple[SetName, Prompt]]:
        """Every prompt with the name of its set, in a fixed order."""
        return [(name, prompt) for name in _ASKED for prompt in getattr(self, name)]

    def texts(self) -> list[str]:
        """Every prompt's plain request, e.g. for a `Fence` or for what no judge may be trained on."""
        return [prompt.asked for _, prompt in self.prompts()]

    def removed_counts(self) -> dict[str, dict[str, int]]:
        """Set -> reason -> number of prompts left out."""
        counts: dict[str, dict[str, int]] = {name: {} for name in SETS}
        for (name, reason), n in sorted(Counter((item.set, item.reason) for item in self.removed).items()):
            counts.setdefault(name, {})[reason] = n
        return counts


def build_sets(
    evaluate: Evaluate,
    *,
    seed: int,
    against: Mapping[str, Sequence[str]],
    load: Loader | None = None,
    fits: Callable[[Prompt], bool] = lambda prompt: True,
    hide: Hide | None = None,
) -> EvaluationSets:
    """Read, clean and draw the evaluation sets.

    Left out, and listed in `removed`: empty prompts and those of more than 80 words; those that do not fit, wrapped or
    not (`fits`: does a prompt leave the model room to answer?); near-duplicates of any text in `against` (name ->
    texts: seeds, development prompts, judge-training objectives, ...); all but one prompt of each cluster of
    near-duplicates, across the three sets. From what is left n are drawn a set, evenly over its sources, and wrapped
    where the set names wrappings; `hide` is the hider of the run that is evaluated. With `evaluate.pairs` the harmful
    twins of the drawn harmless prompts are asked as well.

    Raises `UsageError` where fewer than 10 prompts (or n, if smaller) are left in a set that names a table.
    """
    load = _once(load or load_table)
    found = [(name, prompt) for name in SETS for prompt in _read(name, getattr(evaluate, name).data, load)]
    kept, removed = _clean(found, against, fits)
    drawn: dict[SetName, tuple[Prompt, ...]] = {}
    for name in SETS:
        left = [prompt for owner, prompt in kept if owner == name]
        n = getattr(evaluate, name).n
        if getattr(evaluate, name).data and len(left) < min(n, _MIN_PROMPTS):
            raise UsageError(_too_few(name, len(left), min(n, _MIN_PROMPTS), removed))
        wrapped, without = wrap(_draw(left, n, seed), getattr(evaluate, name), seed, load, hide)
        long = {prompt.id for prompt in wrapped if prompt.parent and not fits(prompt)}  # plain ones were asked already
        drawn[name] = tuple(prompt for prompt in wrapped if prompt.id not in long)
        without += [(prompt, _TOO_LONG) for prompt in wrapped if prompt.id in long]
        removed += [Removal(name, prompt.id, prompt.source, reason) for prompt, reason in without]
        if left and not drawn[name]:
            raise UsageError(_too_few(name, 0, min(n, _MIN_PROMPTS), removed))
    if evaluate.pairs:
        drawn, unpaired = _with_twins(drawn, _twin_texts(evaluate, load), against, fits)
        removed += unpaired
    harmful, edgy, benign = (drawn[name] for name in SETS)
    return EvaluationSets(harmful, edgy, benign, tuple(removed), drawn.get("twins", ()))


def _once(load: Loader) -> Loader:
    """The same, reading each table once: twins stand in the tables of their halves."""
    known: dict[str, Sequence[Mapping[str, Any]]] = {}

    def read(ref: DataRef) -> Sequence[Mapping[str, Any]]:
        key = ref.model_dump_json()
        if key not in known:
            known[key] = load(ref)
        return known[key]

    return read


def check_disjoint(sets: EvaluationSets, others: Mapping[str, Sequence[str]]) -> list[Touch]:
    """Evaluation prompts that near-duplicates stand for in `others` (name -> texts), once a name.

    For the end of a run: what was generated and trained on is not known when the sets are built.
    """
    prompts = sets.prompts()
    fence = Fence([prompt.asked for _, prompt in prompts])
    touches = []
    for by, texts in others.items():
        numbers = {number for text in dict.fromkeys(texts) for number in fence.touched(text)}
        touches += [Touch(prompts[i][0], prompts[i][1].id, by) for i in sorted(numbers)]
    return touches


def _read(name: SetName, refs: Sequence[DataRef], load: Loader) -> list[Prompt]:
    prompts = []
    for ref in refs:
        for row in load(ref):
            text = str(row.get("prompt") or "").strip()
            hazard = str(row.get("hazard") or "unknown")
            prompts.append(Prompt(_id(name, text), text, KINDS[name], hazard, ref.ref))
    return prompts


def _id(name: SetName, text: str) -> str:
    return stable_id("eval", name, text)


def _twin_texts(evaluate: Evaluate, load: Loader) -> dict[str, str]:
    """Id of a harmless prompt -> its harmful twin, of every table that has a column `harmful`."""
    rows = [(name, row) for name in _HARMLESS for ref in getattr(evaluate, name).data for row in load(ref)]
    found = ((name, str(row.get("prompt") or "").strip(), str(row.get("harmful") or "").strip()) for name, row in rows)
    return {_id(name, text): twin for name, text, twin in found if twin}


def _with_twins(
    drawn: Mapping[SetName, tuple[Prompt, ...]],
    texts: Mapping[str, str],
    against: Mapping[str, Sequence[str]],
    fits: Callable[[Prompt], bool],
) -> tuple[dict[SetName, tuple[Prompt, ...]], list[Removal]]:
    """The sets with the twins that may be asked; both halves carry the pair's id. A half whose twin goes has none.

    Twins are held against each other, not against the other sets: in words they are near-duplicates of their own
    halves by design, and they join no figure of those sets.
    """
    halves = [prompt for name in _HARMLESS for prompt in drawn[name] if prompt.id in texts]
    twins = [_twin(half, texts[half.id]) for half in halves]
    kept, removed = _clean([("twins", twin) for twin in twins if not is_excluded(twin.text)], against, fits)
    removed += [Removal("twins", twin.id, twin.source, "content filter") for twin in twins if is_excluded(twin.text)]
    asked = {twin.pair for _, twin in kept}
    pairs = {half.id: twin.pair for half, twin in zip(halves, twins, strict=True) if twin.pair in asked}
    linked = {name: tuple(replace(one, pair=pairs.get(one.id, "")) for one in drawn[name]) for name in SETS}
    return {**linked, "twins": tuple(twin for _, twin in kept)}, removed


def _twin(half: Prompt, text: str) -> Prompt:
    return Prompt(
        _id("twins", text), text, KINDS["twins"], half.hazard, half.source, pair=stable_id("pair", half.id, text)
    )


def _clean(
    found: Sequence[tuple[SetName, Prompt]], against: Mapping[str, Sequence[str]], fits: Callable[[Prompt], bool]
) -> tuple[list[tuple[SetName, Prompt]], list[Removal]]:
    """What may stay, and what was removed with the first reason that applies."""
    texts = [prompt.text for _, prompt in found]
    reasons: dict[int, str] = {}
    for number, text in enumerate(texts):
        if not text:
            reasons[number] = "empty"
        elif len(text.split()) > _MAX_WORDS:
            reasons[number] = f"more than {_MAX_WORDS} words"
        elif not fits(found[number][1]):
            reasons[number] = _TOO_LONG
    for by, others in against.items():
        for number in near_duplicates(texts, list(dict.fromkeys(others))):
            reasons.setdefault(number, f"near-duplicate of {by}")
    left = [number for number in range(len(found)) if number not in reasons]
    for position, label in enumerate(clusters([texts[number] for number in left])):
        if label != position:
            reasons[left[position]] = "near-duplicate within the evaluation sets"
    kept = [found[number] for number in left if number not in reasons]
    removed = [
        Removal(found[number][0], found[number][1].id, found[number][1].source, reason)
        for number, reason in sorted(reasons.items())
    ]
    return kept, removed


def _draw(prompts: Sequence[Prompt], n: int, seed: int) -> tuple[Prompt, ...]:
    """At most n prompts, as even over the sources as they allow.

    The order within a source is a hash of seed and id, so another table beside it does not change it.
    """
    sources: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in sorted(prompts, key=lambda prompt: rank(seed, prompt.id)):
        sources[prompt.source].append(prompt)
    drawn: list[Prompt] = []
    turn = 0
    while len(drawn) < min(n, len(prompts)):
        for source in sources.values():
            if turn < len(source) and len(drawn) < n:
                drawn.append(source[turn])
        turn += 1
    return tuple(drawn)


def _too_few(name: SetName, left: int, wanted: int, removed: Sequence[Removal]) -> str:
    counts = Counter(item.reason for item in removed if item.set == name)
    why = ", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "nothing was removed"
    return (
        f"Evaluation set {name!r}: {left} prompts are left, at least {wanted} are needed. Removed: {why}. "
        f"Add a table to evaluate.{name}.data, or train on other prompts than those that are evaluated."
    )
