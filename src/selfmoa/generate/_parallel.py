"""Batches side by side: on a processor, a small forward pass on each core beats one that all cores share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch

__all__ = ["ROWS", "of_device", "side_by_side"]

ROWS = {"cuda": 1_024, "cpu": 32}
"""Rows that a batch may have; on a processor more are no faster, and each core takes a batch."""

T = TypeVar("T")
R = TypeVar("R")


def of_device(limits: Mapping[str, int], device: torch.device) -> int:
    """The limit for this kind of device, a processor's where it is not named."""
    return limits.get(device.type, limits["cpu"])


def side_by_side(work: Callable[[T], R], batches: Sequence[T], device: torch.device) -> Iterator[R]:
    """`work` of each batch, in order, without gradients; as many at a time as torch has threads, on one thread each.

    Results do not depend on the number of threads. Elsewhere than on a processor it is one batch after the other.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    work = torch.inference_mode()(work)  # which holds for the thread that it is called in
    if min(threads, len(batches)) < 2:
        yield from map(work, batches)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            yield from pool.map(work, batches)
    finally:
        torch.set_num_threads(threads)  # part of what a worker sets (MKL's) is the whole process's
