"""The pool A_t: seeds not yet used and successful expansions (paper, Algorithm 1)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from selfmoa.records import Prompt

__all__ = ["Pool"]


class Pool:
    """A0 loses what is sampled; A_t = A0 + the successful expansions, which stay until they are sampled."""

    def __init__(self, seeds: Sequence[Prompt]) -> None:
        self._prompts = {prompt.id: prompt for prompt in seeds}

    def __len__(self) -> int:
        return len(self._prompts)

    def draw(self, k: int, *, seed: int) -> list[Prompt]:
        """Take up to k prompts out of the pool, without replacement; successful expansions first get no favour."""
        chosen = random.Random(seed).sample(sorted(self._prompts), min(k, len(self._prompts)))
        return [self._prompts.pop(key) for key in chosen]

    def enter(self, prompts: Iterable[Prompt]) -> int:
        """Add prompts; returns how many are new."""
        before = len(self._prompts)
        self._prompts.update({prompt.id: prompt for prompt in prompts})
        return len(self._prompts) - before
