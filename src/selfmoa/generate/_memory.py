"""Freed memory is kept for the next layer instead of given back to the system, up to a limit."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

import psutil

__all__ = ["give_back_memory", "keep_freed_memory"]

# mallopt(3)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_KEPT = 2**28
"""Bytes of freed memory that may stay between batches; what every batch needs again costs 0.1 s a gigabyte."""


class _Usage(ctypes.Structure):
    """mallinfo2(3); `used` are the bytes that tensors and objects occupy."""

    _fields_ = (("_before", ctypes.c_size_t * 7), ("used", ctypes.c_size_t), ("_after", ctypes.c_size_t * 2))


@cache
def _libc() -> Any:
    """None elsewhere than on glibc, or where it is older than mallinfo2 (2.33)."""
    libc = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
    if not hasattr(libc, "mallinfo2"):
        return None
    assert libc is not None
    libc.mallinfo2.restype = _Usage
    return libc


def keep_freed_memory() -> None:
    """glibc fetches every large tensor from the kernel and gives it back, so that each layer pays for fresh pages.

    On a processor that costs a small model up to a quarter of its time. Where this cannot be undone by
    `give_back_memory` nothing is done.
    """
    libc = _libc()
    if libc is None:
        return
    for option, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 1024**2)):
        libc.mallopt(option, value)


def give_back_memory() -> None:
    """Between batches: batches of many shapes leave holes that no later one fits into, gigabytes after some minutes."""
    libc = _libc()
    if libc is not None and psutil.Process().memory_info().rss - libc.mallinfo2().used > _KEPT:
        libc.malloc_trim(0)
