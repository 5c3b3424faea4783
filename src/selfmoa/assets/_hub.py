"""Assets of the Hugging Face hub: snapshots at one commit, data only, no code."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from selfmoa.errors import AssetError, UsageError

_MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
_TABLE_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "README.md"]


def parse(ref: str) -> tuple[str, str]:
    """`hub:owner/name@revision` -> (owner/name, revision); the revision is 'main' where none is named."""
    name, _, revision = ref.removeprefix("hub:").partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UsageError(f"{ref!r} is not a hub asset; expected hub:OWNER/NAME@REVISION.")
    return name, revision or "main"


def snapshot(ref: str, *, table: bool, local_only: bool = False) -> Path:
    """Directory of the snapshot; its name is the commit. Raises `AssetError` where it cannot be fetched."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub

    name, revision = parse(ref)
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                repo_type="dataset" if table else "model",
                allow_patterns=_TABLE_FILES if table else _MODEL_FILES,
                local_files_only=local_only,
            )
        )
    except Exception as error:  # the hub raises errors of httpx, of its own and of the system
        first = str(error).strip().splitlines()[:1]
        raise AssetError(
            f"Cannot fetch {ref}: {type(error).__name__}: {''.join(first)}\n"
            f"Check the name, the revision and, for a gated repository, `hf auth login`. "
            f"Without network: download it elsewhere (hf download {name} --revision {revision}) and name the "
            "directory or file as path:."
        ) from error


def commit(ref: str, *, table: bool) -> str:
    """Commit of the cached snapshot, '' where there is none."""
    try:
        return snapshot(ref, table=table, local_only=True).name
    except AssetError:
        return ""


def read_table(ref: str) -> list[dict[str, Any]]:
    """Rows of a dataset's train split, or of its first one."""
    directory = snapshot(ref, table=True)
    import datasets

    try:
        loaded = datasets.load_dataset(str(directory))
    except (ValueError, OSError, datasets.exceptions.DatasetsError) as error:
        raise UsageError(f"{ref} cannot be read as a table: {error}") from error
    split = "train" if "train" in loaded else next(iter(loaded))
    return [dict(row) for row in loaded[split]]
