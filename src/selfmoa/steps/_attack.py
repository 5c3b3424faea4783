"""Write a round's prompts: expand, hide, add harmless ones (docs/method.md, One round)."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from selfmoa.attack import borderline_from, expand_request, hide_request, judge_expansion, judge_hidden
from selfmoa.records import Attack, Draft, Prompt, stable_id
from selfmoa.run import read_records
from selfmoa.steps._session import Session

__all__ = ["write_attacks"]


def write_attacks(session: Session, number: int) -> list[Attack]:
    """All prompts of round `number`, kept and dropped; the pool loses the seeds drawn."""
    settings = session.recipe.attack
    n_harmless = round(settings.k * settings.benign_fraction)
    weigh, hazards = session.tally.weigh(settings), session.tally.hazards(settings)
    if weigh:
        session.run.event("weighted draw", str(number), hazards=hazards)
    seeds = session.pool.draw(settings.k - n_harmless, seed=session.seed(number, "draw"), weigh=weigh)
    path = session.run.round(number) / "attacks.parquet"
    expansions = [as_it_is(number, seed) for seed in seeds] if settings.static else _expand(session, number, seeds)
    with session.run.measured(f"round {number} attack"):
        hidden = _hide(session, number, [attack for attack in expansions if _to_hide(attack)])
    attacks = session.run.records(
        path,
        Attack,
        lambda: [
            *(_hidden(session, attack, hidden) for attack in expansions),
            *_harmless(session, number, n_harmless, seeds),
        ],
    )
    for attack in attacks:
        if attack.status == "kept":
            session.history.add(attack.expansion)
        session.run.event(
            "attack",
            attack.id,
            round=number,
            seed=attack.seed_id,
            kind=attack.kind,
            status=attack.status,
            reason=attack.reason,
        )
    return attacks


def _to_hide(attack: Attack) -> bool:
    return attack.status == "kept" and not attack.plain


def _expand(session: Session, number: int, seeds: Sequence[Prompt]) -> list[Attack]:
    """One attack a seed: the first of its expansions that is novel, otherwise dropped with the last reason.

    Seeds that are not rewritten, or fall back, are asked as they are.
    """
    settings, step = session.recipe.attack, f"round {number} attack"
    share = random.Random(session.seed(number, "rewritten"))
    rewritten = [seed for seed in seeds if share.random() < settings.rewritten]
    requests = [expand_request(seed.text) for seed in rewritten for _ in range(settings.tries)]
    path, seeded = session.run.round(number) / "expansions.parquet", session.seed(number, "expand")

    def write(batch_number: int, batch: Sequence[int]) -> list[Draft]:
        seed = session.seed(number, "expand", batch_number)
        texts = session.sample([requests[i] for i in batch], settings.expand.sampling, role="expander", seed=seed)
        return [Draft(str(i), text.text.strip(), text.n_tokens) for i, text in zip(batch, texts, strict=True)]

    common = session.common(path, "expander", requests, settings.expand.sampling, seeded)
    with common, session.run.measured(step):
        drafts = session.run.batched(path, Draft, session.batches(requests), write, label="expand")
    by_index = {int(draft.id): draft.text for draft in drafts}
    distinct = list(dict.fromkeys(by_index.values()))
    rng = random.Random(session.seed(number, "plain"))
    attacks = {}
    with session.run.measured(step):
        harm = dict(zip(distinct, session.intent.harm(distinct), strict=True)) if session.intent else {}
        harmless = {text for text, value in harm.items() if value < settings.min_harm}
        for place, seed in enumerate(rewritten):
            texts = [by_index[place * settings.tries + attempt] for attempt in range(settings.tries)]
            plain = not settings.hide or rng.random() < settings.plain_fraction
            attack = _expansion(session, number, seed, texts, harmless, plain=plain)
            attacks[seed.id] = _fallen_back(number, seed, attack) if settings.fall_back else attack
    return [attacks.get(seed.id) or as_it_is(number, seed) for seed in seeds]


def _fallen_back(number: int, seed: Prompt, attack: Attack) -> Attack:
    """The attack, or its seed as it is where it was dropped; that the expander failed is kept."""
    if attack.status == "kept":
        return attack
    return replace(as_it_is(number, seed), attacker_refused=attack.attacker_refused, fell_back=attack.reason)


def _expansion(
    session: Session, number: int, seed: Prompt, texts: Sequence[str], harmless: Collection[str], *, plain: bool
) -> Attack:
    refused = False
    for text in texts:
        score, reason = judge_expansion(
            seed.text,
            text,
            settings=session.recipe.attack,
            history=session.history,
            forbidden=session.forbidden,
        )
        if not reason and text in harmless:
            reason = "expansion asks for no harm"
        if session.refuses(text):  # whatever else is wrong with it: the refusal rate decides on a restart
            reason, refused = "expander refused", True
        if not reason:
            session.history.add(text)
            break
    return replace(
        _written(number, seed, text, plain=plain),
        bleu=score,
        status="dropped" if reason else "kept",
        reason=reason,
        attacker_refused=refused,
    )


def _written(number: int, seed: Prompt, text: str, *, plain: bool) -> Attack:
    """An attack with this text, not yet hidden, or a harmless prompt. A contrast counts as its seed's."""
    return Attack(
        id=stable_id(number, seed.id, seed.kind),
        round=number,
        kind=seed.kind,
        hazard=seed.hazard,
        seed_id=(seed.parent or seed.id) if seed.kind == "borderline" else seed.id,
        seed=seed.text,
        expansion=text,
        hidden=text,
        plain=plain,
        bleu=None,
    )


