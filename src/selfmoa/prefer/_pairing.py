"""Pairing rules (paper, Algorithm 2; docs/method.md, Pairs).

`paper` chooses by helpfulness alone, so its chosen answer may be the less safe one. `safe_first` never does
that on purpose: safe beats unsafe, then helpful beats unhelpful; on harmless prompts an answer beats a refusal.
`pareto` (in a file of its own) prefers an answer only to those that it matches on every objective.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import pstdev

from rapidfuzz import fuzz

from selfmoa.prefer._candidate import Candidate, Duel, presentable
from selfmoa.prefer._pareto import not_dominating, pareto
from selfmoa.recipe import Prefer
from selfmoa.records import Attack, Dropped, Judgement, Pair, Response, stable_id

__all__ = [
    "SAFE_BEATS_UNSAFE",
    "Candidate",
    "PairingResult",
    "cap_guided",
    "cap_harmless",
    "in_keeping",
    "pair_round",
    "why_not",
]

SAFE_BEATS_UNSAFE = "safe beats unsafe"
"""The rule of a pair in which one answer passes the bar of safe ones and the other that of unsafe ones."""


@dataclass(frozen=True, slots=True)
class PairingResult:
    """Pairs of a round and what was left out, with reasons."""

    pairs: tuple[Pair, ...]
    dropped: tuple[Dropped, ...]


def pair_round(
    attacks: Iterable[Attack],
    candidates: Sequence[Candidate],
    settings: Prefer,
    doubts: Callable[[Sequence[Pair]], Mapping[str, str]] = lambda _: {},
    learnable: Mapping[str, float] | None = None,
) -> PairingResult:
    """All pairs of one round. `learnable` (by attack id) says whose stay first where there are too many.

    At most a share are guided against unguided, and of what is left at most a share are of harmless prompts: leaving
    some of these out may raise the share of guided ones again.

    `doubts(pairs)` gives the reasons (by pair id) why some are not to be trusted; they are left out before the caps.
    """
    by_attack: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_attack.setdefault(candidate.judgement.attack_id, []).append(candidate)
    pairs: list[Pair] = []
    dropped: list[Dropped] = []
    for attack in attacks:
        if attack.status == "kept":
            made, reasons = _of_prompt(attack, by_attack.get(attack.id, []), settings)
            pairs.extend(made)
            dropped.extend(Dropped(attack.round, attack.id, reason) for reason in reasons)
    doubted = doubts(pairs)
    dropped.extend(Dropped(pair.round, pair.attack_id, doubted[pair.id]) for pair in pairs if pair.id in doubted)
    pairs, over = _capped([pair for pair in pairs if pair.id not in doubted], settings, learnable)
    return PairingResult(tuple(pairs), (*dropped, *over))


def _of_prompt(attack: Attack, candidates: Sequence[Candidate], settings: Prefer) -> tuple[list[Pair], list[str]]:
    """The pairs of one prompt's answers, no two of the same texts, and why there are no more."""
    duels, reasons = _duels(attack, candidates, settings)
    pairs: list[Pair] = []
    seen: set[tuple[str, str]] = set()
    for chosen, rejected, rule in duels:
        texts = chosen.response.text, rejected.response.text
        reason = _unfit(chosen.response, rejected.response, settings)
        if reason:
            reasons.append(reason)
        elif settings.pairing == "paper":
            pairs.append(_pair(attack, chosen, rejected, rule, settings))
        elif texts in seen:  # of greedy answers, as a review has them, all may be
            reasons.append("the same two answers again")
        elif len(pairs) < settings.max_pairs_per_prompt:
            pairs.append(_pair(attack, chosen, rejected, rule, settings))
            seen.add(texts)
    return pairs, reasons


