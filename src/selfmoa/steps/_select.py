"""Algorithm 3, the pool update, Algorithm 2, and the figures of a round."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from selfmoa.attack import entering_id, hits
from selfmoa.bench import proportion
from selfmoa.judge import disagreement
from selfmoa.prefer import Candidate, PairingResult, in_keeping, pair_round
from selfmoa.recipe import Prefer
from selfmoa.records import Attack, Dropped, Judgement, Pair, Prompt, Response, Score, Selected
from selfmoa.run import read_records, write_records
from selfmoa.steps._judge import safety_votes
from selfmoa.steps._learnable import learnable
from selfmoa.steps._session import Session
from selfmoa.steps._steady import unsteady

__all__ = ["prefer", "select", "summarise"]


def select(session: Session, number: int, attacks: Sequence[Attack], judgements: Sequence[Judgement]) -> list[Attack]:
    """The attacks that got through: into E_buf and H_buf, and their expansions into the pool."""
    won = hits(attacks, judgements)
    session.learnable = learnable(session, number, attacks, judgements)
    session.tally.add(attacks, won, session.learnable)
    if session.recipe.attack.static:  # nobody learns from what got through, and the pool does not grow
        write_records(session.run.round(number) / "selected.parquet", _events(number, attacks, won, ()), Selected)
        return won
    session.hidings.extend((attack.expansion, attack.hidden) for attack in won if attack.hidden != attack.expansion)
    rewritten = _rewritten(won)
    session.expansions.extend((attack.seed, attack.expansion) for attack in rewritten)
    entering = [
        Prompt(
            id=entering_id(attack.expansion),
            text=attack.expansion,
            kind="attack",
            hazard=attack.hazard,
            source=f"round {number}",
            parent=attack.seed_id,
        )
        for attack in rewritten
    ]
    session.pool.enter(entering)
    write_records(session.run.round(number) / "selected.parquet", _events(number, attacks, won, rewritten), Selected)
    for attack in won:
        session.run.event("hit", attack.id, round=number, seed=attack.seed_id)
    return won


def _rewritten(won: Sequence[Attack]) -> list[Attack]:
    """Those in words of the expander's; a seed that got through as it is teaches it nothing, and was asked."""
    return [attack for attack in won if attack.expansion != attack.seed]


def _events(number: int, attacks: Sequence[Attack], won: Sequence[Attack], entered: Sequence[Attack]) -> list[Selected]:
    asked = [attack for attack in attacks if attack.kind == "attack"]
    return [
        *(Selected(one.id, number, one.seed_id, "left pool", "sampled in this round") for one in asked),
        *(Selected(one.id, number, one.seed_id, "hit", "an answer is unsafe and helpful") for one in won),
        *(Selected(one.id, number, one.seed_id, "entered pool", "its expansion got through") for one in entered),
    ]


def prefer(
    session: Session,
    number: int,
    attacks: Sequence[Attack],
    responses: Sequence[Response],
    judgements: Sequence[Judgement],
    settings: Prefer | None = None,
) -> list[Pair]:
    """The round's preference pairs, which also join P_buf; what was left out is written with its reason.

    `settings` are the recipe's where nobody gives others.
    """
    settings = settings or session.recipe.prefer
    by_id = {response.id: response for response in responses}
    directory = session.run.round(number)
    votes = safety_votes(read_records(directory / "scores.parquet", Score) or [])
    candidates = [Candidate(by_id[item.response_id], item, votes.get(item.response_id, {})) for item in judgements]

    def doubts(pairs: Sequence[Pair]) -> dict[str, str]:
        turned = unsteady(session, number, pairs, attacks, responses)
        session.flips.append((len(turned), sum(pair.kind == "attack" for pair in pairs)))
        return {key: f"order turned by: {', '.join(names)}" for key, names in turned.items()}

    order = session.learnable if settings.learnable_first else {}
    result = _limited(session, pair_round(attacks, candidates, settings, doubts, order), order)
    write_records(directory / "pairs.parquet", result.pairs, Pair)
    write_records(directory / "dropped.parquet", result.dropped, Dropped)
    session.pairs.extend(result.pairs)
    session.gathered += len(result.pairs)
    session.unfinished.update(response.id for response in responses if response.finish == "length")
    for pair in result.pairs:
        session.run.event(
            "pair",
            pair.id,
            attack=pair.attack_id,
            chosen=pair.chosen_id,
            rejected=pair.rejected_id,
            rule=pair.rule,
        )
    return list(result.pairs)


