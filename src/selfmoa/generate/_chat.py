"""A request as the model's chat template writes it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from selfmoa.errors import ModelError
from selfmoa.generate._protocol import Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["complete", "dateless", "render", "user_turn"]

_log = logging.getLogger("selfmoa")

_FIXED_DATE = "{% macro strftime_now(format) %}January 01, 2025{% endmacro %}"
# its end is a line's: behind "Assistant:" a model begins with " I", where a trained answer begins with "I"
_PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


def dateless(template: str) -> str:
    """The chat template; one that prints today's date prints a fixed one: nothing may depend on the day."""
    return _FIXED_DATE + template if "strftime_now" in template else template


def render(tokenizer: PreTrainedTokenizerBase, request: Request) -> str:
    """The chat-formatted prompt up to and including the prefill.

    A template without a system role gets the system text at the head of the user turn, a model that may think before
    it answers is told not to: so few tokens would hold nothing else.
    """
    template = dateless(tokenizer.get_chat_template())

    def write(messages: list[dict[str, str]]) -> str:
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return str(text)

    user = [{"role": "user", "content": request.user}]
    if request.system is None:
        return write(user) + request.prefill
    try:
        text = write([{"role": "system", "content": request.system}, *user])
        if request.system not in text:
            raise ValueError("the template drops the system turn")
    except Exception:
        text = write([{"role": "user", "content": f"{request.system}\n\n{request.user}"}])
    return text + request.prefill


def user_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """What stands before the user's first word, for a model that is to write the user's turn."""
    mark = "question"
    return render(tokenizer, Request(user=mark)).rpartition(mark)[0]


def complete(tokenizer: PreTrainedTokenizerBase) -> None:
    """Fill in what a base model's tokenizer lacks: a pad token and a chat template."""
    if tokenizer.eos_token_id is None:
        raise ModelError("The tokenizer has no end-of-sequence token; set eos_token in tokenizer_config.json.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        _log.warning("The model has no chat template (a base model?); a plain 'User: ... Assistant:' one is used.")
        bos = "{{ bos_token }}" if tokenizer.bos_token else ""
        tokenizer.chat_template = bos + _PLAIN_TEMPLATE