def _capped(
    pairs: list[Pair], settings: Prefer, learnable: Mapping[str, float] | None
) -> tuple[list[Pair], list[Dropped]]:
    """The pairs that both caps leave, that of guided pairs first, and those left out."""
    pairs, guided = cap_guided(pairs, settings.max_guided_share, learnable)
    dropped = [Dropped(pair.round, pair.attack_id, "too many guided pairs") for pair in guided]
    if settings.pairing == "paper":
        return pairs, dropped
    pairs, harmless = cap_harmless(pairs, settings.max_harmless_share, learnable)
    return pairs, [*dropped, *(Dropped(pair.round, pair.attack_id, "too many harmless pairs") for pair in harmless)]


def _duels(attack: Attack, candidates: Sequence[Candidate], settings: Prefer) -> tuple[list[Duel], list[str]]:
    kept = [item for item in candidates if item.response.status == "kept"]
    if settings.pairing == "paper":
        return _paper(kept, settings)
    if settings.pairing == "pareto":
        return pareto(kept, attack.kind, settings)
    return _on_attack(kept, settings) if attack.kind == "attack" else _on_harmless(kept, settings)


def _paper(candidates: Sequence[Candidate], settings: Prefer) -> tuple[list[Duel], list[str]]:
    """Sort by helpfulness, pair first with last, second with second-last, ... (Algorithm 2)."""
    scored = [
        (item, item.judgement.helpfulness, item.judgement.safety)
        for item in candidates
        if item.judgement.helpfulness is not None and item.judgement.safety is not None
    ]
    reasons = ["an evaluator abstained"] * (len(candidates) - len(scored))
    if len(scored) < 2:
        return [], [*reasons, "fewer than two scored answers"]
    if all(pstdev(values) <= settings.std_min for values in zip(*((h, s) for _, h, s in scored), strict=True)):
        return [], [*reasons, "no spread"]
    ranked = sorted(scored, key=lambda row: (-row[1], row[0].response.id))
    duels: list[Duel] = []
    for front, back in zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False):
        if front[1] - back[1] > settings.delta_min or front[2] - back[2] > settings.delta_min:
            duels.append((front[0], back[0], "paper: more helpful first"))
        else:
            reasons.append("scores too close")
    return duels, reasons


def _on_attack(candidates: Sequence[Candidate], settings: Prefer) -> tuple[list[Duel], list[str]]:
    scored = [item for item in candidates if item.judgement.safety is not None]
    reasons = ["an evaluator abstained"] * (len(candidates) - len(scored))
    safe = sorted((item for item in scored if _is_safe(item, settings)), key=_most_helpful)
    unsafe = sorted((item for item in scored if _is_unsafe(item.judgement, settings)), key=_least_safe)
    if safe and unsafe:
        duels = _cross(safe, unsafe, settings.max_pairs_per_prompt, SAFE_BEATS_UNSAFE)
        clear = [duel for duel in duels if _safer_by(duel[0], duel[1], settings) > settings.delta_min]
        return clear, [*reasons, *["safety scores too close"] * (len(duels) - len(clear))]
    declines = [item for item in safe if item.judgement.refusal == "full"]
    if len(declines) >= 2 and _gain(declines[0], declines[-1]) > settings.delta_min:
        return [(declines[0], declines[-1], "both decline: a redirect beats a bare refusal")], reasons
    return [], [*reasons, "no answer safe enough" if not safe else "no unsafe answer, no better refusal"]


def _on_harmless(candidates: Sequence[Candidate], settings: Prefer) -> tuple[list[Duel], list[str]]:
    """Safety votes are ignored: heads trained on harmful requests misfire on harmless ones."""
    scored = [
        item for item in candidates if item.judgement.refusal is not None and item.judgement.helpfulness is not None
    ]
    reasons = ["an evaluator abstained"] * (len(candidates) - len(scored))
    answers = sorted((item for item in scored if _answers(item.judgement, settings)), key=_most_helpful)
    declining = (item for item in scored if item.judgement.refusal != "compliance")
    refusals = sorted(declining, key=lambda item: (item.response.guided, _id(item)))  # the model's own words first
    if not answers or not refusals:
        return [], [*reasons, "no coherent answer" if not answers else "no refusal"]
    return _cross(
        answers, refusals, settings.max_pairs_per_prompt, "harmless prompt: an answer beats a refusal"
    ), reasons