def _limited(session: Session, result: PairingResult, order: Mapping[str, float]) -> PairingResult:
    """No more pairs than `loop.max_pairs` leaves room for."""
    limit = session.recipe.loop.max_pairs
    if limit is None or len(result.pairs) <= limit - session.gathered:
        return result
    kept = {pair.id for pair in in_keeping(result.pairs, order)[: limit - session.gathered]}
    over = [Dropped(pair.round, pair.attack_id, "enough pairs") for pair in result.pairs if pair.id not in kept]
    return PairingResult(tuple(pair for pair in result.pairs if pair.id in kept), (*result.dropped, *over))


def summarise(
    session: Session,
    number: int,
    attacks: Sequence[Attack],
    responses: Sequence[Response],
    won: Sequence[Attack],
    pairs: Sequence[Pair],
    retrained: dict[str, Any] | None,
    restarted: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The figures of a round, as round_NN/summary.json."""
    directory = session.run.round(number)
    dropped = read_records(directory / "dropped.parquet", Dropped) or []
    asked = [attack for attack in attacks if attack.kind == "attack"]
    kept = [attack for attack in asked if attack.status == "kept"]
    to_rewrite = [attack for attack in asked if attack.rewriting_asked]
    entered = 0 if session.recipe.attack.static else len(_rewritten(won))
    written = [attack for attack in asked if attack.status == "kept" or attack.reason.startswith("hid")]
    hidden = [attack for attack in written if not attack.plain]
    return {
        "round": number,
        "k": len(attacks),
        "kept": sum(attack.status == "kept" for attack in attacks),
        "novel": sum(attack.expansion != attack.seed for attack in written),
        "dropped": dict(Counter(attack.reason for attack in attacks if attack.status == "dropped")),
        "hits": len(won),
        "attack_success": proportion(len(won), len(kept)),
        "attacker_refusals": {
            "expander": [sum("expander refused" in (one.reason, one.fell_back) for one in to_rewrite), len(to_rewrite)],
            "hider": [sum(attack.reason == "hider refused" for attack in asked), len(hidden)],
        },
        "pool": {"size_before": len(session.pool) - entered + len(asked), "left": len(asked), "entered": entered},
        "responses": len(responses),
        "guided_responses": sum(response.guided for response in responses),
        "responses_dropped": dict(Counter(item.reason for item in responses if item.status == "dropped")),
        "unscored": _unscored(session, number),
        "jury": _jury(session, number),
        "pairs": len(pairs),
        "pairs_by_kind": dict(Counter(pair.kind for pair in pairs)),
        "pairs_by_hazard": dict(Counter(pair.hazard for pair in pairs)),
        "pairs_by_rule": dict(Counter(pair.rule for pair in pairs)),
        "pair_drops": dict(Counter(item.reason for item in dropped)),
        "less_safe_chosen_share": _share([pair.less_safe_chosen for pair in pairs if pair.kind == "attack"]),
        "guided_share": _share([pair.chosen_guided != pair.rejected_guided for pair in pairs]),
        "mean_logprob_guided": _mean([item.logprob for item in responses if item.guided]),
        "mean_logprob_unguided": _mean([item.logprob for item in responses if not item.guided]),
        "buffer": {"attacks": len(session.expansions), "pairs": len(session.pairs)},
        "retrained": retrained,
        **_if_any(
            restarted=list(restarted),
            next_hazards=session.tally.hazards(session.recipe.attack),
            mixed=[sum(value > 0 for value in session.learnable.values()), len(session.learnable)],
        ),
    }


def _if_any(**facts: Any) -> dict[str, Any]:
    """The facts that there are: these parts of the method are off by default."""
    return {name: value for name, value in facts.items() if value and value != [0, 0]}


def _jury(session: Session, number: int) -> list[dict[str, Any]]:
    """How far the judges of the safety jury part on this round's answers."""
    votes: dict[str, list[Score]] = defaultdict(list)
    for score in read_records(session.run.round(number) / "scores.parquet", Score) or []:
        if score.objective == "safety":
            votes[score.response_id].append(score)
    return disagreement(votes)


def _unscored(session: Session, number: int) -> dict[str, int]:
    scores = read_records(session.run.round(number) / "scores.parquet", Score) or []
    return dict(Counter(score.judge for score in scores if score.value is None))


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
