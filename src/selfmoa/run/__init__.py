"""The run directory: every step is a file, every batch survives a kill, every event is in the journal."""

from selfmoa.run._aligned import RESET, RESET_DONE, RESET_MARK, aligned_model, require_base, resets
from selfmoa.run._cache import Cache, cache_key
from selfmoa.run._directory import OnExisting, Run, open_run
from selfmoa.run._machine import describe_machine, peak_memory_mb, versions
from selfmoa.run._positions import POSITIONS
from selfmoa.run._progress import Progress, Task
from selfmoa.run._storage import (
    read_each,
    read_json,
    read_records,
    write_bytes,
    write_json,
    write_records,
    write_table,
    write_text,
)

__all__ = [
    "POSITIONS",
    "RESET",
    "RESET_DONE",
    "RESET_MARK",
    "Cache",
    "OnExisting",
    "Progress",
    "Run",
    "Task",
    "aligned_model",
    "cache_key",
    "describe_machine",
    "open_run",
    "peak_memory_mb",
    "read_each",
    "read_json",
    "read_records",
    "require_base",
    "resets",
    "versions",
    "write_bytes",
    "write_json",
    "write_records",
    "write_table",
    "write_text",
]
