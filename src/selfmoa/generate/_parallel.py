"""Batches side by side: on a processor, a small forward pass on each core beats one that all cores share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(work: Callable[[T], R], batches: Sequence[T], device: torch.device) -> Iterator[R]:
    """`work` of each batch, in order, without gradients; as many at a time as torch has threads, on one thread each.

    Results do not depend on the number of threads. Elsewhere than on a processor it is one batch after the other.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if min(threads, len(batches)) < 2:
        yield from map(torch.inference_mode()(work), batches)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            yield from pool.map(torch.inference_mode()(work), batches)
    finally:
        torch.set_num_threads(threads)  # part of what a worker sets (MKL's) is the whole process's
