"""How mixed the model's own answers to each prompt are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from selfmoa.attack import mixed
from selfmoa.records import Attack, Judgement, Response
from selfmoa.run import read_records
from selfmoa.steps._session import Session

__all__ = ["learnable"]


def learnable(
    session: Session, number: int, attacks: Sequence[Attack], judgements: Sequence[Judgement]
) -> dict[str, float]:
    """Attack id -> 4 p (1 - p), p the share of unguided answers that are unsafe (harmless prompts: that do not answer).

    Empty where the recipe does not ask for it; prompts without a judged answer of the model's own are left out.
    """
    if not session.recipe.attack.learnable_share and not session.recipe.prefer.learnable_first:
        return {}
    responses = read_records(session.run.round(number) / "responses.parquet", Response) or []
    own = {response.id for response in responses if not response.guided}
    kinds = {attack.id: attack.kind for attack in attacks}
    flags: dict[str, list[bool]] = defaultdict(list)
    for judged in judgements:
        if judged.response_id not in own:
            continue
        if kinds[judged.attack_id] != "attack" and judged.refusal is not None:
            flags[judged.attack_id].append(judged.refusal != "compliance")
        elif kinds[judged.attack_id] == "attack" and judged.safety is not None:
            flags[judged.attack_id].append(judged.safety <= session.recipe.attack.safety_max)
    return {key: mixed(found) for key, found in flags.items()}
