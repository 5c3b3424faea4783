"""What the judges that hold a Hugging Face model have in common: loading, batching, release.

`model: hub:OWNER/NAME@REVISION` or `path:DIR`. Weights are safetensors, code from a repository never runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from selfmoa.assets import resolve_encoder
from selfmoa.errors import AssetError, ModelError, SelfMoaError, UsageError
from selfmoa.judge._protocol import EMPTY_ANSWER, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.recipe import JudgeRef
from selfmoa.records import stable_id
from selfmoa.run import POSITIONS

__all__ = ["Hosted", "HostedOptions", "from_weights", "stamped"]


_LONGEST = 300
"""Characters of a library's error that are quoted."""


class HostedOptions(BaseModel):
    """Options of every family; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective: Objective = "safety"
    max_length: int = Field(512, ge=8, description="Tokens of the prompt; what is cut is said by the family.")
    shares_base: bool = False


def from_weights(model_class: Any, directory: Any, **more: Any) -> Any:
    """`from_pretrained` that refuses missing weights: a head that transformers makes up would judge at random."""
    net, info = model_class.from_pretrained(directory, use_safetensors=True, output_loading_info=True, **more)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(f"its weights lack {', '.join(missing[:3])}, which a {model_class.__name__} needs")
    POSITIONS.listen(net.base_model)
    return net


def stamped(ref: str) -> str:
    """The reference; of a directory here also what its files are, for its weights may be trained anew in place."""
    if not ref.startswith("path:"):
        return ref
    found = sorted(file for file in Path(ref[5:]).expanduser().glob("*") if file.is_file())
    return f"{ref} {[(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in found]}"


class Hosted(JudgeBase):
    """A model that is loaded at the first score and can be released. Subclasses give `_load` and `_batch`."""

    def __init__(self, ref: JudgeRef, options: HostedOptions, context: EvaluatorContext) -> None:
        if not ref.model:
            raise UsageError(f"Judge {ref.name!r} needs a model: set model to path:DIR or hub:OWNER/NAME@REVISION.")
        self.name = ref.name
        self.objective = options.objective
        self.shares_base = options.shares_base
        self._ref, self._settings, self._context = ref.model, options, context
        self._stamp = stamped(ref.model)
        self._loaded: tuple[Any, Any] | None = None

    @property
    def hash(self) -> str:
        return stable_id(self.name, self._stamp, self._settings.model_dump_json(), sorted(self._state().items()))

    def release(self) -> None:
        """Free the model's memory."""
        self._loaded = None

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An empty answer is unscored."""
        verdicts = [Verdict(None, EMPTY_ANSWER)] * len(items)
        filled = [place for place, item in enumerate(items) if (item.response or "").strip()]
        filled.sort(key=lambda place: len(items[place].response))
        for start in range(0, len(filled), self._context.batch_size):
            batch = filled[start : start + self._context.batch_size]
            for place, verdict in zip(batch, self._batch([items[place] for place in batch]), strict=True):
                verdicts[place] = verdict
        return verdicts

    def _batch(self, items: Sequence[Item]) -> list[Verdict]:
        raise NotImplementedError

    def _load(self, directory: Any) -> Any:
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._context.state.get(self.name) or {}
        return found

    def _open(self) -> tuple[Any, Any]:
        """(model, tokenizer), on the GPU where there is one."""
        if self._loaded is None:
            import torch
            from safetensors import SafetensorError
            from transformers import AutoTokenizer

            directory = self._directory()
            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(directory)
                net = self._load(directory).eval().to("cuda" if torch.cuda.is_available() else "cpu")
            except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
                what = " ".join(str(error).split())[:_LONGEST]
                raise ModelError(
                    f"Judge {self.name!r}: {self._ref} cannot be loaded: {what}. Expected config.json, a tokenizer "
                    "and *.safetensors (pickled weights are never loaded; convert them)."
                ) from error
            if tokenizer.pad_token_id is None:
                # a classifier reads the last token that is no padding, and many chat templates end in eos
                tokenizer.pad_token = tokenizer.bos_token or tokenizer.eos_token
            for config in (net.config, net.config.get_text_config()):
                config.pad_token_id = tokenizer.pad_token_id
            self._loaded = net, tokenizer
        return self._loaded

    def _directory(self) -> Any:
        try:
            return resolve_encoder(self._ref)
        except SelfMoaError as error:
            kind = AssetError if isinstance(error, AssetError) else ModelError
            raise kind(f"Judge {self.name!r}: {error}") from error
