"""GGUF files: dequantised once by transformers and kept as a float32 Hugging Face directory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selfmoa.assets._cache import cache_dir, new_directory
from selfmoa.errors import ModelError


def dequantised(path: Path, key: str) -> Path:
    """Directory with config, tokenizer and float32 safetensors of the GGUF file at `path`.

    It is made once and kept in the cache under the first 16 digits of `key` (sha256 of the source).
    Raises `ModelError` where the file is corrupt, lacks a tokenizer or has an unknown architecture.
    """
    target = cached_directory(key)
    if target.exists():
        return target
    check(path)
    with new_directory(target) as working, quiet_transformers():
        with contextlib.redirect_stderr(io.StringIO()):  # its GGUF reader's bar cannot be switched off
            tokenizer, model = _load(path)
        tokenizer.save_pretrained(working)
        model.save_pretrained(working)
        if not (working / "tokenizer.json").exists():
            raise ModelError(f"{path}: its tokenizer cannot be saved; expected a tokenizer that transformers can read.")
    return target


def cached_directory(key: str) -> Path:
    """Where the dequantised model is or will be; it exists only when it is complete."""
    return cache_dir("models") / key[:16]


def check(path: Path) -> None:
    """Raise `ModelError` if the header already shows that the file cannot be used."""
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    fields = _header(path)
    architecture = fields.get("general.architecture")
    if architecture not in GGUF_SUPPORTED_ARCHITECTURES:
        raise ModelError(
            f"{path}: architecture {architecture!r} cannot be dequantised by this version of transformers. "
            f"Supported: {', '.join(sorted(GGUF_SUPPORTED_ARCHITECTURES))}. "
            "Use the model's safetensors instead."
        )
    if not fields["tokens"]:
        raise ModelError(f"{path} holds no tokenizer (tokenizer.ggml.tokens). Use a complete GGUF file.")


def _header(path: Path) -> dict[str, Any]:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        field = reader.get_field("general.architecture")
        tokens = reader.get_field("tokenizer.ggml.tokens")
        return {
            "general.architecture": field.contents() if field else None,
            "tokens": len(tokens.data) if tokens else 0,
        }
    except Exception as error:  # a truncated file fails anywhere in the reader, with any error
        raise ModelError(
            f"{path} is not a readable GGUF file ({type(error).__name__}: {error}). Download it again."
        ) from error


def _load(path: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # whatever transformers trips over is a fault of the file for the user
        raise ModelError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    model, loading = loaded
    missing = sorted(loading["missing_keys"])
    if missing:  # transformers would go on with random weights
        raise ModelError(
            f"{path} lacks {len(missing)} tensors, the first being {missing[0]!r}. "
            "Download it again, or use the model's safetensors."
        )
    return tokenizer, _unquantised(model)


def _unquantised(model: Any) -> Any:
    """Forget that the weights came from a quantised file, or `save_pretrained` refuses."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.quantization_method = None
    model.is_quantized = False
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside the block."""
    from transformers.utils import logging as hf_logging

    bars, level = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
