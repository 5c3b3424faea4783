"""Attacks put in another form: inside public templates, in a style, or as a run's own hider would put them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from selfmoa.assets import STYLES, TEMPLATE_SLOT, fill_template, goal_of
from selfmoa.errors import UsageError, nearest
from selfmoa.recipe import DataRef, EvalSet, WrapRef
from selfmoa.records import Prompt, stable_id

__all__ = ["HIDER", "Hide", "rank", "wrap"]

HIDER = "run:hider"
_STYLE, _PLAIN = "style:", "style:plain"
Hide = Callable[[Sequence[Prompt]], Sequence[tuple[str, str]]]
"""Prompts -> (the same request in another form, why it cannot be used or '')."""
_Loader = Callable[[DataRef], Sequence[Mapping[str, Any]]]


def wrap(
    prompts: Sequence[Prompt], settings: EvalSet, seed: int, load: _Loader, hide: Hide | None
) -> tuple[tuple[Prompt, ...], list[tuple[Prompt, str]]]:
    """The prompts, each in one of the wrappings that the set names, and those left out, with the reason.

    The wrappings take the prompts of every source in turn, so each has a subset of its own. A style takes only
    requests whose goal can be told; the next wrapping takes the others. A wrapped prompt has an id of its own, the
    plain one's as its parent, and the plain request for the judges.
    """
    if not settings.wrap:
        return tuple(prompts), []
    wrappers = [_wrapper(ref, settings, seed, load, hide) for ref in settings.wrap]
    places = _in_turn(prompts, [ref.ref for ref in settings.wrap])
    made: dict[str, Prompt] = {}
    left_out = [(prompt, "no wrapping takes it") for prompt in prompts if places[prompt.id] is None]
    for number, (ref, wrapper) in enumerate(zip(settings.wrap, wrappers, strict=True)):
        mine = [prompt for prompt in prompts if places[prompt.id] == number]
        for prompt, (text, reason) in zip(mine, wrapper(mine) if mine else (), strict=True):
            if reason:
                left_out.append((prompt, reason))
            else:
                made[prompt.id] = _wrapped(prompt, text, ref)
    return tuple(made[prompt.id] for prompt in prompts if prompt.id in made), left_out


def _wrapped(prompt: Prompt, text: str, ref: WrapRef) -> Prompt:
    name = PurePath(ref.ref.partition(":")[2] or ref.ref).stem
    if ref.ref == _PLAIN:
        return replace(prompt, wrapping=name)
    return replace(
        prompt, id=stable_id("wrapped", text), text=text, parent=prompt.id, request=prompt.text, wrapping=name
    )


def _in_turn(prompts: Sequence[Prompt], refs: Sequence[str]) -> dict[str, int | None]:
    """Id of a prompt -> place of its wrapping; None where none takes it."""
    styled = [ref.startswith(_STYLE) and ref != _PLAIN for ref in refs]
    seen: Counter[str] = Counter()
    found: dict[str, int | None] = {}
    for prompt in prompts:
        turn = seen[prompt.source]
        seen[prompt.source] += 1
        able = bool(goal_of(prompt.text))
        order = [(turn + step) % len(refs) for step in range(len(refs))]
        found[prompt.id] = next((place for place in order if able or not styled[place]), None)
    return found


def _wrapper(ref: WrapRef, settings: EvalSet, seed: int, load: _Loader, hide: Hide | None) -> Hide:
    if ref.ref == HIDER:
        if hide is None:
            raise UsageError(
                f"{HIDER} stands for the hider of the run that made the adapter, and there is none here: evaluate a "
                "run (selfmoa evaluate RUN --suite jailbreak-run), name its adapter (--adapter RUN/adapter) or leave "
                "it out."
            )
        return hide
    if ref.ref.startswith(_STYLE):
        return _style(ref.ref.removeprefix(_STYLE))
    return _templates(ref, ref.words or settings.wrap_words, seed, load)


def _style(name: str) -> Hide:
    if f"{_STYLE}{name}" == _PLAIN:
        return lambda prompts: [(prompt.text, "") for prompt in prompts]
    if name not in STYLES:
        raise UsageError(f"There is no style {name!r} (plain, {', '.join(STYLES)}).{nearest(name, list(STYLES))}")
    ways = STYLES[name]
    return lambda prompts: [(ways[i % len(ways)](goal_of(prompt.text)), "") for i, prompt in enumerate(prompts)]


def _templates(ref: WrapRef, words: int, seed: int, load: _Loader) -> Hide:
    """The templates of a table, in an order drawn by seed."""
    texts = {str(row["prompt"]) for row in load(ref)}
    fitting = [text for text in texts if TEMPLATE_SLOT in text and len(text.split()) <= words]
    if not fitting:
        raise UsageError(
            f"No template of {ref.ref} has {TEMPLATE_SLOT} and at most {words} words; raise wrap_words or name another "
            "table."
        )
    templates = sorted(fitting, key=lambda text: rank(seed, text))
    return lambda prompts: [
        (fill_template(templates[i % len(templates)], prompt.text), "") for i, prompt in enumerate(prompts)
    ]


def rank(seed: int, text: str) -> str:
    """What texts are sorted by where an order is drawn by seed: the place of one does not depend on the others."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()
