"""Judges with one number an answer: sequence classifiers and reward models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from selfmoa.judge._conversation import CHAT, conversation, defused, fill, markers, within
from selfmoa.judge._head import probability
from selfmoa.judge._helpfulness import quartile_map
from selfmoa.judge._hosted import Hosted, HostedOptions, from_weights
from selfmoa.judge._protocol import EvaluatorContext, Item, Verdict
from selfmoa.recipe import JudgeRef

__all__ = ["LOADERS", "ScalarJudge", "ScalarOptions"]


class ScalarOptions(HostedOptions):
    """How the text is written and how the number becomes a value in [0, 1]."""

    template: str = Field(
        "\n\nHuman: {prompt}\n\nAssistant: {response}",
        description="Text with {prompt} and {response}, or 'chat' for the tokenizer's chat template.",
    )
    label: int = Field(0, ge=0, description="Column of the output that is read.")
    direction: Literal["higher", "lower"] = Field("higher", description="Raw values that are better.")
    squash: Literal["sigmoid", "softmax", "range", "fit"] = Field(
        "sigmoid", description="range: low..high to 0..1; fit: by the quartiles of the unaligned model's answers."
    )
    low: float = 0.0
    high: float = Field(1.0, description="Ends of `range`; raw values are clipped to it.")

    @model_validator(mode="after")
    def _range_is_one(self) -> ScalarOptions:
        if self.squash == "range" and self.high <= self.low:
            raise ValueError(f"high ({self.high}) must be above low ({self.low})")
        return self


class ScalarJudge(Hosted):
    """A sequence classifier or reward model. A text that is too long loses its beginning, never the answer's end;
    over a chat template the beginning of the prompt, then that of the answer."""

    def __init__(
        self, ref: JudgeRef, options: ScalarOptions, context: EvaluatorContext, load: Callable[[Any], Any]
    ) -> None:
        super().__init__(ref, options, context)
        self._options, self._loader = options, load
        if options.squash == "fit":
            self.fit = self._fit

    def _load(self, directory: Any) -> Any:
        return self._loader(directory)

    def _fit(self, items: Sequence[Item]) -> None:
        filled = [item for item in items if (item.response or "").strip()]
        raw: list[float] = []
        for start in range(0, len(filled), self._context.batch_size):
            raw += self._raw(filled[start : start + self._context.batch_size])[0]
        self._context.state[self.name] = quartile_map(raw)

    def _batch(self, items: Sequence[Item]) -> list[Verdict]:
        return [
            Verdict(value, raw=raw) if math.isfinite(raw) else Verdict(None, "the model's output is not finite")
            for raw, value in zip(*self._raw(items), strict=True)
        ]

    def _text(self, tokenizer: Any, item: Item, marks: Sequence[str]) -> str:
        prompt, response = (defused(text, marks) for text in (item.prompt or "", item.response))
        if self._options.template != CHAT:
            return fill(self._options.template, {"prompt": prompt, "response": response})
        return within(
            tokenizer,
            lambda asked, answered: conversation(tokenizer, asked, answered, more={}, asks=False),
            prompt,
            response,
            self._options.max_length,
        )

    def _raw(self, items: Sequence[Item]) -> tuple[list[float], list[float]]:
        import torch

        net, tokenizer = self._open()
        tokenizer.truncation_side = "left"
        marks = markers(tokenizer, self._options.template)
        tokens = tokenizer(
            [self._text(tokenizer, item, marks) for item in items],
            padding=True,
            truncation=True,
            max_length=self._options.max_length,
            return_tensors="pt",
            # a chat template writes its own special tokens
            add_special_tokens=self._options.template != CHAT,
        ).to(net.device)
        with torch.inference_mode():
            logits = net(**tokens).logits.float().cpu().numpy().astype(np.float64)
        raw = logits[:, self._options.label]
        return raw.tolist(), self._squashed(logits, raw).tolist()

    def _squashed(self, logits: np.ndarray, raw: np.ndarray) -> np.ndarray:
        options = self._options
        if options.squash == "softmax":
            shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
            value = shifted[:, options.label] / shifted.sum(axis=1)
        elif options.squash == "range":
            value = (np.clip(raw, options.low, options.high) - options.low) / (options.high - options.low)
        elif options.squash == "fit":
            fitted = self._state() or {"middle": 0.0, "scale": 1.0}
            value = probability((raw - fitted["middle"]) / fitted["scale"])
        else:
            value = probability(raw)
        return 1.0 - value if options.direction == "lower" else value


def _load_classifier(directory: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    return from_weights(AutoModelForSequenceClassification, directory)


def _load_llama_reward(directory: Any) -> Any:
    from selfmoa.judge._llama_reward import LlamaRewardModel

    return from_weights(LlamaRewardModel, directory)


def _load_gated_reward(directory: Any) -> Any:
    from selfmoa.judge._gated_reward import GatedRewardModel

    return from_weights(GatedRewardModel, directory)


LOADERS: dict[str, Callable[[Any], Any]] = {
    "classifier": _load_classifier,
    "reward": _load_classifier,
    "llama-reward": _load_llama_reward,
    "gated-reward": _load_gated_reward,
}
"""Family -> what loads its model from a directory."""
