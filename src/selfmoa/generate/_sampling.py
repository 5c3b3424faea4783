"""Batched sampling: equal prompts are read once, finished answers leave the batch, the nucleus is cut without a sort.

Greedy text is that of transformers' `generate`; sampled text has the same distribution (tests/test_generate.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from selfmoa.generate._cache import with_room
from selfmoa.recipe import Sampling

__all__ = ["batches_by_length", "left_padded", "pick", "sample"]

_CANDIDATES = 1024
"""Likeliest tokens among which a nucleus is looked for first; sorting 49k tokens a row costs as much as the model."""
_COMPACT_AT = 0.125
"""Share of finished rows at which the running batch is made smaller (a copy of its cache)."""

Ended = tuple[str, int, Literal["eos", "length"]]


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices, longest first, in batches: little padding, and the largest batch comes first."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def left_padded(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(tokens, attention mask, positions) of rows of unequal length, each of shape (N, longest)."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return tokens, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def sample(
    net: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    seed: int,
    batch_size: int,
) -> list[Ended]:
    """(text, sampled tokens, why it ended) for each rendered prompt, in order."""
    ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    ends = _ends(net, tokenizer)
    results: list[Ended] = [("", 0, "eos")] * len(prompts)
    for number, batch in enumerate(batches_by_length([len(row) for row in ids], batch_size)):
        generator = torch.Generator(device=net.device).manual_seed(seed + number)
        rows = _decode(net, [ids[index] for index in batch], sampling, ends, generator, int(tokenizer.pad_token_id))
        for index, (kept, finish) in zip(batch, rows, strict=True):
            results[index] = (str(tokenizer.decode(kept, skip_special_tokens=True)), len(kept), finish)
    return results


@dataclass
class _Running:
    """The part of a batch that still writes."""

    cache: Any
    mask: torch.Tensor
    position: torch.Tensor
    """(rows,) place of the last token read."""
    rows: list[int]
    """Which answer each row writes."""
    done: set[int] = field(default_factory=set)
    """Finished answers that still take part until the batch is made smaller."""

    def keep(self, places: Sequence[int]) -> None:
        index = torch.tensor(places, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.mask, self.position = self.mask[index], self.position[index]
        self.rows = [self.rows[place] for place in places]


def _decode(
    net: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    ends: set[int],
    generator: torch.Generator,
    pad: int,
) -> list[tuple[list[int], Literal["eos", "length"]]]:
    """Tokens of one answer a prompt, without the end token, and why it ended."""
    running, logits = _read(net, prompts, pad)
    with_room(running.cache, sampling.max_new_tokens)
    answers: list[list[int]] = [[] for _ in prompts]
    for step in range(sampling.max_new_tokens):
        tokens = pick(logits, sampling, generator)
        for row, token in zip(running.rows, tokens.tolist(), strict=True):
            if row not in running.done:
                if token in ends:
                    running.done.add(row)
                else:
                    answers[row].append(token)
        alive = [place for place, row in enumerate(running.rows) if row not in running.done]
        if not alive or step == sampling.max_new_tokens - 1:
            break
        if len(alive) <= (1 - _COMPACT_AT) * len(running.rows):
            running.keep(alive)
            tokens = tokens[alive]
        logits = _step(net, running, tokens)
    return [(answer, "eos" if row in running.done else "length") for row, answer in enumerate(answers)]


def _read(net: Any, prompts: Sequence[list[int]], pad: int) -> tuple[_Running, torch.Tensor]:
    """Read each distinct prompt once; its cache serves all of its samples."""
    distinct = {tuple(prompt): None for prompt in prompts}
    place = {prompt: number for number, prompt in enumerate(distinct)}
    tokens, mask, positions = left_padded(list(distinct), pad, net.device)
    output = net(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
    running = _Running(output.past_key_values, mask, positions[:, -1], list(range(len(distinct))))
    owners = [place[tuple(prompt)] for prompt in prompts]
    running.keep(owners)
    running.rows = list(range(len(prompts)))
    return running, output.logits[owners, -1]


def _step(net: Any, running: _Running, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (rows, vocabulary) after one more token in every row."""
    running.mask = torch.cat([running.mask, running.mask.new_ones(len(running.rows), 1)], dim=1)
    running.position = running.position + 1
    output = net(
        input_ids=tokens[:, None],
        attention_mask=running.mask,
        position_ids=running.position[:, None],
        past_key_values=running.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    running.cache = output.past_key_values
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def pick(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> torch.Tensor:
    """One token a row, (N,), from logits (N, vocabulary): greedy at temperature 0, else from the nucleus.

    The nucleus are the likeliest tokens whose likelier ones together have less than `top_p`.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    scaled = logits.float() / sampling.temperature
    if sampling.top_p >= 1.0:
        return torch.multinomial(scaled.softmax(dim=-1), 1, generator=generator).squeeze(1)
    tokens, wide = _from_nucleus(scaled, sampling.top_p, min(_CANDIDATES, scaled.shape[1]), generator)
    if bool(wide.any()):
        tokens[wide] = _from_nucleus(scaled[wide], sampling.top_p, scaled.shape[1], generator)[0]
    return tokens


def _from_nucleus(
    logits: torch.Tensor, top_p: float, candidates: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, True where the nucleus may reach beyond the candidates)."""
    top, tokens = logits.topk(candidates, dim=-1)
    shares = (top - logits.logsumexp(dim=-1, keepdim=True)).exp()
    likelier = shares.cumsum(dim=-1) - shares
    wide = (likelier[:, -1] < top_p) & (candidates < logits.shape[1])
    chosen = torch.multinomial(shares.masked_fill(likelier >= top_p, 0.0), 1, generator=generator)
    return tokens.gather(1, chosen).squeeze(1), wide


def _ends(net: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    declared = getattr(net.generation_config, "eos_token_id", None)
    listed = declared if isinstance(declared, list) else [declared]
    return {int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None}
