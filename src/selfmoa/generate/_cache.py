"""A key/value cache that takes a new token without copying the old ones."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

__all__ = ["with_room"]


def with_room(cache: Any, tokens: int) -> None:
    """Give the full-attention layers of a filled cache room for `tokens` more.

    transformers' layers copy everything that they hold at every token, a quarter of the time of a small model.
    Layers of another kind (sliding window, linear attention) stay as they are.
    """
    for place, layer in enumerate(cache.layers):  # one by one: never two whole caches at once
        cache.layers[place] = _roomy(layer, tokens)


def _roomy(layer: Any, tokens: int) -> Any:
    filled = type(layer) is DynamicLayer and layer.is_initialized
    return _Roomy(layer.keys, layer.values, tokens) if filled else layer


class _Roomy(DynamicLayer):
    """`keys` and `values` are the filled part of two larger buffers."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, tokens: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._buffers = [_longer(keys, tokens), _longer(values, tokens)]
        self._show(keys.shape[-2])

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., start:end, :] = states
        return self._show(end)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        length = self.get_seq_length()
        self._buffers = [buffer[indices] for buffer in self._buffers]
        self._show(length)

    def _show(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (buffer[..., :length, :] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def _longer(states: torch.Tensor, tokens: int) -> torch.Tensor:
    shape = (*states.shape[:-2], states.shape[-2] + tokens, states.shape[-1])
    buffer = states.new_empty(shape)
    buffer[..., : states.shape[-2], :] = states
    return buffer
