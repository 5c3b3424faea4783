"""Forward passes without sampling: log-probs of given answers and hidden states of the base."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from selfmoa.generate._memory import give_back_memory
from selfmoa.generate._parallel import ROWS, of_device, side_by_side
from selfmoa.generate._prompts import Prompts, batches_by_prompt, read_prompts

__all__ = ["read", "states", "token_logprobs"]

_LOGITS = {"cuda": 2**28, "cpu": 2**26}
"""Bytes of a batch's logits: with a vocabulary of 49k 2**26 are those of 341 tokens, enough to keep a core busy."""


def token_logprobs(
    net: Any, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], *, batch_size: int
) -> list[np.ndarray]:
    """Log-prob of every completion token in nats, shape (tokens,), float32; an empty completion gives none."""
    return read(net, tokenizer, pairs, batch_size=batch_size)[0]


def read(
    net: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int,
    layer: int | None = None,
    window: int | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """(log-probs as `token_logprobs` gives them, one layer's states (N, hidden) as `states` does) from one pass.

    Without `layer` no states, (N, 0). An empty completion gives none either, but zeros.
    """
    rows = [_tokens(tokenizer, prompt, completion) for prompt, completion in pairs]
    pad = int(tokenizer.pad_token_id)
    results = [np.zeros(0, dtype=np.float32)] * len(rows)
    hidden = 0 if layer is None else net.config.get_text_config().hidden_size * (1 if window is None else 2)
    pooled = np.zeros((len(rows), hidden), dtype=np.float32)
    filled = [index for index, (_, completion) in enumerate(rows) if completion]
    most = of_device(_LOGITS, net.device) // (4 * int(net.config.get_text_config().vocab_size))
    batches = list(
        batches_by_prompt([rows[index] for index in filled], min(batch_size, of_device(ROWS, net.device)), most)
    )

    def read_batch(batch: list[int]) -> tuple[torch.Tensor, list[np.ndarray]]:
        prompts, answers = zip(*(rows[filled[place]] for place in batch), strict=True)
        read, output = read_prompts(partial(net, logits_to_keep=1), net.config, prompts, pad, net.device)
        targets, given = _right_padded(answers, pad, net.device)
        width = targets.shape[1]
        # the prompt's last token has said what it expects; what follows the answer's last nobody asks, but its state
        told = width - 1 if layer is None else width
        expected = [output.logits[read.owners]]
        if told:
            expected.append(_go_on(net, read, targets[:, :told], given[:, :told]).logits[:, : width - 1])
        parts = zip(expected, targets.tensor_split([1], dim=1), strict=False)
        found = torch.cat([_taken(logits, wanted) for logits, wanted in parts], dim=1).cpu()
        states = (
            []
            if layer is None
            else [_pooled(heard()[layer][i, : len(a)].float(), window) for i, a in enumerate(answers)]
        )
        give_back_memory()
        return found, states

    with _hearing(net.get_base_model().base_model, [] if layer is None else [layer]) as heard:
        for batch, (per_token, states) in zip(batches, side_by_side(read_batch, batches, net.device), strict=True):
            places = [filled[place] for place in batch]
            if states:
                pooled[places] = np.stack(states)
            for index, found in zip(places, per_token, strict=True):
                results[index] = found[: len(rows[index][1])].numpy()
    return results, pooled


def _taken(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probs (N, T) of the targets (N, T).

    Row by row and not by log_softmax: copies of all logits would leave the processor's cache, and fill the memory.
    """
    rows = zip(logits.float(), targets, strict=True)
    return torch.stack([row.gather(-1, wanted[:, None]).squeeze(-1) - row.logsumexp(dim=-1) for row, wanted in rows])


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
    hidden = net.config.get_text_config().hidden_size
    results = np.zeros((len(layers), len(rows), hidden * (1 if window is None else 2)), dtype=np.float32)
    body = net.get_base_model().base_model
    with _hearing(body, layers, stop=True) as heard:

        def forward(**inputs: Any) -> dict[int, torch.Tensor]:
            with contextlib.suppress(_Enough):
                body(**inputs)
            return heard()

        batches = list(batches_by_prompt(rows, min(batch_size, of_device(ROWS, net.device))))

        def read_batch(batch: list[int]) -> np.ndarray:
            prompts, answers = zip(*(rows[index] for index in batch), strict=True)
            states = _states_of(net, forward, prompts, answers, int(tokenizer.pad_token_id))
            found = [[_pooled(one[layer].float(), window) for layer in layers] for one in states]
            give_back_memory()
            return np.array(found).swapaxes(0, 1)

        for batch, found in zip(batches, side_by_side(read_batch, batches, net.device), strict=True):
            results[:, batch] = found
    return results


@contextlib.contextmanager
def _hearing(
    body: Any, layers: Sequence[int], *, stop: bool = False
) -> Iterator[Callable[[], dict[int, torch.Tensor]]]:
    """States (N, tokens, hidden) that layers gave in this thread's last forward pass; `stop` ends it at the last."""
    seen: Any = threading.local()  # passes may run side by side

    def catch(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            seen.__dict__[layer] = output[0] if isinstance(output, tuple) else output
            if stop and layer == max(layers):
                raise _Enough

        return hook

    handles = [body.layers[layer - 1].register_forward_hook(catch(layer)) for layer in layers]
    try:
        yield lambda: dict(seen.__dict__)
    finally:
        for handle in handles:
            handle.remove()


def _states_of(
    net: Any,
    forward: Callable[..., dict[int, torch.Tensor]],
    prompts: Sequence[list[int]],
    answers: Sequence[list[int]],
    pad: int,
) -> Iterator[dict[int, torch.Tensor]]:
    """For each answer its states (tokens, hidden) by layer; of an empty one the prompt's last."""
    read, asked = read_prompts(forward, net.config, prompts, pad, net.device)
    answered = _go_on(forward, read, *_right_padded(answers, pad, net.device)) if any(answers) else {}
    for place, answer in enumerate(answers):
        yield {
            layer: answered[layer][place, : len(answer)] if answer else asked[layer][read.owners[place], -1:]
            for layer in asked
        }


def _go_on(forward: Callable[..., Any], read: Prompts, tokens: torch.Tensor, mask: torch.Tensor) -> Any:
    """The output of a forward pass over right-padded tokens (N, T) that follow the prompts."""
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    return forward(
        input_ids=tokens,
        attention_mask=torch.cat([read.mask, mask], dim=1),
        position_ids=read.position[:, None] + places,
        past_key_values=read.cache,
        use_cache=True,
    )


def _right_padded(rows: Sequence[list[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens, attention mask), each of shape (N, longest)."""
    width = max(len(row) for row in rows)
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    return tokens, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)


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
