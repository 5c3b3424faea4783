"""Alternating measurement of two ways of doing one thing, and what the machine could do at best."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Measured", "alternate", "flops", "matmul_peak", "ratio"]

_DRAWS = 2000


@dataclass
class Measured:
    """One way's repetitions."""

    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    """Tokens, answers or pairs that each repetition got through."""
    peaks: list[float] = field(default_factory=list)
    """Largest resident memory while it ran, MB."""

    @property
    def costs(self) -> list[float]:
        """Seconds a unit of work."""
        return [seconds / work for seconds, work in zip(self.seconds, self.work, strict=True)]


@contextmanager
def _watched(found: Measured) -> Iterator[None]:
    """Time and the peak of the resident memory; what earlier work left free is given back first."""
    gc.collect()
    with contextlib.suppress(OSError):  # another C library: its peaks then include what earlier work left
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process, over, peak = psutil.Process(), threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    start = time.perf_counter()
    yield
    found.seconds.append(time.perf_counter() - start)
    over.set()
    watcher.join()
    found.peaks.append(max(peak[0], process.memory_info().rss) / 2**20)


def alternate(ours: Callable[[int], float], plain: Callable[[int], float], repeats: int) -> tuple[Measured, Measured]:
    """Each of the two in turn, first and second by turns, both warm by now; gets its number and gives its work."""
    found = Measured(), Measured()
    for number in range(repeats):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            with _watched(found[which]):
                work = (ours, plain)[which](number)
            found[which].work.append(work)
    return found


def ratio(ours: list[float], plain: list[float]) -> dict[str, Any]:
    """Plain over ours of the medians (above 1: ours costs less), bootstrap 95 % interval over repetitions in pairs."""
    index = np.random.default_rng(0).integers(len(ours), size=(_DRAWS, len(ours)))
    draws = np.median(np.array(plain)[index], axis=1) / np.median(np.array(ours)[index], axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "ratio": round(statistics.median(plain) / statistics.median(ours), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
        "n": len(ours),
    }


def matmul_peak(size: int = 1536, seconds: float = 2.0) -> float:
    """Best GFLOP/s of float32 matrix products of this size."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        one @ other
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def flops(work: Callable[[int], float]) -> float:
    """GFLOP of matrix products that one repetition asks for (attention and element-wise work are not counted)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counter sees its own thread only: no batches side by side
    try:
        with FlopCounterMode(display=False) as counter:
            work(0)
    finally:
        torch.set_num_threads(threads)
    return float(counter.get_total_flops()) / 1e9