def _hide(session: Session, number: int, attacks: Sequence[Attack]) -> dict[str, Draft]:
    settings = session.recipe.attack
    requests = [hide_request(attack.expansion) for attack in attacks]

    def write(batch_number: int, batch: Sequence[int]) -> list[Draft]:
        seed = session.seed(number, "hide", batch_number)
        texts = session.sample([requests[i] for i in batch], settings.hider.sampling, role="hider", seed=seed)
        return [Draft(attacks[i].id, text.text.strip(), text.n_tokens) for i, text in zip(batch, texts, strict=True)]

    path = session.run.round(number) / "hidden.parquet"
    drafts = session.run.batched(path, Draft, session.batches(requests), write, label="hide")
    return {draft.id: draft for draft in drafts}


def _hidden(session: Session, attack: Attack, drafts: dict[str, Draft]) -> Attack:
    if not _to_hide(attack):
        return attack
    draft = drafts[attack.id]
    refused = session.refuses(draft.text)
    reason = (
        "hider refused"
        if refused
        else judge_hidden(
            draft.text,
            max_tokens=session.recipe.attack.hidden_max_tokens,
            n_tokens=draft.n_tokens,
            forbidden=session.forbidden,
        )
    )
    return replace(
        attack,
        hidden=draft.text,
        status="dropped" if reason else "kept",
        reason=reason,
        attacker_refused=attack.attacker_refused or refused,
    )


def _harmless(session: Session, number: int, n: int, seeds: Sequence[Prompt]) -> list[Attack]:
    """Borderline contrasts of this round's own seeds and plain benign prompts; never attacks."""
    borderline = borderline_from(seeds, round(n * session.recipe.attack.borderline_fraction))
    order = session.material.benign
    n_benign = min(n - len(borderline), len(order))
    start = sum(_asked_benign(session, earlier) for earlier in range(1, number))
    benign = [order[(start + place) % len(order)] for place in range(n_benign)]
    return [as_it_is(number, prompt, session.forbidden(prompt.text)) for prompt in [*borderline, *benign]]


def _asked_benign(session: Session, number: int) -> int:
    """Plain benign prompts of a round, which are fewer where its seeds gave more contrasts."""
    attacks = read_records(session.run.round(number) / "attacks.parquet", Attack) or []
    return sum(attack.kind == "benign" for attack in attacks)


def as_it_is(number: int, prompt: Prompt, reason: str = "") -> Attack:
    """A prompt that is asked in its own words, or left out for the reason."""
    asked = _written(number, prompt, prompt.text, plain=True)
    return replace(asked, status="dropped" if reason else "kept", reason=reason)
