"""Does a prompt leave the model room to answer?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from selfmoa.assets import users_own
from selfmoa.errors import UsageError
from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Recipe
from selfmoa.records import Prompt

__all__ = ["Room", "check_hidden", "check_lengths"]

log = logging.getLogger("selfmoa")


class Room:
    """What fits into a model's context beside the longest answer.

    A published prompt that does not fit is left out, for its reader can do nothing about it; one from a file of the
    user's own is an error (`check_lengths`), for it was meant to be asked.
    """

    def __init__(self, recipe: Recipe, model: LanguageModel) -> None:
        self._model, self._system = model, recipe.evaluate.system
        self.tokens = model.context_length - max(
            recipe.generate.sampling.max_new_tokens, recipe.evaluate.max_new_tokens
        )
        """Tokens of a prompt, chat template included, that leave room."""

    def length(self, text: str, system: str = "") -> int:
        """Tokens of a request, below a system prompt if there is one."""
        return self._model.length(Request(user=text, system=system or None))

    def fits(self, prompt: Prompt) -> bool:
        """True for what may be asked in an evaluation, system prompt and all, or must be complained about."""
        return self._may_stay(prompt.source, prompt.text, self._system)

    def rows(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of seed tables without published prompts that do not fit, which are counted in the log."""
        kept = [row for row in rows if self._may_stay(str(row["ref"]), str(row["prompt"]))]
        if len(kept) < len(rows):
            log.warning("%d seeds left out: they do not fit into this model's context.", len(rows) - len(kept))
        return kept

    def _may_stay(self, source: str, text: str, system: str = "") -> bool:
        return users_own(source) or self.length(text, system) <= self.tokens


def check_hidden(recipe: Recipe, model: LanguageModel) -> None:
    """Raise `UsageError` where the longest hidden prompt that is allowed leaves no room for an answer."""
    room = Room(recipe, model).tokens
    longest = model.length(Request(user="")) + recipe.attack.hidden_max_tokens
    if recipe.attack.hide and longest > room:
        raise UsageError(
            f"A hidden prompt may have {longest} tokens (attack.hidden_max_tokens and the chat template); with the "
            f"answer, {room} fit into this model's context of {model.context_length}. "
            "Lower attack.hidden_max_tokens or the answers' max_new_tokens."
        )


def check_lengths(recipe: Recipe, model: LanguageModel, prompts: Sequence[Prompt], *, system: str = "") -> None:
    """Raise `UsageError` where a prompt, below a system prompt if there is one, leaves no room for an answer."""
    room = Room(recipe, model)
    for prompt in prompts:
        length = room.length(prompt.text, system)
        if length > room.tokens:
            raise UsageError(
                f"A prompt of {prompt.source or 'the seeds'} has {length} tokens; with the answer, {room.tokens} fit "
                f"into this model's context of {model.context_length}. Shorten or remove it (prompt id {prompt.id})."
            )
