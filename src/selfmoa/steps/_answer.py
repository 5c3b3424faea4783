"""The target answers each kept prompt m times, a share of them guided (docs/method.md, One round)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from selfmoa.generate import DECLINING_OPENERS, SAFE_SYSTEM_PROMPT, Generation, Request
from selfmoa.judge import first_sentences
from selfmoa.recipe import Sampling
from selfmoa.records import Attack, Response, stable_id
from selfmoa.steps._session import Session

__all__ = ["answer"]


def answer(session: Session, number: int, attacks: Sequence[Attack], *, reviewed: bool = False) -> list[Response]:
    """m responses for every kept prompt; guided ones that the unguided model would hardly say are dropped.

    `reviewed` prompts are those that the target gets wrong. They are asked greedily, as they were when it did: sampled
    answers often are right. The first answer to a harmless one, which it declines, is that of the model as it was.
    """
    plans = [
        _plan(session, attack, index, untrained=reviewed and attack.kind != "attack" and index == 0)
        for attack in attacks
        if attack.status == "kept"
        for index in range(session.recipe.generate.m)
    ]
    directory = session.run.round(number)
    path, settings = directory / "sampled.parquet", session.recipe.generate
    sampling = settings.sampling.model_copy(update={"temperature": 0.0}) if reviewed else settings.sampling
    likelihoods = settings.guided_drop_share > 0
    inputs = (plans, sampling, settings.guided_sentences, likelihoods, session.seed(number, "answer"))
    with session.common(path, "target", *inputs), session.run.measured(f"round {number} sample"):
        sampled = session.run.batched(
            path,
            Response,
            session.batches([request for _, request in plans]),
            lambda batch_number, batch: _sample(session, number, batch_number, [plans[i] for i in batch], sampling),
            label="answer",
        )
    responses = session.run.records(
        directory / "responses.parquet",
        Response,
        lambda: _drop_unlikely(sampled, settings.guided_drop_share),
    )
    for response in responses:
        session.run.event("response", response.id, attack=response.attack_id, guided=response.guided)
    return responses


def _plan(session: Session, attack: Attack, index: int, *, untrained: bool = False) -> tuple[Response, Request]:
    """An empty response that says how it will be got, and its request."""
    settings = session.recipe.generate
    rng = random.Random(session.seed("guide", attack.id, index))
    wanted = settings.m * settings.guided_fraction
    whole = int(wanted)
    n_guided = whole + (random.Random(session.seed("share", attack.id)).random() < wanted - whole)
    guided = index < n_guided and not untrained
    if settings.guidance == "system" and attack.kind != "attack":
        guided = False  # a safe system prompt gives nothing to reject on a harmless prompt
    opener = rng.choice(DECLINING_OPENERS) if guided and settings.guidance == "prefill" else ""
    system = SAFE_SYSTEM_PROMPT if guided and settings.guidance == "system" else None
    response = Response(
        id=stable_id(attack.id, index),
        attack_id=attack.id,
        round=attack.round,
        index=index,
        text="",
        guided=guided,
        opener=opener,
        n_tokens=0,
        finish="eos",
        logprob=None,
        untrained=untrained,
    )
    return response, Request(user=attack.hidden, system=system, prefill=opener)


def _sample(
    session: Session, number: int, batch_number: int, plans: Sequence[tuple[Response, Request]], sampling: Sampling
) -> list[Response]:
    requests = [request for _, request in plans]
    settings = session.recipe.generate
    limit, seed = settings.guided_sentences, session.seed(number, "answer", batch_number)
    sampled: dict[str, Generation] = {}
    for role, untrained in (("target", False), (None, True)):
        asked = [(one, asks) for one, asks in plans if one.untrained == untrained and not _said(one, limit)]
        made = session.sample([asks for _, asks in asked], sampling, role=role, seed=seed) if asked else []
        sampled |= {one.id: text for (one, _), text in zip(asked, made, strict=True)}
    texts = [_text(response, sampled.get(response.id), limit) for response, _ in plans]
    likelihoods = _unguided(session, requests, texts) if settings.guided_drop_share else [None] * len(texts)
    return [
        replace(response, text=text.text.strip(), n_tokens=text.n_tokens, finish=text.finish, logprob=logprob)
        for (response, _), text, logprob in zip(plans, texts, likelihoods, strict=True)
    ]


def _unguided(session: Session, requests: Sequence[Request], texts: Sequence[Generation]) -> list[float | None]:
    """Nats a token of each answer under the target without guidance; to read them takes half as long as to sample."""
    asked = [
        (session.model.render(Request(user=request.user)), text.text)
        for request, text in zip(requests, texts, strict=True)
    ]
    read = session.model.logprobs(asked, role="target", batch_size=session.recipe.judges.batch_size)
    return [total / n_tokens if n_tokens else None for total, n_tokens in read]


def _text(response: Response, sampled: Generation | None, limit: int | None) -> Generation:
    """What the answer says; nothing was sampled where its opener is all of it."""
    if sampled is None:
        return Generation(response.opener, 0, "eos")
    return _ended(sampled, limit) if response.guided else sampled


def _said(response: Response, limit: int | None) -> bool:
    """True where the opener is all that a guided answer may say: there is nothing to sample."""
    if not response.guided or limit is None:
        return False
    return first_sentences(f"{response.opener} And", limit) == response.opener


def _ended(answer: Generation, limit: int | None) -> Generation:
    """A guided answer ends where its sentences are enough, and that is how it is learnt: with the end of its turn."""
    if limit is None:
        return answer
    text = first_sentences(answer.text, limit)
    return replace(answer, text=text, finish="eos") if text != answer.text.rstrip() else answer


def _drop_unlikely(responses: Sequence[Response], share: float) -> list[Response]:
    """Drop this share of the guided answers, those least likely under the unguided model.

    They are measured against each other: an opener of ours is unlikelier than the model's own words, by its nature, and
    the least likely of its own answers is one answer by chance.
    """
    guided = sorted(
        (item for item in responses if item.guided and item.logprob is not None),
        key=lambda item: (item.logprob, item.id),
    )
    unlikely = {item.id for item in guided[: round(share * len(guided))]}
    return [
        replace(item, status="dropped", reason="guided answer too unlikely") if item.id in unlikely else item
        for item in responses
    ]
