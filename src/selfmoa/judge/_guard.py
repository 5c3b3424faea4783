"""Generative guards, read by the probability of their label token where the label comes; no text is parsed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from selfmoa.errors import ModelError, UsageError
from selfmoa.judge._conversation import CHAT, conversation, defused, encode, fill, markers, within
from selfmoa.judge._head import probability
from selfmoa.judge._hosted import Hosted, HostedOptions, from_weights
from selfmoa.judge._protocol import EvaluatorContext, Item, Verdict
from selfmoa.recipe import JudgeRef

__all__ = ["Guard", "GuardOptions", "log_odds"]

_log = logging.getLogger(__name__)
_LLAMA4_CHUNK = 8192
"""Llama Guard 4's configuration leaves the chunk of its attention open; this is the family's."""

Lead = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class GuardOptions(HostedOptions):
    """How a guard is asked, and where and what it answers."""

    max_length: int = Field(4096, ge=8, description="Tokens of the prompt; the judged prompt is cut first.")
    template: str = Field(
        CHAT, description="'chat' for the tokenizer's chat template, or text with {prompt}, {response}, {policy}."
    )
    published: str = Field(
        "", description="What the chat template should write; a difference is warned of, and it stands in for none."
    )
    parts: bool = Field(False, description="The chat template takes contents as lists of typed parts.")
    arguments: dict[str, Any] = Field({}, description="More arguments of the chat template; {policy} is filled in.")
    lead: Lead = Field(
        ("\n\n",),
        description="What the guard writes before its label. Of several, the label after the last is read and the "
        "ones before are answered by the guard's likelier label.",
    )
    labels: dict[str, float] = Field(
        {"safe": 1.0, "unsafe": 0.0}, description="Label as written after the lead, with its share of safety."
    )
    policies: dict[str, str] = Field({}, description="Code and text; each is asked alone and the worst one counts.")

    @model_validator(mode="after")
    def _readable(self) -> GuardOptions:
        shares = self.labels.values()
        if not self.lead or not shares or min(shares) < 0 or max(shares) > 1 or min(shares) == max(shares):
            raise ValueError("lead must not be empty, and labels need shares in [0, 1] that differ")
        return self


def log_odds(logs: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log-odds of safe, mass of all labels) of label log-probabilities (n, k) and their shares of safety (k,).

    P(safe) = sum of share x p over sum of p: a label with share 0.5 counts half.
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # share 0; NaN logits of a broken model
        safe = np.logaddexp.reduce(logs + np.log(shares), axis=1)
        unsafe = np.logaddexp.reduce(logs + np.log(1.0 - shares), axis=1)
        return safe - unsafe, np.exp(np.logaddexp.reduce(logs, axis=1))


class Guard(Hosted):
    """P(safe) from the logits of a causal guard's label tokens. raw: log-odds of safe, the worst over policies."""

    _LEAST_MASS = 0.01
    """Where the labels together are less likely than this, the guard does not judge: abstain."""

    def __init__(self, ref: JudgeRef, options: GuardOptions, context: EvaluatorContext) -> None:
        super().__init__(ref, options, context)
        self._options = options

    def _load(self, directory: Any) -> Any:
        from transformers import AutoModelForCausalLM

        net = from_weights(AutoModelForCausalLM, directory, dtype="auto")
        if getattr(net.config, "attention_chunk_size", _LLAMA4_CHUNK) is None:
            net.config.attention_chunk_size = _LLAMA4_CHUNK
        return net

    def _open(self) -> tuple[Any, Any]:
        fresh = self._loaded is None
        net, tokenizer = super()._open()
        if fresh:
            self._compare(tokenizer)
        return net, tokenizer

    def _batch(self, items: Sequence[Item]) -> list[Verdict]:
        policies = tuple(self._options.policies.values()) or ("",)
        readings = [self._read(items, policy) for policy in policies]
        odds = np.min([odds for odds, _ in readings], axis=0)
        mass = np.min([mass for _, mass in readings], axis=0)
        return [self._verdict(float(one), float(share)) for one, share in zip(odds, mass, strict=True)]

    def _verdict(self, odds: float, mass: float) -> Verdict:
        if not mass >= self._LEAST_MASS or not np.isfinite(odds):
            return Verdict(None, "the guard gave no label")
        return Verdict(float(probability(np.array(odds))), raw=odds)

    def _read(self, items: Sequence[Item], policy: str) -> tuple[np.ndarray, np.ndarray]:
        """(log-odds of safe, mass of the labels), one an item."""
        net, tokenizer = self._open()
        marks = markers(tokenizer, self._options.template, self._options.published)
        texts = [self._prompt(tokenizer, item, policy, marks) for item in items]
        labels = list(self._options.labels)
        for place, lead in enumerate(self._options.lead):
            # some chat templates write the lead themselves
            texts = [text if text.endswith(lead) else text + lead for text in texts]
            ids = [self._label(tokenizer, texts[0], label) for label in labels]
            if len(set(ids)) < len(ids):
                raise UsageError(f"Judge {self.name!r}: two of its labels start with the same token; name others.")
            logs = _next_logs(net, [encode(tokenizer, text) for text in texts], ids, tokenizer.pad_token_id)
            if place < len(self._options.lead) - 1:
                texts = [text + labels[best] for text, best in zip(texts, logs.argmax(axis=1), strict=True)]
        return log_odds(logs, np.array(list(self._options.labels.values())))

    def _label(self, tokenizer: Any, text: str, label: str) -> int:
        """First token of the label behind this text: in some tokenizers it depends on what stands before."""
        before = encode(tokenizer, text[-64:])
        after = encode(tokenizer, text[-64:] + label)
        if after[: len(before)] != before or len(after) == len(before):
            raise UsageError(
                f"Judge {self.name!r}: its tokenizer joins the label {label!r} with the text before it. Move a space "
                "or a line break from the label to the lead, or back."
            )
        return after[len(before)]

    def _prompt(self, tokenizer: Any, item: Item, policy: str, marks: Sequence[str]) -> str:
        return within(
            tokenizer,
            lambda prompt, response: self._written(tokenizer, prompt, response, policy),
            defused(item.prompt or "", marks),
            defused(item.response, marks),
            self._options.max_length,
        )

    def _written(self, tokenizer: Any, prompt: str, response: str, policy: str) -> str:
        options, values = self._options, {"prompt": prompt, "response": response, "policy": policy}
        if options.template != CHAT:
            return fill(options.template, values)
        if not tokenizer.chat_template:
            if not options.published:
                raise UsageError(f"Judge {self.name!r}: its tokenizer has no chat template; set options.template.")
            return fill(options.published, values)
        arguments = {
            key: fill(value, {"policy": policy}) if isinstance(value, str) else value
            for key, value in options.arguments.items()
        }
        try:
            return conversation(tokenizer, prompt, response, parts=options.parts, more=arguments, asks=True)
        except Exception as error:  # templates are programs of others: jinja2, type and key errors
            raise ModelError(
                f"Judge {self.name!r}: its chat template failed: {type(error).__name__}: {error}. Set "
                "options.template, or options.arguments that it needs."
            ) from error

    def _compare(self, tokenizer: Any) -> None:
        """Warn where the chat template is not the published one: the scores are not this preset's then."""
        options = self._options
        if options.template != CHAT or not options.published or not tokenizer.chat_template:
            return
        values = {"prompt": "[question]", "response": "[answer]", "policy": "[policy]"}
        if self._written(tokenizer, *values.values()).strip() != fill(options.published, values).strip():
            _log.warning(
                "Judge %r: the chat template in %s differs from the published one; its scores may too.",
                self.name,
                self._ref,
            )


def _next_logs(net: Any, rows: list[list[int]], ids: list[int], pad: int) -> np.ndarray:
    """(n, k) log-probabilities of k tokens after each row; rows are padded on the left."""
    import torch

    width = max(len(row) for row in rows)
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=net.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=net.device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = net(input_ids=tokens, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits[:, -1]
        found: np.ndarray = torch.log_softmax(logits.float(), dim=-1)[:, ids].double().cpu().numpy()
    return found
