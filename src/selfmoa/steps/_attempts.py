"""How often an attack succeeds if it may be tried several times: sampled answers to the harmful prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from selfmoa import bench
from selfmoa.bench import Answer, GateJudges, Measured, SetName
from selfmoa.records import Prompt, stable_id
from selfmoa.steps._session import Evaluation

__all__ = ["attempt", "with_attempts"]


def attempt(session: Evaluation, name: str, system: str | None = None) -> list[Answer]:
    """`evaluate.attempts` answers of the target as it is now to every harmful prompt; those to one prompt together."""
    recipe, run = session.recipe, session.run
    settings, size = recipe.evaluate, recipe.generate.batch_size
    prompts = [(kind, prompt) for kind, prompt in session.sets.prompts() if kind == "harmful"]
    prompts.sort(key=lambda asked: (-len(asked[1].text), asked[1].id))
    order = [(asked, number) for asked in prompts for number in range(settings.attempts)]
    if not order:
        return []

    def write(batch_number: int, batch: Sequence[tuple[tuple[SetName, Prompt], int]]) -> list[Answer]:
        made = bench.answer_batch(
            session.model,
            [asked for asked, _ in batch],
            role="target",
            max_new_tokens=settings.max_new_tokens,
            seed=session.seed("attempts", batch_number),
            system=system,
            temperature=settings.attempts_temperature,
        )
        numbers = [number for _, number in batch]
        return [replace(one, id=stable_id(one.id, number)) for one, number in zip(made, numbers, strict=True)]

    return run.batched(
        run.directory / "evaluation" / f"attempts_{name}.parquet",
        Answer,
        [order[start : start + size] for start in range(0, len(order), size)],
        write,
        label=f"attempts {name}",
    )


def with_attempts(
    items: Sequence[Measured], attempts: Sequence[Answer], judges: GateJudges, *, max_unscored: float
) -> list[Measured]:
    """The items with what the judges of safety and refusal say of the sampled answers to the same prompts."""
    if not attempts:
        return list(items)
    tried = defaultdict(list)
    for found in bench.score(attempts, judges, objectives=("safety", "refusal"), max_unscored=max_unscored):
        tried[found.prompt_id].append(found)
    return [
        replace(item, attempts=len(tried[item.prompt_id]), any_success=bench.any_success(tried[item.prompt_id]))
        if item.prompt_id in tried
        else item
        for item in items
    ]
