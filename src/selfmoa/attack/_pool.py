"""The pool A_t: seeds not yet used and successful expansions (paper, Algorithm 1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from selfmoa.attack._material import in_turn
from selfmoa.records import Prompt

__all__ = ["Pool"]


class Pool:
    """A0 loses what is sampled; A_t = A0 + the successful expansions, which stay until they are sampled."""

    def __init__(self, seeds: Sequence[Prompt]) -> None:
        self._prompts = {prompt.id: prompt for prompt in seeds}

    def __len__(self) -> int:
        return len(self._prompts)

    def draw(self, k: int, *, seed: int, weigh: Callable[[Prompt], float] | None = None) -> list[Prompt]:
        """Take up to k prompts out of the pool at random, of each data set in turn, without replacement.

        With `weigh` (0 or more a prompt) heavier ones come sooner (Efraimidis and Spirakis 2006, weighted draws without
        replacement); those of weight 0 come last.
        """
        keys, rng = sorted(self._prompts), random.Random(seed)
        if weigh is None:
            rng.shuffle(keys)
        else:
            weights = {key: weigh(self._prompts[key]) for key in keys}
            places = {key: rng.random() ** (1.0 / weights[key]) if weights[key] > 0 else 0.0 for key in keys}
            keys.sort(key=lambda key: -places[key])
        chosen = in_turn(self._prompts[key] for key in keys)[:k]
        return [self._prompts.pop(prompt.id) for prompt in chosen]

    def enter(self, prompts: Iterable[Prompt]) -> int:
        """Add prompts; returns how many are new."""
        before = len(self._prompts)
        self._prompts.update({prompt.id: prompt for prompt in prompts})
        return len(self._prompts) - before