def _cross(better: Sequence[Candidate], worse: Sequence[Candidate], limit: int, rule: str) -> list[Duel]:
    """The best against each of the worst first, then the second best, without using an answer twice as chosen
    before every other has been used. Two more than needed, because some may prove unfit."""
    return [
        (better[number % len(better)], worse[number % len(worse)], rule)
        for number in range(min(limit + 2, max(len(better), len(worse))))
    ]


def why_not(chosen: Candidate, rejected: Candidate, settings: Prefer) -> str:
    """Why the rule would not prefer one answer to an attack to the other; '' where it would. Not for `paper`."""
    if settings.pairing == "pareto":
        return not_dominating(chosen, rejected, "attack", settings)
    if not _is_safe(chosen, settings):
        return "the chosen answer is not safe enough"
    both_decline = chosen.judgement.refusal == "full" and rejected.judgement.refusal == "full"
    if both_decline and _gain(chosen, rejected) > settings.delta_min and _is_safe(rejected, settings):
        return ""
    if not _is_unsafe(rejected.judgement, settings):
        return "the rejected answer is not unsafe enough"
    return "" if _safer_by(chosen, rejected, settings) > settings.delta_min else "safety scores too close"


def _is_safe(item: Candidate, settings: Prefer) -> bool:
    """Where an attack is not declined, a weak judge's "safe" is often its error: the bar is higher there."""
    bar = settings.safe_min if item.judgement.refusal == "full" else settings.safe_min_undeclined
    return (item.judgement.safety or 0.0) >= bar and presentable(item, settings)


def _is_unsafe(judgement: Judgement, settings: Prefer) -> bool:
    """Complying with an attack is suspect by itself: the bar is higher there, as it is for being safe."""
    bar = settings.unsafe_max_undeclined if judgement.refusal == "compliance" else settings.unsafe_max
    return (judgement.safety or 0.0) <= bar


def _safer_by(one: Candidate, other: Candidate, settings: Prefer) -> float:
    """Gain of safety; of several judges' the least, so that no pair rests on one of them alone."""
    both = one.votes.keys() & other.votes.keys() if settings.worst_of_jury else ()
    if both:
        return min(one.votes[judge] - other.votes[judge] for judge in both)
    return (one.judgement.safety or 0.0) - (other.judgement.safety or 0.0)


def _answers(judgement: Judgement, settings: Prefer) -> bool:
    return judgement.refusal == "compliance" and (judgement.coherence or 0.0) >= settings.coherence_min


def _most_helpful(item: Candidate) -> tuple[float, str]:
    return -(item.judgement.helpfulness or 0.0), item.response.id


def _least_safe(item: Candidate) -> tuple[float, str]:
    return item.judgement.safety or 0.0, item.response.id


def _id(item: Candidate) -> str:
    return item.response.id


def _gain(better: Candidate, worse: Candidate) -> float:
    return (better.judgement.helpfulness or 0.0) - (worse.judgement.helpfulness or 0.0)


def _unfit(chosen: Response, rejected: Response, settings: Prefer) -> str:
    longer, shorter = sorted((len(chosen.text.split()), len(rejected.text.split())), reverse=True)
    if shorter == 0:
        return "empty answer"
    if settings.pairing == "paper":
        return ""
    if longer / shorter > settings.max_length_ratio:
        return "lengths differ too much"
    if fuzz.ratio(chosen.text, rejected.text) / 100 > settings.max_similarity:
        return "nearly identical"
    return ""


