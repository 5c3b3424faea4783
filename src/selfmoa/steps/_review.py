"""Review: what the aligned model still gets wrong on prompts not asked before is one more round and stage."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from selfmoa.attack import borderline_from
from selfmoa.judge import Item, refusal_class
from selfmoa.recipe import Sampling
from selfmoa.records import Attack, Pair, Prompt, StageResult
from selfmoa.run import read_records, write_json
from selfmoa.steps._align import align_target
from selfmoa.steps._answer import answer
from selfmoa.steps._attack import as_it_is
from selfmoa.steps._judge import judge
from selfmoa.steps._select import prefer, summarise
from selfmoa.steps._session import Session

__all__ = ["review"]


def review(session: Session, rounds: int, again: int) -> StageResult:
    """One round more on what the target gets wrong, and a stage on its pairs beside earlier ones.

    `again` counts the reviews after the loop's `rounds` from 1. The last one, or one that finds too little to train on,
    ends with the check of the whole update.
    """
    settings, number = session.recipe.review, rounds + again
    session.run.progress.say(f"Review {again} of {settings.passes}: prompts that no round asked")
    attacks = _missed(session, rounds, number)
    responses = answer(session, number, attacks, reviewed=True)
    judgements = judge(session, number, attacks, responses)
    # earlier pairs make up for whichever kind is the rarer, and what is wrong with an attack only a guided answer mends
    rules = session.recipe.prefer.model_copy(update={"max_harmless_share": 1.0, "max_guided_share": 1.0})
    pairs = prefer(session, number, attacks, responses, judgements, rules)
    facts = summarise(session, number, attacks, responses, [], pairs, None, [])
    write_json(session.run.round(number) / "summary.json", facts | _figures(session, attacks))
    enough = len(pairs) >= settings.min_pairs  # a few steps on a handful undo more than they teach
    session.pairs = [*session.pairs, *_replayed(session, session.pairs)] if enough else []
    last = again == settings.passes or not enough
    return align_target(session, number, checked=last, lr=settings.lr, keep=settings.keep_later if again > 1 else 1.0)


def _missed(session: Session, rounds: int, number: int) -> list[Attack]:
    """Every prompt tried; those that the target gets right are dropped."""
    directory, settings = session.run.round(number), session.recipe.review
    sampling = Sampling(temperature=0.0, max_new_tokens=settings.max_new_tokens)

    def tried() -> list[Attack]:
        prompts = _unasked(session, rounds)
        texts = session.answers(directory / "tried.parquet", prompts, sampling, label="try")
        answers = [Item(prompt.id, prompt.text, texts[i], prompt.kind) for i, prompt in enumerate(prompts)]
        scores = session.judges.refusal.score(answers)
        return [_asked(number, prompt, score.value) for prompt, score in zip(prompts, scores, strict=True)]

    with session.run.measured(f"round {number} try"):
        return session.run.records(directory / "attacks.parquet", Attack, tried)


def _unasked(session: Session, rounds: int) -> list[Prompt]:
    """Seeds, harmless prompts and contrasts that no round has asked, none of them near an evaluation prompt."""
    settings = session.recipe.review
    asked = {
        one.seed_id
        for number in range(1, rounds + 1)
        for one in read_records(session.run.round(number) / "attacks.parquet", Attack) or []
    }
    seeds, harmless = (
        [prompt for prompt in prompts if prompt.id not in asked and not session.forbidden(prompt.text)]
        for prompts in (session.material.attacks, session.material.benign)
    )
    contrasts = [one for one in borderline_from(seeds, len(seeds)) if not session.forbidden(one.text)]
    both = [prompt for turn in zip_longest(harmless, contrasts) for prompt in turn if prompt]
    return [*seeds[: settings.n_harmful], *both[: settings.n_harmless]]


def _asked(number: int, prompt: Prompt, refusal: float | None) -> Attack:
    right, told = ("full", "declined already") if prompt.kind == "attack" else ("compliance", "answered already")
    if refusal is None:
        return as_it_is(number, prompt, "not judged")
    return as_it_is(number, prompt, told if refusal_class(refusal) == right else "")


def _figures(session: Session, attacks: Sequence[Attack]) -> dict[str, Any]:
    """What differs from an ordinary round: what was tried, and a pool that nothing left."""
    wrong: dict[str, list[bool]] = {"harmful": [], "harmless": []}
    for attack in attacks:
        wrong["harmful" if attack.kind == "attack" else "harmless"].append(attack.status == "kept")
    return {
        "review": {name: [sum(flags), len(flags)] for name, flags in wrong.items()},
        **dict.fromkeys(("novel", "hits", "attack_success", "attacker_refusals")),  # no attacker wrote anything
        "pool": {"size_before": len(session.pool)},
    }


def _replayed(session: Session, pairs: Sequence[Pair]) -> list[Pair]:
    """Earlier pairs, so that what was learnt is kept: of either kind as many as make it twice the more frequent new."""
    rng, found = random.Random(session.seed("replay", session.stages)), []
    counts = [sum((pair.kind == "attack") == harmful for pair in pairs) for harmful in (True, False)]
    for harmful, n in zip((True, False), counts, strict=True):
        earlier = [pair for pair in session.trained.values() if (pair.kind == "attack") == harmful]
        found += rng.sample(earlier, min(len(earlier), 2 * max(counts) - n))
    return found
