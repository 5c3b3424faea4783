"""The cache directory and atomic writes into it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from selfmoa.errors import StorageError

ENV = "SELFMOA_CACHE"


def cache_dir(*parts: str) -> Path:
    """`$SELFMOA_CACHE`, or the user's cache directory, and `parts` below it; created if missing."""
    import platformdirs

    root = os.environ.get(ENV) or platformdirs.user_cache_dir("selfmoa")
    directory = Path(root).expanduser().joinpath(*parts)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Cannot create the cache directory {directory}: {error.strerror}. Set {ENV} to a writable directory."
        ) from error
    return directory


@contextmanager
def clear_disk_errors(target: Path) -> Iterator[None]:
    """A full or read-only disk becomes a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StorageError(
                f"Cannot write {target}: {error.strerror}. Free some space or set {ENV} to another disk."
            ) from error
        raise


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """A temporary directory that becomes `target` when the block ends well, and vanishes when it does not.

    If another process made `target` meanwhile, its copy stays: both have the same content.
    """
    with clear_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield working
            try:
                working.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(working, ignore_errors=True)


def file_hash(path: Path) -> str:
    """sha256 of a file, 64 hex digits; remembered while size and time of the file stay the same."""
    status = path.stat()
    return _file_hash(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=512)
def _file_hash(path: str, _size: int, _mtime: int) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a directory's files (hidden ones left out)."""
    if path.is_file():
        return file_hash(path)
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in relative.parts):
            digest.update(f"{relative.as_posix()}\0{file_hash(file)}\n".encode())
    return digest.hexdigest()
