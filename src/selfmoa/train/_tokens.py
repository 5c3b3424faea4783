"""Texts become tokens exactly as in generation: prompt and answer apart, nothing added in front."""

from __future__ import annotations

from selfmoa.generate import LanguageModel

__all__ = ["encode", "end_of_turn", "fit"]

_MARK = "answer"


def end_of_turn(model: LanguageModel) -> int:
    """The token after which an answer is over.

    It is what the chat template puts behind an answer, if generation stops there (Gemma: `<end_of_turn>`,
    not `<eos>`), else the tokenizer's eos.
    """
    tokenizer = model.tokenizer
    declared = getattr(model.net.generation_config, "eos_token_id", None)
    stops = {tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])}
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _MARK}]
    tail = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(_MARK)[2]
    behind = encode(model, tail)
    return next((token for token in behind if token in stops), int(tokenizer.eos_token_id))


def encode(model: LanguageModel, text: str) -> list[int]:
    """Token ids without BOS or EOS (a rendered prompt has its own)."""
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def fit(prompt: list[int], answer: list[int], max_length: int) -> list[int] | None:
    """The answer cut to what fits behind the prompt; None where nothing of it does."""
    return answer[: max_length - len(prompt)] if answer and len(prompt) < max_length else None
