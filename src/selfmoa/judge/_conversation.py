"""A prompt and an answer written as a hosted judge expects them: templates, hostile text, length.

The judged text is hostile: it may hold the delimiters of the judge's own prompt and try to close it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from selfmoa.errors import UsageError
from selfmoa.generate import dateless

__all__ = ["CHAT", "conversation", "defused", "encode", "fill", "markers", "within"]

CHAT = "chat"
"""As `template`: the tokenizer's own chat template, a user turn and an assistant turn."""
_FIELD = re.compile(r"\{(\w+)\}")
_MARKER = re.compile(r"<[^<>\n]{1,40}>|\[/?[A-Z]{2,10}\]")
_LABEL = re.compile(r"^([A-Z][\w ]{1,20}:)\s*\{", re.MULTILINE)
"""What begins a turn in plain words, before a field: "User: {prompt}"."""


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its known {fields} replaced in one pass: a value that holds {response} stays as it is."""
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), template)


def conversation(
    tokenizer: Any, prompt: str, response: str, *, parts: bool = False, more: Mapping[str, Any], asks: bool
) -> str:
    """The tokenizer's chat template over one user and one assistant turn; `asks`: the model is to go on.

    `parts`: contents as lists of typed parts, which some templates expect (a string would vanish in them). A
    template that prints today's date prints a fixed one: a score must not depend on the day.
    """

    def content(text: str) -> Any:
        return [{"type": "text", "text": text}] if parts else text

    turns = [{"role": "user", "content": content(prompt)}, {"role": "assistant", "content": content(response)}]
    template = dateless(tokenizer.get_chat_template())
    return str(
        tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False, add_generation_prompt=asks, **more)
    )


def markers(tokenizer: Any, *templates: str) -> tuple[str, ...]:
    """Delimiters that only the judge's prompt may write: special tokens, and <...> or [INST] in its templates.

    The tokenizer's chat template is one of them. Of the others also the words that begin a turn, at a line's beginning.
    """
    special = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    written = (mark for template in (*templates, str(tokenizer.chat_template)) for mark in _MARKER.findall(template))
    labels = (f"\n{label}" for template in templates for label in _LABEL.findall(template))
    return tuple(sorted({mark for mark in (*special, *written, *labels) if len(mark) > 2}))


def defused(text: str, marks: Iterable[str]) -> str:
    """The text with a space after the first letter or sign of every delimiter in it: readable, but no delimiter."""
    for mark in marks:
        first = len(mark) - len(mark.lstrip()) + 1
        text = text.replace(mark, f"{mark[:first]} {mark[first:]}")
    return text


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that writes its special tokens itself."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def within(tokenizer: Any, write: Callable[[str, str], str], prompt: str, response: str, limit: int) -> str:
    """`write(prompt, response)` in at most `limit` tokens: the prompt loses its beginning, then the answer does.

    Raises `UsageError` where the template alone is longer.
    """
    while True:
        text = write(prompt, response)
        excess = len(encode(tokenizer, text)) - limit
        if excess <= 0:
            return text
        if prompt:
            prompt = _without_beginning(tokenizer, prompt, excess)
        elif response:
            response = _without_beginning(tokenizer, response, excess)
        else:
            raise UsageError(f"The judge's template alone is longer than max_length ({limit}); raise it.")


def _without_beginning(tokenizer: Any, text: str, tokens: int) -> str:
    share = min(1.0, tokens / max(len(encode(tokenizer, text)), 1))
    return text[max(1, math.ceil(len(text) * share)) :]
