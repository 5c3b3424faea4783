"""Prompts read once: equal ones share a row, and what all begin with (a system prompt) is read for all together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

__all__ = ["Prompts", "batches_by_prompt", "in_batches", "left_padded", "read_prompts"]

_WORTH_SHARING = 8
"""Tokens of a common beginning from which on a pass of its own is cheaper than reading it in every row."""

Tokens = Sequence[int]


@dataclass
class Prompts:
    """What the model remembers of N prompts, one row each."""

    cache: Any
    mask: torch.Tensor
    """(N, tokens), 0 where a row is padded."""
    position: torch.Tensor
    """(N,) place of each prompt's last token."""
    owners: list[int]
    """Which row of the last forward pass belongs to each prompt."""

    def keep(self, places: Sequence[int]) -> None:
        """Only these rows, in this order."""
        index = torch.tensor(places, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask, self.position = self.mask[index], self.position[index]


def read_prompts(
    forward: Callable[..., Any], config: Any, prompts: Sequence[Tokens], pad: int, device: torch.device
) -> tuple[Prompts, Any]:
    """The prompts' memory and the output of the last forward pass, whose last place is every prompt's last token."""
    distinct = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    place = {prompt: number for number, prompt in enumerate(distinct)}
    cache = DynamicCache(config=config)
    shared = _shared(distinct, cache)
    if shared:
        beginning = torch.tensor([distinct[0][:shared]], device=device)
        forward(input_ids=beginning, attention_mask=torch.ones_like(beginning), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(distinct))
    tokens, mask, positions = left_padded([prompt[shared:] for prompt in distinct], pad, device)
    mask = torch.cat([mask.new_ones(len(distinct), shared), mask], dim=1)
    output = forward(
        input_ids=tokens, attention_mask=mask, position_ids=positions + shared, past_key_values=cache, use_cache=True
    )
    found = Prompts(cache, mask, positions[:, -1] + shared, [place[tuple(prompt)] for prompt in prompts])
    found.keep(found.owners)
    return found, output


def _shared(distinct: Sequence[tuple[int, ...]], cache: DynamicCache) -> int:
    """Tokens that all prompts begin with; every prompt keeps one of its own.

    Padding comes between them and the rest, which a sliding window would count, so there nothing is shared.
    """
    if len(distinct) < 2 or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return 0
    pairs = enumerate(zip(min(distinct), max(distinct), strict=False))  # what these two share, all share
    found = next((place for place, (one, other) in pairs if one != other), min(map(len, distinct)))
    found = min(found, min(map(len, distinct)) - 1)
    return found if found >= _WORTH_SHARING else 0


def left_padded(rows: Sequence[Tokens], pad: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """(tokens, attention mask, positions) of rows of unequal length, each of shape (N, longest)."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return tokens, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def batches_by_prompt(
    rows: Sequence[tuple[Tokens, Tokens]], batch_size: int, most: int | None = None
) -> Iterator[list[int]]:
    """Indices of (prompt, answer) in batches: long before short, and the answers to one prompt together.

    With `most`, a batch's answers have at most that many tokens together when padded, a single one aside.
    """
    often = len(rows) >= 2 * len({tuple(prompt) for prompt, _ in rows})

    def key(index: int) -> tuple[Any, ...]:
        prompt, answer = rows[index]
        return (-len(prompt), tuple(prompt), -len(answer)) if often else (-len(prompt) - len(answer), index)

    return in_batches(sorted(range(len(rows)), key=key), [len(answer) for _, answer in rows], batch_size, most)


def in_batches(
    order: Iterable[int], widths: Sequence[int], batch_size: int, most: int | None = None
) -> Iterator[list[int]]:
    """The indices as they come; a batch, padded to its widest, holds `most` tokens, but always one index."""
    batch: list[int] = []
    widest = 0
    for index in order:
        widest = max(widest, widths[index])
        if batch and (len(batch) == batch_size or (most is not None and (len(batch) + 1) * widest > most)):
            yield batch
            batch, widest = [], widths[index]
        batch.append(index)
    if batch:
        yield batch
