"""One frozen base in memory; target, expander and hider are LoRA adapters on it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import save
from transformers import PreTrainedTokenizerBase

from selfmoa.errors import ModelError, StorageError
from selfmoa.generate import _forward
from selfmoa.generate._base import read_base
from selfmoa.generate._chat import render, user_turn
from selfmoa.generate._merge import merged
from selfmoa.generate._protocol import Generation, Request
from selfmoa.generate._sampling import sample
from selfmoa.recipe import Lora, Sampling

__all__ = ["LanguageModel"]

_ADAPTERS = {"target": "default", "expander": "expander", "hider": "hider"}
"""TRL trains and copies the adapter called `default`, so that is the target's name in PEFT."""


class LanguageModel:
    """A causal language model whose roles are adapters over one resident, frozen base.

    Every method that takes a `role` runs that role's adapter; None is the frozen base itself.
    """

    def __init__(self, net: PeftModel, tokenizer: PreTrainedTokenizerBase, lora: LoraConfig) -> None:
        self.net = net
        self.tokenizer = tokenizer
        self._lora = lora
        self.net.eval()

    @classmethod
    def load(
        cls, directory: Path, lora: Lora, *, threads: int = 0, load_in_4bit: bool = False, seed: int = 0
    ) -> LanguageModel:
        """Load a Hugging Face directory (config, tokenizer, safetensors) with a fresh target adapter.

        Float32 on a CPU, bfloat16 on CUDA. Raises `ModelError` if the directory cannot be loaded.
        """
        if threads:
            torch.set_num_threads(threads)
        base, tokenizer = read_base(directory, load_in_4bit=load_in_4bit)
        config = LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.target_modules),
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        try:
            net = get_peft_model(base, config)
        except ValueError as error:
            raise ModelError(
                f"No layer of this model is named {', '.join(lora.target_modules)}; "
                "name its linear layers under model.lora.target_modules."
            ) from error
        return cls(net, tokenizer, config)

    @property
    def device(self) -> torch.device:
        """Where the base lives."""
        return next(self.net.parameters()).device

    @property
    def exact(self) -> bool:
        """True in float32, where adding an adapter into the weights rounds nothing that shows."""
        return all(parameter.dtype == torch.float32 for parameter in self.net.parameters())

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer that fit."""
        return int(getattr(self.net.config.get_text_config(), "max_position_embeddings", 2048))

    @property
    def base_name(self) -> str:
        """Name of the base as its config knows it."""
        return str(self.net.config.model_type)

    # -- roles ---------------------------------------------------------------------------------------

    def adapter(self, role: str) -> str:
        """PEFT's name of a role's adapter."""
        return _ADAPTERS[role]

    @contextmanager
    def using(self, role: str | None) -> Iterator[None]:
        """Run with a role's adapter (None: the frozen base) and restore what was active."""
        if role is None:
            with self.net.disable_adapter():
                yield
            return
        previous = self.net.active_adapter
        self.net.set_adapter(self.adapter(role))
        try:
            yield
        finally:
            self.net.set_adapter(previous)

    def add_role(self, role: str, *, copy_of: str | None = None, seed: int = 0) -> None:
        """Give a role a fresh adapter (equal to the base: B = 0), or a copy of another role's."""
        name = self.adapter(role)
        if name not in self.net.peft_config:
            self.net.add_adapter(name, self._lora)
        weights = self.adapter_parameters(role)
        if copy_of is not None:
            source = self.adapter_parameters(copy_of)
            for key, parameter in weights.items():
                parameter.data.copy_(source[key].data)
            return
        generator = torch.Generator().manual_seed(seed)
        for key in sorted(weights):
            parameter = weights[key]
            if "lora_A" in key:  # the initialisation of PEFT: Kaiming uniform with a = sqrt(5)
                bound = 1.0 / math.sqrt(parameter.shape[1])
                fresh = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.data.copy_(fresh)
            else:
                parameter.data.zero_()

    def adapter_parameters(self, role: str) -> dict[str, torch.nn.Parameter]:
        """The parameters of a role's adapter, named without the adapter's name."""
        mark = f".{self.adapter(role)}."
        return {
            name.replace(mark, "."): parameter
            for name, parameter in self.net.named_parameters()
            if mark in name and "lora_" in name
        }

    def trained(self, role: str) -> bool:
        """False where a role's adapter changes nothing: every B is zero, as in a fresh one."""
        return any(bool(weight.any()) for name, weight in self.adapter_parameters(role).items() if "lora_B" in name)

    def fingerprint(self, role: str) -> str:
        """64 hex digits that change with a role's weights."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.adapter_parameters(role).items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()

    def save_role(self, role: str, directory: Path) -> None:
        """Write a role's adapter in PEFT format (adapter_config.json, adapter_model.safetensors).

        Raises `StorageError` where it cannot be written; an adapter that was there stays.
        """
        name = self.adapter(role)
        state = get_peft_model_state_dict(self.net, adapter_name=name)
        tensors = {key: value.contiguous().cpu() for key, value in state.items()}
        temporary = directory / ".adapter_model.tmp"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(save(tensors))
            self.net.peft_config[name].save_pretrained(str(directory))
            temporary.replace(directory / "adapter_model.safetensors")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StorageError(
                f"{directory} cannot be written: {error.strerror or error}. Free space, then run the same command with "
                "--on-existing resume."
            ) from error

    def load_role(self, role: str, directory: Path) -> None:
        """Read a role's adapter from a PEFT directory.

        Raises `ModelError` where there is none, or one of another model or shape: loaded all the same it would act
        at the wrong strength.
        """
        name = self.adapter(role)
        self._check_shape(directory)
        if name not in self.net.peft_config:
            self.net.add_adapter(name, self._lora)
        try:
            state = load_peft_weights(str(directory), device=str(self.device))
            result = set_peft_model_state_dict(self.net, state, adapter_name=name)
        except Exception as error:
            raise ModelError(f"{directory} holds no adapter of this model: {error}") from error
        if result is not None and result.unexpected_keys:
            raise ModelError(f"{directory} holds an adapter of another model ({result.unexpected_keys[0]}, ...).")

    def _check_shape(self, directory: Path) -> None:
        try:
            found = PeftConfig.from_pretrained(str(directory))
        except Exception as error:
            raise ModelError(f"{directory} holds no adapter in PEFT format: {error}") from error
        for field in ("r", "lora_alpha", "use_rslora", "use_dora"):
            got, expected = getattr(found, field, None), getattr(self._lora, field)
            if got != expected:
                raise ModelError(
                    f"{directory} holds an adapter with {field} {got}, but the recipe's has {expected}. "
                    "Set model.lora as it was trained, e.g. -o model.lora.r=16 -o model.lora.alpha=32."
                )

    # -- text ----------------------------------------------------------------------------------------

    def render(self, request: Request) -> str:
        """The chat-formatted prompt up to and including the prefill."""
        return render(self.tokenizer, request)

    def length(self, request: Request) -> int:
        """Tokens of the rendered prompt."""
        return len(self.tokenizer(self.render(request), add_special_tokens=False)["input_ids"])

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        role: str | None,
        seed: int,
        batch_size: int = 64,
    ) -> list[Generation]:
        """One generation a request, in order. Sorted by length into batches; each batch is seeded on its own."""
        prompts = [self.render(request) for request in requests]
        with self.using(role), torch.inference_mode(), merged(self.net) if role else nullcontext():
            begun = [request.prefill for request in requests]
            texts = sample(self.net, self.tokenizer, prompts, sampling, seed=seed, batch_size=batch_size, begun=begun)
        return [
            Generation(request.prefill + text, n_tokens, finish)
            for request, (text, n_tokens, finish) in zip(requests, texts, strict=True)
        ]

    def user_turns(
        self, openings: Sequence[str], sampling: Sampling, *, seed: int, batch_size: int = 64
    ) -> list[Generation]:
        """What the frozen base says in the user's place (Magpie, arXiv 2406.08464), one turn for each opening.

        A turn begins with its opening; '' leaves the first words to the model too.
        """
        prompts = [user_turn(self.tokenizer) + opening for opening in openings]
        with self.using(None), torch.inference_mode():
            texts = sample(
                self.net, self.tokenizer, prompts, sampling, seed=seed, batch_size=batch_size, begun=openings
            )
        return [
            Generation((opening + text).strip(), n_tokens, finish)
            for opening, (text, n_tokens, finish) in zip(openings, texts, strict=True)
        ]

    def token_logprobs(
        self, pairs: Sequence[tuple[str, str]], *, role: str | None, batch_size: int = 32
    ) -> list[np.ndarray]:
        """log p of every token of the completion given the rendered prompt, nats, shape (tokens,), for each pair."""
        with self.using(role), torch.inference_mode(), merged(self.net) if role else nullcontext():
            return _forward.token_logprobs(self.net, self.tokenizer, pairs, batch_size=batch_size)

    def logprobs(
        self, pairs: Sequence[tuple[str, str]], *, role: str | None, batch_size: int = 32
    ) -> list[tuple[float, int]]:
        """(sum of log p(completion | rendered prompt) in nats, completion tokens) for each pair."""
        found = self.token_logprobs(pairs, role=role, batch_size=batch_size)
        return [(float(tokens.sum()), len(tokens)) for tokens in found]

    def read(
        self, pairs: Sequence[tuple[str, str]], *, layer: int, batch_size: int = 32, window: int | None = None
    ) -> tuple[list[tuple[float, int]], np.ndarray]:
        """`logprobs` of the frozen base and `states_at` of one layer, from one pass; no completion is empty."""
        with self.using(None), torch.inference_mode():
            found, states = _forward.read(
                self.net, self.tokenizer, pairs, layer=layer, batch_size=batch_size, window=window
            )
        return [(float(tokens.sum()), len(tokens)) for tokens in found], states

    def states(self, pairs: Sequence[tuple[str, str]], *, layer: int, batch_size: int = 32) -> np.ndarray:
        """(N, hidden) mean over completion tokens of the frozen base's hidden state after `layer` layers."""
        found: np.ndarray = self.states_at(pairs, layers=(layer,), batch_size=batch_size)[0]
        return found

    def states_at(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        layers: Sequence[int],
        batch_size: int = 32,
        window: int | None = None,
    ) -> np.ndarray:
        """(layers, N, hidden): like `states`, for several layers in one pass.

        With `window`, (layers, N, 2 hidden): the mean and the highest mean of a stretch of that many tokens.
        """
        with self.using(None), torch.inference_mode():
            return _forward.states(self.net, self.tokenizer, pairs, layers=layers, batch_size=batch_size, window=window)
