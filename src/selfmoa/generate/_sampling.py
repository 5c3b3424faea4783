"""Batched sampling: equal prompts are read once, finished answers leave the batch, the nucleus is cut without a sort.

Greedy text is that of transformers' `generate`; sampled text has the same distribution (tests/test_generate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from selfmoa.generate._cache import with_room
from selfmoa.generate._memory import give_back_memory
from selfmoa.generate._parallel import ROWS, of_device, side_by_side
from selfmoa.generate._prompts import Prompts, in_batches, read_prompts
from selfmoa.recipe import Sampling
from selfmoa.run import POSITIONS

__all__ = ["pick", "sample"]

_CANDIDATES = (128, 1024)
"""Likeliest tokens among which a nucleus is looked for first; sorting 49k tokens a row costs as much as the model."""
_COMPACT_AT = 0.125
"""Share of finished rows at which the running batch is made smaller (a copy of its cache)."""

_TOKENS = {"cuda": 12_000, "cpu": 4_000}
"""Tokens that a batch may hold: a model of 135M remembers 4,000 in 180 MB."""

Ended = tuple[str, int, Literal["eos", "length"]]
Answers = list[tuple[list[int], Literal["eos", "length"]]]
"""Tokens of each answer and why it ended."""


def sample(
    net: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    seed: int,
    batch_size: int,
    begun: Sequence[str] | None = None,
) -> list[Ended]:
    """(text, sampled tokens, why it ended) for each rendered prompt, in order.

    `begun` are the words at the end of each prompt that the text goes on from, '' where it begins anew.
    """
    ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    ends = _ends(net, tokenizer)
    results: list[Ended] = [("", 0, "eos")] * len(prompts)
    lengths = [len(row) + sampling.max_new_tokens for row in ids]
    # longest first: little padding, and the largest batch comes first
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    size = min(batch_size, of_device(ROWS, net.device))
    batches = list(in_batches(order, lengths, size, of_device(_TOKENS, net.device)))

    def decode(number: int) -> Answers:
        generator = torch.Generator(device=net.device).manual_seed(seed + number)
        chosen = [ids[index] for index in batches[number]]
        rows = _decode(net, chosen, sampling, ends, generator, int(tokenizer.pad_token_id))
        give_back_memory()
        return rows

    for batch, rows in zip(batches, side_by_side(decode, range(len(batches)), net.device), strict=True):
        for index, (kept, finish) in zip(batch, rows, strict=True):
            words = begun[index] if begun else ""
            goes_on = words.strip() != "" and not words[-1].isspace()
            results[index] = (_text(tokenizer, kept, goes_on=goes_on), len(kept), finish)
    return results


def _text(tokenizer: PreTrainedTokenizerBase, kept: list[int], *, goes_on: bool) -> str:
    """What the tokens say; SentencePiece drops the blank before a text's first word, which one that goes on needs."""
    text = str(tokenizer.decode(kept, skip_special_tokens=True))
    dropped = goes_on and text and not text[0].isspace()
    return f" {text}" if dropped and str(tokenizer.convert_ids_to_tokens(kept[0])).startswith("▁") else text


@dataclass
class _Running:
    """The part of a batch that still writes."""

    read: Prompts
    rows: list[int]
    """Which answer each row writes."""
    done: set[int] = field(default_factory=set)
    """Finished answers that still take part until the batch is made smaller."""

    def keep(self, places: Sequence[int]) -> None:
        self.read.keep(places)
        self.rows = [self.rows[place] for place in places]


def _decode(
    net: Any,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    ends: set[int],
    generator: torch.Generator,
    pad: int,
) -> Answers:
    """Tokens of one answer a prompt, without the end token, and why it ended."""
    read, output = read_prompts(partial(net, logits_to_keep=1), net.config, prompts, pad, net.device)
    logits = output.logits[read.owners, -1]
    with_room(read.cache, sampling.max_new_tokens)
    running = _Running(read, list(range(len(prompts))))
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
        POSITIONS.fill(len(running.rows) - len(alive))
        logits = _step(net, running.read, tokens)
    return [(answer, "eos" if row in running.done else "length") for row, answer in enumerate(answers)]


def _step(net: Any, read: Prompts, tokens: torch.Tensor) -> torch.Tensor:
    """Logits (rows, vocabulary) after one more token in every row."""
    read.mask = torch.cat([read.mask, read.mask.new_ones(len(tokens), 1)], dim=1)
    read.position = read.position + 1
    output = net(
        input_ids=tokens[:, None],
        attention_mask=read.mask,
        position_ids=read.position[:, None],
        past_key_values=read.cache,
        use_cache=True,
        logits_to_keep=1,
    )
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
    vocabulary = scaled.shape[1]
    tokens, wide = _from_nucleus(scaled, sampling.top_p, min(_CANDIDATES[0], vocabulary), generator)
    for candidates in (*_CANDIDATES[1:], vocabulary):
        if not bool(wide.any()):
            break
        found, still = _from_nucleus(scaled[wide], sampling.top_p, min(candidates, vocabulary), generator)
        tokens[wide] = found
        wide[wide.clone()] = still
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
