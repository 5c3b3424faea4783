"""Answers and verdicts that were made before are not made again: re-judging regenerates nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from selfmoa.generate import Generation, Generator, Request
from selfmoa.judge import Comparison, Evaluator, Item, Objective
from selfmoa.recipe import Sampling
from selfmoa.records import Score
from selfmoa.run import Cache, cache_key

__all__ = ["CachedGenerator", "CachedJudge", "remembered"]

Kept = TypeVar("Kept", Generation, Score, Comparison)


class CachedGenerator:
    """A generator that answers each prompt once; only for greedy text, which no seed changes."""

    def __init__(self, generator: Generator, cache: Cache, weights: str) -> None:
        """`weights` changes with the model's and the adapter's weights."""
        self._generator, self._cache, self._weights = generator, cache, weights

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """One generation a request, in order."""
        settings = sampling.model_dump_json()
        keys = [cache_key("answer", self._weights, role, settings, *asdict(request).values()) for request in requests]

        def make(places: Sequence[int]) -> Sequence[Generation]:
            return self._generator.generate([requests[place] for place in places], sampling, role=role, seed=seed)

        return remembered(self._cache, keys, Generation, make)


class CachedJudge:
    """A judge that is asked about each answer once; an answer that it left unscored is asked about again."""

    def __init__(self, judge: Evaluator, cache: Cache) -> None:
        self.inner, self._cache = judge, cache
        self.name: str = judge.name
        self.objective: Objective = judge.objective

    @property
    def hash(self) -> str:
        """The judge's own."""
        return self.inner.hash

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item, in order."""
        keys = [cache_key("vote", self.hash, item.kind, item.prompt, item.response) for item in items]

        def make(places: Sequence[int]) -> Sequence[Score]:
            return self.inner.score([items[place] for place in places])

        votes = remembered(self._cache, keys, Score, make, keep=lambda vote: vote.value is not None)
        return [replace(vote, response_id=item.id) for vote, item in zip(votes, items, strict=True)]


def remembered(
    cache: Cache,
    keys: Sequence[str],
    kind: type[Kept],
    make: Callable[[Sequence[int]], Sequence[Kept]],
    *,
    keep: Callable[[Kept], bool] = lambda _: True,
) -> list[Kept]:
    """One record a key: those that the cache lacks are made by `make(their places)`."""
    known = {key: kind(**json.loads(text)) for key, text in cache.get(keys).items()}
    missing = [place for place, key in enumerate(keys) if key not in known]
    made = dict(zip((keys[place] for place in missing), make(missing) if missing else (), strict=True))
    cache.put({key: json.dumps(asdict(record)) for key, record in made.items() if keep(record)})
    found = {**known, **made}
    return [found[key] for key in keys]
