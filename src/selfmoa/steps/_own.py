"""Everyday requests that the model writes itself, in the user's place (Magpie, arXiv 2406.08464).

Seed sets of harmless prompts are small and of few kinds, and a model declines what is unlike them. What a chat model
writes where the user should speak is much like what it was tuned to answer.
"""

from __future__ import annotations

import logging

from selfmoa.assets import is_excluded
from selfmoa.attack import Material, Turn, other_forms, with_own
from selfmoa.bench import Fence
from selfmoa.generate import LanguageModel
from selfmoa.judge import Intent
from selfmoa.recipe import OWN_APART, Recipe, Sampling
from selfmoa.run import Run

__all__ = ["add_own", "turn_of"]

log = logging.getLogger("selfmoa")

_SAMPLING = Sampling(temperature=0.8, top_p=0.9, max_new_tokens=48)
_SPARE = 1.6
"""Times as many are written as are wanted: some are unfinished, repeat each other or sound harmful."""
_WORDS = range(3, 41)
_HARM = 0.5


def add_own(run: Run, model: LanguageModel, material: Material, fence: Fence, intent: Intent) -> Material:
    """The material with `seeds.own` prompts more, some of them for the stage check; `own_prompts.json` keeps them.

    None repeats an evaluation or development prompt, none is more likely harmful than not by the run's own head. A
    model without a chat template to speak of may write fewer; the log says so.
    """
    wanted = run.recipe.seeds.own
    texts = run.json(run.directory / "own_prompts.json", lambda: _written(run, model, fence, intent, wanted))
    if len(texts) < wanted:
        log.warning("The model wrote %d usable prompts of its own; seeds.own asks for %d.", len(texts), wanted)
    dev = texts[::OWN_APART] if run.recipe.stage.check else []
    apart = Fence(dev)
    loop = [text for text in texts if text not in dev and not apart.touches(text)]
    return with_own(material, dev, loop, turn_of(run.recipe, fence))


def turn_of(recipe: Recipe, fence: Fence) -> Turn | None:
    """How the recipe asks seeds in their other form, where that touches no evaluation prompt."""
    return other_forms(recipe.attack.other_form_share, touches=fence.touches, seed=recipe.seed)


def _written(run: Run, model: LanguageModel, fence: Fence, intent: Intent, wanted: int) -> list[str]:
    written = model.user_turns(round(wanted * _SPARE), _SAMPLING, seed=run.recipe.seed)
    unique = list(dict.fromkeys(one.text for one in written if one.finish == "eos" and len(one.text.split()) in _WORDS))
    fit = [text for text in unique if not is_excluded(text) and not fence.touches(text)]
    return [text for text, harm in zip(fit, intent.harm(fit), strict=True) if harm < _HARM][:wanted]
