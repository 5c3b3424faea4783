"""A model of the user's own, in memory, as a generator."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from selfmoa.generate._chat import complete, render
from selfmoa.generate._protocol import Generation, Request
from selfmoa.generate._sampling import sample
from selfmoa.recipe import Sampling

__all__ = ["PlainModel"]


class PlainModel:
    """Any causal language model with its tokenizer, e.g. one in training; it has no roles.

    Generating leaves every module in the mode (train or eval) that it was in, and torch's random state as it was.
    """

    def __init__(self, net: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 32) -> None:
        self._net, self._tokenizer, self._batch_size = net, copy.deepcopy(tokenizer), batch_size
        complete(self._tokenizer)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """One generation a request, in order; `role` is not used."""
        prompts = [render(self._tokenizer, request) for request in requests]
        training = [module for module in self._net.modules() if module.training]
        self._net.eval()
        try:
            with torch.inference_mode():
                begun = [request.prefill for request in requests]
                texts = sample(
                    self._net, self._tokenizer, prompts, sampling, seed=seed, batch_size=self._batch_size, begun=begun
                )
        finally:
            for module in training:  # one by one: a user may hold some layers in eval mode
                module.training = True
        return [
            Generation(request.prefill + text, n_tokens, finish)
            for request, (text, n_tokens, finish) in zip(requests, texts, strict=True)
        ]
