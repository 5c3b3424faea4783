"""An adapter added into the base for as long as it samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear, LoraLayer

__all__ = ["merged"]

_LARGEST_COPY = 2 * 1024**3
"""Bytes of changed weights up to which merging is worth their memory; in a larger model the adapter costs little."""


@contextmanager
def merged(net: PeftModel) -> Iterator[None]:
    """Run with the active adapter added to a copy of the weights; the base's own come back bit for bit.

    An adapter of rank 16 costs a small model a quarter of its speed. Where merging would round (not float32), take
    much memory, touch a weight that another layer shares, or leave out a layer of another kind (4-bit weights,
    embeddings), nothing is merged and the adapter runs as it is.
    """
    layers: list[Any] = [module for module in net.modules() if isinstance(module, LoraLayer)]
    plain: list[Linear] = [layer for layer in layers if isinstance(layer, Linear)]
    weights = [_weight(layer) for layer in plain]
    if net.active_adapter not in net.peft_config or len(plain) < len(layers) or not _mergeable(net, weights):
        yield
        return
    own = [weight.data for weight in weights]
    try:
        for layer, weight in zip(plain, weights, strict=True):
            weight.data = weight.data + layer.get_delta_weight(net.active_adapter)
        with net.disable_adapter():
            yield
    finally:
        for weight, data in zip(weights, own, strict=True):
            weight.data = data


def _weight(layer: Linear) -> torch.nn.Parameter:
    weight = layer.get_base_layer().weight
    assert isinstance(weight, torch.nn.Parameter)
    return weight


def _mergeable(net: PeftModel, weights: list[torch.nn.Parameter]) -> bool:
    users = Counter(id(parameter) for module in net.modules() for parameter in module.parameters(recurse=False))
    return (
        all(weight.dtype == torch.float32 and users[id(weight)] == 1 for weight in weights)
        and sum(weight.nbytes for weight in weights) <= _LARGEST_COPY
    )
