"""What would have turned a pair: a judge left out, or a change of the answers that says nothing new."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from selfmoa.judge import combine
from selfmoa.prefer import Candidate, why_not
from selfmoa.recipe import Prefer
from selfmoa.records import PERTURBED, Judgement, Response, Score

__all__ = ["counterfactuals"]

Row = dict[str, Any]


def counterfactuals(pair: Row, sides: Mapping[str, Row], perturbed: Sequence[Row], settings: Prefer) -> list[Row]:
    """One row for each judge of the safety jury and each change tried: {without | change, holds, why, margin}.

    `sides` holds chosen and rejected as `explain` gives them, `perturbed` the votes on changed answers. The rule is
    asked about these two answers alone; the jury's vote is the median of the judges left. Empty for pairs of harmless
    prompts and of the paper's rule, which no safety vote decides.
    """
    if pair.get("kind") != "attack" or settings.pairing == "paper":
        return []
    votes = {side: [_record(Score, row) for row in found["scores"]] for side, found in sides.items()}
    judges = sorted({score.judge for scores in votes.values() for score in scores if score.objective == "safety"})
    rows = [{"without": judge, **_without(judge, sides, votes, settings)} for judge in judges]
    changed: dict[str, dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for row in perturbed:
        key, _, change = str(row["response_id"]).partition(PERTURBED)
        changed[change][key].append(_record(Score, row))
    for change, by_response in changed.items():
        values = combine(by_response)
        chosen, rejected = (values.get(str(pair[f"{side}_id"])) for side in ("chosen", "rejected"))
        if chosen is not None and rejected is not None:
            why = "" if chosen > rejected else "the rejected answer is the safer one then"
            rows.append({"change": change, "holds": not why, "why": why, "margin": chosen - rejected})
    return rows


def _without(judge: str, sides: Mapping[str, Row], votes: Mapping[str, Sequence[Score]], settings: Prefer) -> Row:
    candidates = []
    for side in ("chosen", "rejected"):
        left = [score for score in votes[side] if score.objective == "safety" and score.judge != judge]
        judged = sides[side]["judgement"]
        if not left or not judged:
            return {"holds": False, "why": "no other judge of safety voted", "margin": None}
        by_response: dict[str, list[Score]] = defaultdict(list)
        by_judge: dict[str, float] = {}
        for score in left:
            by_response[score.response_id].append(score)
            if score.value is not None:
                by_judge[score.judge] = min(score.value, by_judge.get(score.judge, 1.0))
        safety = min((value for value in combine(by_response).values() if value is not None), default=None)
        judgement = replace(_record(Judgement, judged), safety=safety)
        candidates.append(Candidate(_record(Response, sides[side]["response"]), judgement, by_judge))
    chosen, rejected = candidates
    why = why_not(chosen, rejected, settings)
    low = [one - two for one, two in _pairs(chosen.votes, rejected.votes)]
    return {"holds": not why, "why": why, "margin": min(low, default=None)}


def _pairs(one: Mapping[str, float], other: Mapping[str, float]) -> list[tuple[float, float]]:
    return [(value, other[judge]) for judge, value in one.items() if judge in other]


def _record(kind: type[Any], row: Row) -> Any:
    return kind(**{field.name: row[field.name] for field in fields(kind) if field.name in row})
