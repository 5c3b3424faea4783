"""Batched sampling with transformers' `generate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from selfmoa.recipe import Sampling

__all__ = ["batches_by_length", "sample"]


def batches_by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices, longest first, in batches: little padding, and the largest batch comes first."""
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def sample(
    net: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    seed: int,
    batch_size: int,
) -> list[tuple[str, int, Literal["eos", "length"]]]:
    """(text, sampled tokens, why it ended) for each rendered prompt, in order."""
    ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    ends = _ends(net, tokenizer)
    config = _config(sampling, ends, tokenizer)
    results: list[tuple[str, int, Literal["eos", "length"]]] = [("", 0, "eos")] * len(prompts)
    for number, batch in enumerate(batches_by_length([len(row) for row in ids], batch_size)):
        torch.manual_seed(seed + number)
        width = max(len(ids[index]) for index in batch)
        pad = int(tokenizer.pad_token_id)
        tokens = torch.tensor([[pad] * (width - len(ids[index])) + ids[index] for index in batch], device=net.device)
        mask = torch.tensor(
            [[0] * (width - len(ids[index])) + [1] * len(ids[index]) for index in batch], device=net.device
        )
        output = net.generate(input_ids=tokens, attention_mask=mask, generation_config=config)[:, width:].tolist()
        for index, row in zip(batch, output, strict=True):
            end = next((place for place, token in enumerate(row) if token in ends), None)
            kept = row if end is None else row[:end]
            text = str(tokenizer.decode(kept, skip_special_tokens=True))
            results[index] = (text, len(kept), "length" if end is None else "eos")
    return results


def _ends(net: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    declared = getattr(net.generation_config, "eos_token_id", None)
    listed = declared if isinstance(declared, list) else [declared]
    return {int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None}


def _config(sampling: Sampling, ends: set[int], tokenizer: PreTrainedTokenizerBase) -> GenerationConfig:
    greedy = sampling.temperature == 0
    shaped = {} if greedy else {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(
        do_sample=not greedy,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=int(tokenizer.pad_token_id),
        use_cache=True,
        **shaped,
    )
