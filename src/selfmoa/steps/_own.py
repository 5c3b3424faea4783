"""Everyday requests that the model writes itself, in the user's place (Magpie, arXiv 2406.08464).

Seed sets of harmless prompts are small and of few kinds, and a model declines what is unlike them. What a chat model
writes where the user should speak is much like what it was tuned to answer. Left alone, it asks and tells; two thirds
of its turns are therefore begun for it as orders, for attacks are orders, and it would learn to decline the form.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import cycle, islice

from selfmoa.assets import is_excluded
from selfmoa.attack import OWN, OWN_FORMS, OWN_ORDERS, Material, Turn, other_forms, with_own
from selfmoa.bench import Fence
from selfmoa.generate import LanguageModel
from selfmoa.judge import Intent
from selfmoa.recipe import OWN_APART, OWN_SPARE, OWN_TOKENS, Recipe, Sampling
from selfmoa.run import Run

__all__ = ["add_own", "turn_of"]

log = logging.getLogger("selfmoa")

_SAMPLING = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=OWN_TOKENS)
_SOURCES = (OWN, OWN_ORDERS, OWN_FORMS)
_WORDS = range(3, 41)
_HARM = 0.5
_FIRST = 2
"""Words of an attack that make its form: "Create a", "Provide step-by-step"."""
_ORDERS = (
    "Suggest",
    "Write a short",
    "Create a list",
    "Design a poster",
    "Give me",
    "Make a plan",
    "List",
    "Describe",
    "Write an email",
    "Create a new",
    "Name",
    "Generate a",
    "Come up with",
    "Recommend",
    "Explain",
    "Design a game",
    "Make a list",
    "Tell me",
    "Propose a",
    "Draft a",
    "Write a story",
    "Plan a",
    "Provide",
    "Create a recipe",
    "Compare",
    "Find",
    "Design a simple",
    "Write instructions",
)
"""First words of everyday orders. "Create" or "Design" alone would nearly always go on as a programming task."""


def add_own(run: Run, model: LanguageModel, material: Material, fence: Fence, intent: Intent) -> Material:
    """The material with `seeds.own` prompts more, some of them for the stage check; `own_prompts.json` keeps them.

    None repeats an evaluation or development prompt, none is more likely harmful than not by the run's own head. A
    model without a chat template to speak of may write fewer; the log says so.
    """
    path, wanted = run.directory / "own_prompts.json", run.recipe.seeds.own
    written = run.json(path, lambda: _written(run, model, material, fence, intent))
    found = sum(map(len, written.values()))
    if found < wanted:
        log.warning("The model wrote %d usable prompts of its own; seeds.own asks for %d.", found, wanted)
    apart = {source: texts[::OWN_APART] if run.recipe.stage.check else [] for source, texts in written.items()}
    kept_apart = Fence([text for texts in apart.values() for text in texts])
    for source, texts in written.items():
        loop = [text for text in texts if text not in apart[source] and not kept_apart.touches(text)]
        turn = turn_of(run.recipe, fence) if source == OWN else None  # orders are wanted as orders
        material = with_own(material, source, apart[source], loop, turn)
    return material


def turn_of(recipe: Recipe, fence: Fence) -> Turn | None:
    """How the recipe asks seeds in their other form, where that touches no evaluation prompt."""
    return other_forms(recipe.attack.other_form_share, touches=fence.touches, seed=recipe.seed)


def _openings(material: Material) -> list[Sequence[str]]:
    """First words to go on from, one list a source; an attack's as often as attacks have them, if any is an order."""
    attacks = (prompt.text for prompt in material.attacks if not prompt.text.endswith("?"))
    forms = [" ".join(words[:_FIRST]) for words in map(str.split, attacks) if len(words) > 2 * _FIRST]
    return [[""], _ORDERS, forms or _ORDERS]


def _written(run: Run, model: LanguageModel, material: Material, fence: Fence, intent: Intent) -> dict[str, list[str]]:
    wanted = run.recipe.seeds.own
    shares = {source: len(range(place, wanted, len(_SOURCES))) for place, source in enumerate(_SOURCES)}
    asked = [
        (source, opening)
        for source, openings, spare in zip(_SOURCES, _openings(material), OWN_SPARE, strict=True)
        for opening in islice(cycle(openings), round(shares[source] * spare))
    ]
    turns = model.user_turns([opening for _, opening in asked], _SAMPLING, seed=run.recipe.seed)
    sources = {
        turn.text: source
        for (source, _), turn in zip(asked, turns, strict=True)
        if turn.finish == "eos" and len(turn.text.split()) in _WORDS
    }
    fit = [text for text in sources if not is_excluded(text) and not fence.touches(text)]
    safe = [text for text, harm in zip(fit, intent.harm(fit), strict=True) if harm < _HARM]
    return {source: [text for text in safe if sources[text] == source][:share] for source, share in shares.items()}
