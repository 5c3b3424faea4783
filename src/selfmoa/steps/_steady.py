"""Do the training judges still prefer a pair's chosen answer once both answers are changed without changing content?"""

from __future__ import annotations

from collections.abc import Sequence

from selfmoa.judge import PERTURBATIONS, Item, Probe
from selfmoa.records import PERTURBED, Attack, Pair, Response, Score
from selfmoa.steps._judge import combined, voted
from selfmoa.steps._session import Session

__all__ = ["unsteady"]


def unsteady(
    session: Session, number: int, pairs: Sequence[Pair], attacks: Sequence[Attack], responses: Sequence[Response]
) -> dict[str, list[str]]:
    """Id of each attack pair whose order turns -> the changes that turn it (`prefer.perturbations`).

    The same change is made to both answers, so a judge who only adds the same to both turns nothing. Votes on the
    changed answers are kept in `perturbed.parquet`.
    """
    names = session.recipe.prefer.perturbations
    asked = [pair for pair in pairs if pair.kind == "attack"]
    if not names or not asked or session.recipe.prefer.pairing != "safe_first":
        return {}
    requests = {attack.id: attack.expansion for attack in attacks}
    texts = {response.id: response.text for response in responses}
    wanted = {key: pair.attack_id for pair in asked for key in (pair.chosen_id, pair.rejected_id)}
    items = [
        item
        for key, attack_id in sorted(wanted.items())
        for item in _changed(key, requests[attack_id], texts[key], names)
    ]
    size = session.recipe.judges.batch_size * 2

    def score(_: int, batch: Sequence[Item]) -> list[Score]:
        session.context.memory.clear()
        return [vote for judge in session.judges.safety for vote in judge.score(batch)]

    with session.run.measured(f"round {number} score"):
        votes = session.run.batched(
            session.run.round(number) / "perturbed.parquet",
            Score,
            [items[start : start + size] for start in range(0, len(items), size)],
            score,
            label="changed answers",
            **voted(session),
        )
    values = combined(session, votes)
    turned = {pair.id: [name for name in names if _turned(pair, name, values)] for pair in asked}
    return {key: found for key, found in turned.items() if found}


def _changed(key: str, request: str, text: str, names: Sequence[str]) -> list[Item]:
    probe = Probe(key, request, text)
    made = [(change.name, change.change(probe)) for change in PERTURBATIONS if change.name in names]
    return [Item(f"{key}{PERTURBED}{name}", *found) for name, found in made if found is not None]


def _turned(pair: Pair, name: str, values: dict[tuple[str, str], float | None]) -> bool:
    chosen, rejected = (values.get((f"{key}{PERTURBED}{name}", "safety")) for key in (pair.chosen_id, pair.rejected_id))
    return chosen is not None and rejected is not None and chosen <= rejected
