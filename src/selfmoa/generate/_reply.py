"""Reading what an OpenAI-compatible endpoint sends back; every byte of it is hostile."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from selfmoa.generate._protocol import Generation

__all__ = ["EndpointFailure", "Reply", "failure_of", "read_reply"]

_TRANSIENT = frozenset({408, 409, 425, 429})
_REMEDIES = {
    401: "it does not accept the key; check the variable that key_env names",
    402: "the account has no credit left",
    403: "the key may not use this model",
    404: "it knows no such address or model; check base_url and model",
}
"""What no later request can escape, and what to do."""


_ABOUT_ONE_TEXT = {
    "content_filter": "the endpoint's content filter declined the text",
    "context_length_exceeded": "the text is longer than the model's context",
}
"""Error codes that say nothing about the endpoint."""


class EndpointFailure(Exception):
    """Why one request has no answer."""

    def __init__(
        self,
        reason: str,
        *,
        transient: bool = False,
        fatal: bool = False,
        counts: bool = True,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.transient = transient
        """Another attempt may succeed."""
        self.fatal = fatal
        """No later request can succeed."""
        self.counts = counts
        """Says something about the endpoint, not about this one text."""
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed body: a text, or why there is none; and what it cost."""

    text: str
    finish: str
    tokens: tuple[int, int]
    """(prompt, completion)."""
    estimated: bool
    failure: EndpointFailure | None = None

    @property
    def outcome(self) -> str:
        """For the ledger."""
        return self.failure.reason if self.failure else "ok"

    def generation(self) -> Generation:
        """Raises the failure where there is one."""
        if self.failure:
            raise self.failure
        return Generation(self.text, self.tokens[1], "length" if self.finish == "length" else "eos")


def _estimated_tokens(text: str) -> int:
    """Tokens of a text where nobody counted them: one for three bytes, which leans high (English has about four)."""
    return math.ceil(len(text.encode("utf-8", "replace")) / 3)


def failure_of(status: int, data: bytes, key: str, retry_after: float, max_wait: float) -> EndpointFailure:
    """What an HTTP status other than 200 means."""
    code, message = _complaint(data, key)
    said = f"HTTP {status} from the endpoint"
    if code in _ABOUT_ONE_TEXT:
        return EndpointFailure(_ABOUT_ONE_TEXT[code], counts=False)
    remedy = _REMEDIES.get(402 if code == "insufficient_quota" else status)
    if 300 <= status < 400:
        remedy = "it moved; set base_url to its new address"
    if remedy:
        return EndpointFailure(f"{said}: {remedy}", fatal=True)
    if status not in _TRANSIENT and status < 500:
        return EndpointFailure(f"{said}{message}; check model, extra and the length of the text")
    if retry_after > max_wait:
        return EndpointFailure(f"{said}: it asks to wait {retry_after:.0f} s, longer than max_wait ({max_wait:g} s)")
    return EndpointFailure(said, transient=True, retry_after=retry_after)


def read_reply(data: bytes, content_type: str, *, prompt: str) -> Reply:
    """The first choice of a chat completion. HTML, broken JSON or no choices give a `Reply` with a failure."""
    if "html" in content_type or data.lstrip()[:1] == b"<":
        return _failed("the endpoint sent a web page, not JSON; check base_url", (0, 0))
    guess = _estimated_tokens(prompt)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return _failed("the endpoint sent malformed JSON", (guess, math.ceil(len(data) / 3)))
    usage = _get(body, "usage")
    counts = tuple(_get(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    told = all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts)
    choices = _get(body, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    text = _content(_get(_get(first, "message"), "content"))
    tokens = (counts[0], counts[1]) if told else (guess, _estimated_tokens(text))
    return Reply(text, str(_get(first, "finish_reason")), tokens, not told, _fault(first, text))


def _fault(choice: Any, text: str) -> EndpointFailure | None:
    if choice is None:
        return EndpointFailure("the endpoint sent no choices")
    if _get(_get(choice, "message"), "refusal"):
        return EndpointFailure("the model declined to answer", counts=False)
    if _get(choice, "finish_reason") == "content_filter":
        return EndpointFailure(_ABOUT_ONE_TEXT["content_filter"], counts=False)
    if not text.strip():
        cut = _get(choice, "finish_reason") == "length"
        reason = "the model's answer is empty" + (" (all of max_tokens spent before it)" if cut else "")
        return EndpointFailure(reason, counts=False)
    return None


def _failed(reason: str, tokens: tuple[int, int]) -> Reply:
    return Reply("", "", tokens, True, EndpointFailure(reason))


def _content(value: Any) -> str:
    """A message's text: a string, or a list of parts."""
    if isinstance(value, list):
        return "".join(part for part in (_get(item, "text") for item in value) if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _complaint(data: bytes, key: str) -> tuple[str, str]:
    """(error code, ' (its message)') of an error body, without the key, on one short line."""
    try:
        error = _get(json.loads(data), "error")
    except (ValueError, RecursionError):
        return "", ""
    message = _get(error, "message")
    if not isinstance(message, str) or not message.strip():
        return str(_get(error, "code") or ""), ""
    shown = " ".join(message.replace(key, "***").split() if key else message.split())
    printable = "".join(letter for letter in shown if letter.isprintable())
    return str(_get(error, "code") or ""), f" ({printable[:160]})"


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
