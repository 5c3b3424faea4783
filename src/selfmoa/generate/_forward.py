"""Forward passes without sampling: log-probs of given answers and hidden states of the base."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from selfmoa.generate._sampling import batches_by_length, left_padded

__all__ = ["states", "token_logprobs"]


def token_logprobs(
    net: Any, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], *, batch_size: int
) -> list[np.ndarray]:
    """Log-prob of every completion token in nats, shape (tokens,), float32; an empty completion gives none."""
    rows = [_tokens(tokenizer, prompt, completion) for prompt, completion in pairs]
    pad = int(tokenizer.pad_token_id)
    results = [np.zeros(0, dtype=np.float32)] * len(rows)
    filled = [index for index, (_, completion) in enumerate(rows) if completion]
    for batch in batches_by_length([_length(rows[index]) for index in filled], batch_size):
        chosen = [filled[place] for place in batch]
        tokens, mask, positions = left_padded([_joined(rows[index]) for index in chosen], pad, net.device)
        longest = max(len(rows[index][1]) for index in chosen)
        # left padding puts the completions at the right edge, so only that many logits are needed
        logits = net(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            logits_to_keep=longest + 1,
            use_cache=False,
        ).logits[:, :-1]
        targets = tokens[:, -longest:]
        logits = logits.float()
        # not log_softmax: it would hold a second copy of the logits, and the vocabulary is what fills the memory
        per_token = (logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(dim=-1)).cpu()
        for place, index in enumerate(chosen):
            results[index] = per_token[place, -len(rows[index][1]) :].numpy()
    return results


class _Enough(Exception):
    """Ends a forward pass once the wanted layer has spoken."""


def states(
    net: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    layers: Sequence[int],
    batch_size: int,
    window: int | None = None,
) -> np.ndarray:
    """(layers, N, hidden) float32 means over the completion; an empty one gives the state of the prompt's last token.

    With `window`, (layers, N, 2 hidden): the mean, and the largest values that the mean of a stretch of `window`
    tokens reaches, so that a stretch unlike the rest is not averaged away.
    """
    rows = [_tokens(tokenizer, prompt, completion) for prompt, completion in pairs]
    pad = int(tokenizer.pad_token_id)
    body = net.get_base_model().model
    hidden = net.config.get_text_config().hidden_size
    results = np.zeros((len(layers), len(rows), hidden * (1 if window is None else 2)), dtype=np.float32)
    seen: dict[int, torch.Tensor] = {}

    def catch(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            seen[layer] = output[0] if isinstance(output, tuple) else output
            if layer == max(layers):
                raise _Enough

        return hook

    handles = [body.layers[layer - 1].register_forward_hook(catch(layer)) for layer in layers]
    try:
        for batch in batches_by_length([_length(row) for row in rows], batch_size):
            tokens, mask, positions = left_padded([_joined(rows[index]) for index in batch], pad, net.device)
            with contextlib.suppress(_Enough):
                body(input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False)
            for place, index in enumerate(batch):
                wanted = max(len(rows[index][1]), 1)
                for number, layer in enumerate(layers):
                    results[number, index] = _pooled(seen[layer][place, -wanted:].float(), window)
    finally:
        for handle in handles:
            handle.remove()
    return results


def _pooled(found: torch.Tensor, window: int | None) -> np.ndarray:
    parts = [found.mean(dim=0)]
    if window is not None:
        parts.append(torch.stack([part.mean(dim=0) for part in found.split(window)]).amax(dim=0))
    pooled: np.ndarray = torch.cat(parts).cpu().numpy()
    return pooled


def _tokens(tokenizer: PreTrainedTokenizerBase, prompt: str, completion: str) -> tuple[list[int], list[int]]:
    return (
        tokenizer(prompt, add_special_tokens=False)["input_ids"],
        tokenizer(completion, add_special_tokens=False)["input_ids"] if completion else [],
    )


def _length(row: tuple[list[int], list[int]]) -> int:
    return len(row[0]) + len(row[1])


def _joined(row: tuple[list[int], list[int]]) -> list[int]:
    return row[0] + row[1]