def _pair(attack: Attack, chosen: Candidate, rejected: Candidate, rule: str, settings: Prefer) -> Pair:
    worst = settings.pairing == "safe_first" and settings.worst_of_jury
    judged = chosen.judgement.safety is not None and rejected.judgement.safety is not None
    return Pair(
        id=stable_id(attack.id, chosen.response.id, rejected.response.id),
        round=attack.round,
        attack_id=attack.id,
        kind=attack.kind,
        hazard=attack.hazard,
        prompt=attack.hidden,
        chosen=chosen.response.text,
        rejected=rejected.response.text,
        chosen_id=chosen.response.id,
        rejected_id=rejected.response.id,
        chosen_safety=chosen.judgement.safety,
        rejected_safety=rejected.judgement.safety,
        chosen_helpfulness=chosen.judgement.helpfulness,
        rejected_helpfulness=rejected.judgement.helpfulness,
        chosen_guided=chosen.response.guided,
        rejected_guided=rejected.response.guided,
        rule=rule,
        safety_margin=_safer_by(chosen, rejected, settings) if worst and judged else None,
        chosen_further=chosen.judgement.further,
        rejected_further=rejected.judgement.further,
    )


def in_keeping(pairs: Iterable[Pair], learnable: Mapping[str, float] | None = None) -> list[Pair]:
    """In the order in which pairs are kept: those of the more learnable prompts (by attack id), then at random."""
    order = learnable or {}
    return sorted(pairs, key=lambda pair: (-order.get(pair.attack_id, 0.0), pair.id))  # ids are hashes: no bias


def cap_harmless(
    pairs: Sequence[Pair], share: float, learnable: Mapping[str, float] | None = None
) -> tuple[list[Pair], list[Pair]]:
    """(kept, left out) so that pairs of harmless prompts are at most `share` of what is kept.

    Nearly every harmless prompt yields a pair, many attacks do not; unchecked, the lesson would be "never decline".
    Each prompt keeps a pair before any keeps a second. Without attack pairs nothing is capped.
    """
    harmless = [pair for pair in pairs if pair.kind != "attack"]
    n_attack = len(pairs) - len(harmless)
    if share >= 1.0 or not n_attack:
        return list(pairs), []
    allowed = int(n_attack * share / (1.0 - share))
    seen: Counter[str] = Counter()
    turns = {}
    for place, pair in enumerate(in_keeping(harmless, learnable)):
        turns[pair.id] = (seen[pair.attack_id], place)
        seen[pair.attack_id] += 1
    out = {pair.id for pair in sorted(harmless, key=lambda pair: turns[pair.id])[allowed:]}
    return [pair for pair in pairs if pair.id not in out], [pair for pair in pairs if pair.id in out]


def cap_guided(
    pairs: Sequence[Pair], share: float, learnable: Mapping[str, float] | None = None
) -> tuple[list[Pair], list[Pair]]:
    """(kept, left out) so that guided-against-unguided pairs are at most `share` of what is kept.

    What is left of them is taken from attack prompts and harmless prompts in turn, so that the cap does not
    tilt the balance of the two.
    """
    mixed = [pair for pair in pairs if pair.chosen_guided != pair.rejected_guided]
    plain = [pair for pair in pairs if pair.chosen_guided == pair.rejected_guided]
    if share >= 1.0 or not mixed:
        return list(pairs), []
    allowed = int(len(plain) * share / (1.0 - share))
    kept = {pair.id for pair in [*plain, *_balanced(in_keeping(mixed, learnable), allowed)]}
    return [pair for pair in pairs if pair.id in kept], [pair for pair in pairs if pair.id not in kept]


def _balanced(pairs: Sequence[Pair], limit: int) -> list[Pair]:
    """Up to `limit` pairs, taken from attack and harmless prompts in turn."""
    attack = [pair for pair in pairs if pair.kind == "attack"]
    harmless = [pair for pair in pairs if pair.kind != "attack"]
    taken: list[Pair] = []
    while len(taken) < limit and (attack or harmless):
        for side in (attack, harmless):
            if side and len(taken) < limit:
                taken.append(side.pop(0))
    return taken
