"""References: wheel:NAME, path:FILE (or a bare path), hub:OWNER/NAME@REVISION, set:NAME, data:FILE, package:FILE."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

from selfmoa.assets import _hub
from selfmoa.assets._catalogue import ASSETS, embedded
from selfmoa.assets._gguf import cached_directory
from selfmoa.assets._sets import data_path, set_definition
from selfmoa.assets._types import AssetInfo, Kind, Wheel
from selfmoa.assets._wheels import cached_path, fetch_wheel
from selfmoa.errors import AssetError

Scheme = Literal["wheel", "path", "hub", "set"]
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A revision of the hub that names a commit, and no branch or tag."""


def scheme(ref: str) -> Scheme:
    """Where `ref` points to; anything without a known prefix is a path."""
    if ref.startswith("wheel:"):
        return "wheel"
    if ref.startswith("set:"):
        return "set"
    return "hub" if ref.startswith("hub:") else "path"


def users_own(ref: str) -> bool:
    """True for a file that the user wrote or chose, not one that a publisher's set or ours is read from."""
    return scheme(ref) == "path" and not ref.startswith(("data:", "package:"))


def hub_source(ref: str) -> str:
    """The hub: reference that a table is read from, directly or as a registered set; empty for any other."""
    if scheme(ref) == "set":
        return hub_source(set_definition(ref).source)
    return ref if scheme(ref) == "hub" else ""


def local_path(ref: str) -> Path:
    """Path of a path:, data: or package: reference or of a bare path, `~` expanded."""
    if ref.startswith("data:"):
        return data_path(ref)
    if ref.startswith("package:"):
        return Path(__file__).with_name(ref.removeprefix("package:"))
    return Path(ref.removeprefix("path:")).expanduser()


def catalogue() -> list[AssetInfo]:
    """The embedded default's assets, in the order of the catalogue."""
    return list(ASSETS.values())


def info(ref: str, *, kind: Kind = "model") -> AssetInfo:
    """What is known about an asset without fetching it; `kind` is for path: and hub: ones.

    Raises `AssetError` for an unknown wheel: name, with the nearest known one.
    """
    where = scheme(ref)
    if where == "wheel":
        return embedded(ref)
    if where == "set":
        return _set_info(ref)
    if where == "hub":
        name, revision = _hub.parse(ref)
        return AssetInfo(
            ref,
            kind,
            name,
            "unknown, see the repository's card",
            False,
            f"https://huggingface.co/{'datasets/' if kind == 'table' else ''}{name} at {revision}",
            revision=_hub.commit(ref, table=kind == "table"),
        )
    path = local_path(ref)
    return AssetInfo(f"path:{path}", kind, path.name, "the user's own", True, f"local file {path}")


def _set_info(ref: str) -> AssetInfo:
    """What is known about the table behind a set, under the set's own name and licence."""
    found = set_definition(ref)
    base = info(found.source, kind="table")
    named = replace(base, ref=ref, title=found.title, revision=found.sha256 or base.revision)
    if not found.licence:
        return named
    return replace(named, licence=found.licence, commercial=found.commercial, source=found.home or base.source)


def is_cached(ref: str, *, kind: Kind = "model") -> bool:
    """True where the asset can be used without network."""
    where = scheme(ref)
    if where == "set":
        return is_cached(set_definition(ref).source, kind="table")
    if where == "path":
        return local_path(ref).exists()
    if where == "hub":
        return bool(_hub.commit(ref, table=kind == "table"))
    asset = embedded(ref)
    if asset.kind == "model" and cached_directory(asset.wheels[0].sha256).exists():
        return True
    return not missing_wheels([asset])


def missing_wheels(assets: list[AssetInfo]) -> list[Wheel]:
    """The wheels of `assets` that are not in the cache, each once (several tables share a wheel)."""
    wheels = dict.fromkeys(wheel for asset in assets for wheel in asset.wheels)
    return [wheel for wheel in wheels if not cached_path(wheel).exists()]


def fetch(ref: str, *, kind: Kind = "model", show: bool = False) -> Path:
    """Make the asset usable offline; `show` prints pip's progress. Returns its (first) file or directory.

    Raises `AssetError` where it cannot be fetched or the sha256 is not the pinned one.
    """
    where = scheme(ref)
    if where == "set":
        return fetch(set_definition(ref).source, kind="table", show=show)
    if where == "hub":
        return _hub.snapshot(ref, table=kind == "table")
    if where == "path":
        path = local_path(ref)
        if not path.exists():
            raise AssetError(f"No file or directory at {os.path.abspath(path)}.{_hint(ref)}")
        return path
    paths = [fetch_wheel(wheel, show=show) for wheel in embedded(ref).wheels]
    return paths[0]


def _hint(ref: str) -> str:
    return f" Did you mean 'wheel:{ref}'?" if f"wheel:{ref}" in ASSETS else ""
