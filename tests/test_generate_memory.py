"""Freed memory: kept for the next layer, given back between batches."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from selfmoa.generate._prompts import batches_by_prompt

PROGRAM = """
import json, psutil, torch
from selfmoa.generate import give_back_memory
from selfmoa.generate._memory import keep_freed_memory
def resident(): return psutil.Process().memory_info().rss / 2**20
keep_freed_memory()
torch.ones(1)
start = resident()
tensors = [torch.ones(2**18 * 64) for _ in range(14)]  # 64 MB each
full = resident()
del tensors[:-1]  # the last one lies above the hole
freed = resident()
give_back_memory()
print(json.dumps([number - start for number in (full, freed, resident())]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told what to keep")
def test_freed_memory_stays_until_there_is_too_much_of_it() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    full, freed, given_back = json.loads(ended.stdout)
    assert full > 850
    assert freed > 850, "freed memory went back to the system"
    assert given_back < 150


def test_answers_are_read_in_batches_that_hold_so_many_tokens() -> None:
    rows = [((1,) * prompt, (2,) * answer) for prompt, answer in ((9, 5), (3, 30), (4, 4), (5, 7), (40, 1), (2, 12))]
    batches = list(batches_by_prompt(rows, 3, 20))
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    for batch in batches:
        padded = len(batch) * max(len(rows[index][1]) for index in batch)
        assert len(batch) == 1 or (len(batch) <= 3 and padded <= 20)
    assert list(batches_by_prompt(rows, 3)) == [[4, 1, 0], [5, 3, 2]]
