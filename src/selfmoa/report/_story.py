"""The run in plain words: where the model was weak, what broke it, what it was taught, what changed, who disagreed.

Every sentence is made from figures of the run and gives them; one whose figures are absent is left out. Nothing is
called better or worse but by the verdict that its interval has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from selfmoa.bench import proportion
from selfmoa.report._load import RunData, Step, read_rows
from selfmoa.report._text import Unit, change, count, estimate, integer, number, share

__all__ = ["story"]

Row = dict[str, Any]
Counts = dict[str, tuple[int, int]]
"""Name -> (how many got through, of how many)."""

_LEAST = 5
"""Prompts a hazard must have to be named: fewer say next to nothing."""
_NAMED = 3
_NAMELESS = ("unknown", "none", "other", "")
_TOLD = (
    *("attack_success", "safety", "minimal_pairs", "over_refusal", "refusal_benign", "helpfulness_benign"),
    *("helpfulness_harmless", "instruction_following", "win_rate", "degenerate", "capability"),
)
"""Figures that the story tells, in this order; the table has all of them."""
_VERDICTS = (
    ("improved", "Improved (the interval excludes no change)"),
    ("worse", "Got worse (the interval excludes no change)"),
    ("preserved", "A loss of more than {} is excluded for"),
    ("inconclusive", "Too few prompts to tell"),
)


def story(run: RunData, pairs: Row, rounds: Sequence[Row]) -> list[Row]:
    """Paragraphs `{title, sentences}`; `pairs` is `pair_facts(run)`, `rounds` is `round_rows(run)`."""
    items = read_rows(run.directory / "items.parquet") or []
    told = {
        "Where it was weak": _weak(run, items),
        "What broke it": _broke(run),
        "What the pairs taught": [
            *_pairs(pairs),
            *(line for step in run.rounds for line in _reviewed(run, step)),
            *_stages(run),
        ],
        "What changed, and what did not": [*_verdicts(run), *_turned(items)],
        "Where judges disagreed": [*_parted(rounds), *_doubted(run), *_sides(run)],
    }
    return [{"title": title, "sentences": sentences} for title, sentences in told.items() if sentences]


# -- before ----------------------------------------------------------------------------------------------


def _weak(run: RunData, items: Sequence[Row]) -> list[str]:
    before = (_metric(run, "attack_success") or {}).get("before")
    n = number(before.get("n")) if isinstance(before, dict) else None
    value = number(before.get("value")) if isinstance(before, dict) else None
    if not n or value is None:
        return []
    found = [
        f"Before training, {integer(value * n)} of {integer(n)} harmful prompts were answered unsafely, without a full "
        f"refusal: {estimate(before)}."
    ]
    return [*found, *_hazards((row["hazard"], ok) for row, ok in _successes(items, "before").values())]


def _successes(items: Sequence[Row], arm: str) -> dict[str, tuple[Row, bool]]:
    """Prompt id -> (row, whether the attack succeeded) of one side, over what was scored."""
    rows = [row for row in items if row.get("arm") == arm and number(row.get("attack_success")) is not None]
    return {str(row["prompt_id"]): (row, row["attack_success"] == 1) for row in rows}


def _hazards(found: Iterable[tuple[Any, bool]]) -> list[str]:
    """The hazards where most got through, and those where nothing did; only those with enough prompts."""
    groups = _grouped(found)
    nameless = sum(n for name, (_, n) in groups.items() if name in _NAMELESS)
    large = {name: pair for name, pair in groups.items() if name not in _NAMELESS and pair[1] >= _LEAST}
    ranked = sorted(large.items(), key=lambda item: (-item[1][0] / item[1][1], -item[1][1], item[0]))
    worst = [(name, pair) for name, pair in ranked if pair[0]][:_NAMED]
    sentences = []
    if worst:
        listed = ", ".join(f"{name} {_rate(*pair)}" for name, pair in worst)
        sentences.append(f"Highest of the hazards with at least {_LEAST} prompts: {listed}.")
    never = [f"{name} (0 of {n})" for name, (k, n) in ranked if not k]
    sentences += [f"Never in {', '.join(never)}."] if never else []
    sentences += [f"{count(nameless, 'prompt')} came without a hazard's name."] if nameless else []
    return sentences


def _grouped(found: Iterable[tuple[Any, bool]]) -> Counts:
    hits: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for name, hit in found:
        asked[str(name)] += 1
        hits[str(name)] += hit
    return {name: (hits[name], n) for name, n in asked.items()}


def _rate(k: int, n: int) -> str:
    found = proportion(k, n)
    return f"{k} of {n} ({estimate({'value': found.value, 'low': found.low, 'high': found.high})})"


# -- the loop --------------------------------------------------------------------------------------------


def _broke(run: RunData) -> list[str]:
    asked = [
        (row, row.get("id") in won)
        for step in run.rounds
        if step.summary and not step.summary.get("review")
        for won in [_hits(step)]
        for row in read_rows(step.directory / "attacks.parquet") or []
        if row.get("kind") == "attack" and row.get("status") == "kept"
    ]
    if not asked:
        return []
    by_round = _grouped((row.get("round"), hit) for row, hit in asked)
    listed = "; ".join(f"round {name}: {_rate(*pair)}" for name, pair in by_round.items())
    kinds = _grouped(("asked plainly" if row.get("plain") else "disguised by the hider", hit) for row, hit in asked)
    sentences = [f"In the loop an attack got through where an answer was judged unsafe and useful: {listed}."]
    if len(kinds) > 1:
        sentences.append(f"By kind: {', '.join(f'{name} {_rate(*pair)}' for name, pair in sorted(kinds.items()))}.")
    return [*sentences, *_hazards((row.get("hazard"), hit) for row, hit in asked)]


def _hits(step: Any) -> set[Any]:
    rows = read_rows(step.directory / "selected.parquet") or []
    return {row.get("attack_id") for row in rows if row.get("event") == "hit"}


# -- lessons ---------------------------------------------------------------------------------------------


def _pairs(pairs: Row) -> list[str]:
    if not pairs["n"]:
        return []
    kinds = ", ".join(f"{integer(n)} on {kind} prompts" for kind, n in pairs["kind_totals"].items())
    rules = "; ".join(f"{rule} ({integer(n)})" for rule, n in pairs["rules"])
    sentences = [f"{count(pairs['n'], 'preference pair')}: {kinds}.", f"Rules: {rules}."]
    if pairs["attack_judged"]:
        less = f"{integer(pairs['less_safe_attack'])} of {integer(pairs['attack_judged'])}"
        sentences.append(f"On attack prompts the preferred answer was judged the less safe one in {less}.")
    sentences.append(f"In {pairs['guided_share']} one of the two answers was guided by words of ours.")
    return sentences


def _reviewed(run: RunData, step: Step) -> list[str]:
    """What the aligned model got wrong of what no round had asked it."""
    told = step.summary.get("review")
    if not isinstance(told, dict):
        return []
    (complied, harmful), (declined, harmless) = told["harmful"], told["harmless"]
    stage = next((one.summary for one in run.stages if one.summary.get("round") == step.number), {})
    pairs = count(int(step.summary.get("pairs") or 0), "pair")
    learnt = "on which it was trained" if stage.get("n_pairs") else "and nothing was trained"
    came = f"Asked again, these gave {pairs}, {learnt}." if complied + declined else "There was nothing to train on."
    return [
        f"Tried on prompts that no round had asked, the aligned model did not decline {integer(complied)} of "
        f"{integer(harmful)} harmful ones and declined {integer(declined)} of {integer(harmless)} harmless ones. {came}"
    ]


def _stages(run: RunData) -> list[str]:
    if run.rounds and not run.stages:
        return ["No stage was trained."]
    return [_stage(step.number, step.summary) for step in run.stages if step.summary.get("verdict")]


def _stage(place: int, told: Row) -> str:
    if told["verdict"] == "failed":
        return f"Stage {place} could not be trained, and the model stayed as it was: {told.get('reason')}"
    step = number(told.get("step"))
    kept = "nothing of it was kept" if not told.get("kept") else f"{share(1 if step is None else step)} of it was kept"
    words = f"Stage {place}, on {count(int(number(told.get('n_pairs')) or 0), 'pair')}, was {told['verdict']}: {kept}"
    opening = number(told.get("first_tokens_share"))
    if opening is not None:
        words += f"; {share(opening)} of the preference it learnt lies in the answers' first five tokens"
    return f"{words}."


# -- after -----------------------------------------------------------------------------------------------


def _verdicts(run: RunData) -> list[str]:
    tolerance = number(run.results.get("tolerance"))
    limit = f"{100 * tolerance:g} points" if tolerance else "the tolerance"
    found = [metric for name in _TOLD if (metric := _metric(run, name))]
    sentences = []
    for verdict, words in _VERDICTS:
        names = [_moved(metric) for metric in found if metric.get("verdict") == verdict]
        if names:
            sentences.append(f"{words.format(limit)}: {'; '.join(names)}.")
    return sentences


def _moved(metric: Row) -> str:
    unit: Unit = metric["unit"] if metric.get("unit") in {"score", "words"} else "share"
    proxy = ", a proxy" if metric.get("proxy") else ""
    return f"{metric.get('label') or metric.get('name')} {change(metric.get('change'), unit)}{proxy}"


def _metric(run: RunData, name: str) -> Row | None:
    metrics = run.results.get("metrics") or []
    return next((row for row in metrics if isinstance(row, dict) and row.get("name") == name), None)


def _turned(items: Sequence[Row]) -> list[str]:
    """Prompt by prompt: a rate can stay while the prompts behind it change."""
    before, after = (_successes(items, arm) for arm in ("before", "after"))
    both = [(before[key][1], after[key][1]) for key in before if key in after]
    broken = sum(old for old, _ in both)
    if not both:
        return []
    mended = sum(old and not new for old, new in both)
    fresh = sum(new and not old for old, new in both)
    return [
        f"Prompt by prompt: of {integer(broken)} attacks that succeeded before, {integer(mended)} no longer do; of "
        f"{integer(len(both) - broken)} that did not, {integer(fresh)} now do."
    ]


# -- judges ----------------------------------------------------------------------------------------------


def _parted(rounds: Sequence[Row]) -> list[str]:
    return [f"Training jury, round {row['number']}: {words}." for row in rounds for words in row["jury"]]


def _doubted(run: RunData) -> list[str]:
    """Pairs that were left out because a judge would not stand by them."""
    drops: Counter[str] = Counter()
    for step in run.rounds:
        found = step.summary.get("pair_drops")
        for reason, n in (found if isinstance(found, dict) else {}).items():
            turned = str(reason).startswith("order turned by")
            drops["turned" if turned else str(reason)] += int(number(n) or 0)
    sentences = []
    if drops["turned"]:
        sentences.append(
            f"{count(drops['turned'], 'pair')} left out: an apology or a disclaimer put to both answers turned "
            "the judges' order."
        )
    if drops["safety scores too close"]:
        close = count(drops["safety scores too close"], "pair")
        sentences.append(f"{close} left out: at least one judge saw too little safety gained.")
    return sentences


def _sides(run: RunData) -> list[str]:
    """The same answers as those see them who trained, watched and graded."""
    graded = (_metric(run, "safety") or {}).get("change")
    sides = [("training", run.results.get("train_change")), ("watch", run.results.get("watch_change"))]
    seen = [(name, told) for name, told in [*sides, ("gate", graded)] if change(told, "score") != "–"]
    if len(seen) < 2:
        return []
    listed = ", ".join(f"{change(told, 'score')} by the {name} judges" for name, told in seen)
    sentence = f"Change of mean safety on the same harmful prompts: {listed}."
    bounds = [(number(told.get("low")), number(told.get("high"))) for _, told in seen if isinstance(told, dict)]
    known = [(low, high) for low, high in bounds if low is not None and high is not None]
    if len(known) < len(seen):
        return [sentence]
    apart = max(low for low, _ in known) > min(high for _, high in known)
    return [sentence, f"Their intervals {'do not all overlap' if apart else 'all overlap'}."]
