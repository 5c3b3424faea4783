"""The pool A_t: seeds not yet used and successful expansions (paper, Algorithm 1)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from selfmoa.attack._material import in_turn
from selfmoa.records import Prompt

__all__ = ["Pool"]


class Pool:
    """A0 loses what is sampled; A_t = A0 + the successful expansions, which stay until they are sampled."""

    def __init__(self, seeds: Sequence[Prompt]) -> None:
        self._prompts = {prompt.id: prompt for prompt in seeds}

    def __len__(self) -> int:
        return len(self._prompts)

    def draw(self, k: int, *, seed: int) -> list[Prompt]:
        """Take up to k prompts out of the pool at random, of each data set in turn, without replacement."""
        keys = sorted(self._prompts)
        random.Random(seed).shuffle(keys)
        chosen = in_turn(self._prompts[key] for key in keys)[:k]
        return [self._prompts.pop(prompt.id) for prompt in chosen]

    def enter(self, prompts: Iterable[Prompt]) -> int:
        """Add prompts; returns how many are new."""
        before = len(self._prompts)
        self._prompts.update({prompt.id: prompt for prompt in prompts})
        return len(self._prompts) - before
