"""A causal language model from a directory, with or without an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from selfmoa.errors import ModelError, first_line
from selfmoa.generate._chat import complete
from selfmoa.generate._memory import keep_freed_memory
from selfmoa.run import POSITIONS

__all__ = ["load_plain", "load_tokenizer", "read_base", "save_merged", "write_merged"]


def read_base(directory: Path, *, load_in_4bit: bool = False) -> tuple[Any, Any]:
    """Model and tokenizer of a Hugging Face directory; float32 on a CPU, bfloat16 on CUDA.

    Raises `ModelError` if the directory cannot be loaded.
    """
    cuda = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if cuda else torch.float32}
    if cuda:
        options["device_map"] = "cuda"
    else:
        keep_freed_memory()
    if load_in_4bit:
        options["quantization_config"] = _nf4(cuda)
    try:
        AutoConfig.from_pretrained(directory)
        tokenizer = AutoTokenizer.from_pretrained(directory)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            directory, use_safetensors=True, output_loading_info=True, **options
        )
        base, info = loaded
    except Exception as error:
        raise ModelError(
            f"{directory} cannot be loaded as a causal language model: {first_line(error)}. Expected a directory with "
            "config.json, a tokenizer and *.safetensors of an architecture that transformers knows."
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"The weights of {directory} lack {len(missing)} tensors that its config.json asks for, e.g. {missing[0]}; "
            "they would be made up at random. Get the model again."
        )
    complete(tokenizer)
    POSITIONS.listen(base.base_model)
    return base, tokenizer


def load_plain(directory: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """Model and tokenizer, the model in evaluation mode and under a PEFT adapter of any shape where one is named.

    Raises `ModelError` where either cannot be loaded.
    """
    base, tokenizer = read_base(directory)
    if adapter is None:
        return base.eval(), tokenizer
    try:
        return PeftModel.from_pretrained(base, str(adapter)).eval(), tokenizer
    except Exception as error:
        raise ModelError(f"{adapter} holds no adapter of {directory}: {first_line(error)}") from error


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer of a Hugging Face directory with the pad token and the chat template that it is used with here."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    complete(tokenizer)
    return tokenizer


def write_merged(directory: Path, adapter: Path, out: Path) -> None:
    """The model with the adapter added into its weights, as a Hugging Face directory of safetensors.

    Tokenizer, chat template and generation config come with it. Weights keep the type that they are trained in
    (float32 on a CPU), in which the sum is not rounded. Raises `ModelError` where the adapter is not this model's.
    """
    save_merged(*load_plain(directory, adapter), out)


def save_merged(net: Any, tokenizer: Any, out: Path) -> None:
    """`write_merged` of a PEFT model in memory, which is spent by it: its base has the adapter in its weights."""
    merged = net.merge_and_unload(safe_merge=True)  # NaNs are refused, not written
    merged.config.name_or_path = ""  # a path of this machine
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _nf4(cuda: bool) -> Any:
    if not cuda:
        raise ModelError("model.load_in_4bit needs a CUDA device; set it to false on a CPU.")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
