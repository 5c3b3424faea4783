"""Chat completions from any OpenAI-compatible endpoint: a vLLM, llama.cpp or Ollama server, or a paid service."""

from __future__ import annotations

import json
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ConfigDict, Field, field_validator
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.nap import sleep_using_event

from selfmoa.errors import EndpointError, UsageError
from selfmoa.generate._ledger import Charge, Ledger
from selfmoa.generate._protocol import Generation, Request, Unanswered
from selfmoa.generate._reply import EndpointFailure, failure_of, read_reply
from selfmoa.recipe import Sampling

__all__ = ["Endpoint", "EndpointGenerator"]

log = logging.getLogger("selfmoa")

_MOST_BYTES = 4_000_000
"""A longer body is no chat completion."""
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
"""Failures before a request reached the model: they cost nothing."""


class Endpoint(BaseModel):
    """Where and how to ask. The key itself is never here: `key_env` names the environment variable that holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str = Field(description="Up to and without /chat/completions, e.g. http://127.0.0.1:8000/v1.")
    model: str = Field(min_length=1, description="Name of the model at the endpoint.")
    key_env: str | None = Field(None, description="NAME of the environment variable with the key; None sends none.")
    concurrency: int = Field(4, ge=1, le=256, description="Requests on their way at once.")
    timeout: float = Field(60.0, gt=0, le=3600, description="Seconds for one attempt.")
    retries: int = Field(4, ge=0, le=20, description="Further attempts after 408, 429, 5xx, a timeout, no connection.")
    backoff: float = Field(1.0, ge=0, le=60, description="Seconds before the first retry; doubles, with jitter.")
    max_wait: float = Field(60.0, ge=0, le=3600, description="Longest pause; a longer Retry-After ends the item.")
    give_up_after: int = Field(8, ge=1, description="Failures in a row after which nothing more is sent in this call.")
    usd_per_million_prompt: float = Field(0.0, ge=0, description="Price of prompt tokens.")
    usd_per_million_completion: float = Field(0.0, ge=0, description="Price of completion tokens.")
    max_usd: float | None = Field(None, gt=0, description="Hard cap on what the ledger may reach.")
    system_role: bool = Field(True, description="False: the system text goes to the head of the user's turn.")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of the request; null takes one of ours out."
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str) -> str:
        try:
            httpx2.URL(value)
        except httpx2.InvalidURL as error:
            raise ValueError(f"no address: {error}") from None
        parts = urlsplit(value)  # these raise a ValueError of their own for a bad host or port
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("expected http(s)://HOST/PATH")
        if parts.query or parts.fragment:
            raise ValueError("expected an address without query")
        if parts.username or parts.password:
            raise ValueError("no user or password in the address; put the key into an environment variable (key_env)")
        return value.rstrip("/").removesuffix("/chat/completions")

    @field_validator("key_env")
    @classmethod
    def _a_name(cls, value: str | None) -> str | None:
        # The value is not repeated: whoever gets this wrong has written the key itself here.
        if value is not None and not (value.isascii() and value.isidentifier() and value == value.upper()):
            raise ValueError("expected the NAME of an environment variable (A-Z, 0-9, _), not the key itself")
        return value

    @field_validator("extra")
    @classmethod
    def _nothing_of_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted({"messages", "model", "stream", "n"} & value.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        limits = [value[name] for name in ("max_tokens", "max_completion_tokens") if value.get(name) is not None]
        if ("max_tokens" in value and not limits) or not all(type(most) is int and most > 0 for most in limits):
            raise ValueError("max_tokens or max_completion_tokens must stay, as a whole number above 0")
        if any(word in name.lower() for name in value for word in ("key", "auth", "secret", "password")):
            raise ValueError("no key in here; put it into an environment variable and name that in key_env")
        return value


class _Watch:
    """Ends a call early: after a failure that no later request can escape, or too many in a row."""

    def __init__(self, allowed: int) -> None:
        self.reason = ""
        self.stopped = threading.Event()
        self._allowed, self._in_a_row, self._lock = allowed, 0, threading.Lock()

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.stopped.set()

    def note(self, failure: EndpointFailure | None) -> None:
        """Count the end of one item."""
        with self._lock:
            if failure is None:
                self._in_a_row = 0
            elif failure.fatal:
                self.stop(failure.reason)
            elif failure.counts:
                self._in_a_row += 1
                if self._in_a_row >= self._allowed:
                    self.stop(f"gave up on the endpoint after {self._in_a_row} failures in a row; {failure.reason}")


class EndpointGenerator:
    """A `Generator` over an OpenAI-compatible endpoint.

    Raises `UsageError` when made: the variable that `key_env` names is not set, or `max_usd` without a price.
    """

    def __init__(self, endpoint: Endpoint, ledger: Ledger | None = None) -> None:
        self._endpoint = endpoint
        self._ledger = ledger or Ledger(cap_usd=endpoint.max_usd)
        self._key = _key(endpoint.key_env)
        if self._key and not _private(endpoint.base_url):
            log.warning("The key for %s travels unencrypted; use https.", endpoint.base_url)
        prices = endpoint.usd_per_million_prompt, endpoint.usd_per_million_completion
        if endpoint.max_usd is not None and not any(prices):
            raise UsageError(
                f"max_usd is {endpoint.max_usd:g}, but no price is given, so nothing could be counted. Set "
                "usd_per_million_prompt and usd_per_million_completion, or remove max_usd."
            )

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """One generation a request, in order. Equal arguments give equal texts as far as the endpoint heeds `seed`.

        Raises `EndpointError` where a request stays without an answer, `UsageError` for a role or a prefill.
        """
        if role is not None:
            raise UsageError(f"An endpoint has no adapters, got role {role!r}; use role None.")
        found: list[Generation] = []
        for answer in self.ask(requests, sampling, seed=seed):
            if isinstance(answer, Unanswered):
                raise EndpointError(f"{self._endpoint.base_url}: {answer.reason}")
            found.append(answer)
        return found

    def ask(self, requests: Sequence[Request], sampling: Sampling, *, seed: int) -> list[Generation | Unanswered]:
        """One generation or reason a request, in order; no fault of the endpoint raises.

        After 401, 403, 404, an empty account, a spent budget or `give_up_after` failures in a row, what is left is
        not sent.
        """
        if any(request.prefill for request in requests):
            raise UsageError("An endpoint cannot go on from a prefilled opener; leave prefill empty.")
        watch = _Watch(self._endpoint.give_up_after)
        headers = {
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        }
        # with fewer connections some requests would wait for one, and time out
        limits = httpx2.Limits(max_connections=self._endpoint.concurrency)
        with (
            httpx2.Client(timeout=self._endpoint.timeout, headers=headers, verify=_trust(), limits=limits) as client,
            ThreadPoolExecutor(self._endpoint.concurrency, thread_name_prefix="endpoint") as pool,
        ):
            try:
                bodies = [self._body(request, sampling, seed) for request in requests]
                return list(pool.map(lambda body: self._one(client, watch, body), bodies))
            except BaseException:
                watch.stop("interrupted")
                raise

    def _body(self, request: Request, sampling: Sampling, seed: int) -> dict[str, Any]:
        system, user = request.system, request.user
        if system and not self._endpoint.system_role:
            system, user = None, f"{system}\n\n{user}"
        turns = [{"role": "system", "content": system}] if system else []
        body = {
            "model": self._endpoint.model,
            "messages": [*turns, {"role": "user", "content": user}],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.top_p < 1 else None,
            "max_tokens": sampling.max_new_tokens,
            "seed": seed,
            **self._endpoint.extra,
        }
        return {key: value for key, value in body.items() if value is not None}

    def _one(self, client: httpx2.Client, watch: _Watch, body: dict[str, Any]) -> Generation | Unanswered:
        """One item with its retries."""
        attempts = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, EndpointFailure) and error.transient and not watch.reason
            ),
            stop=stop_after_attempt(self._endpoint.retries + 1),
            wait=self._pause,
            sleep=sleep_using_event(watch.stopped),
            reraise=True,
        )
        try:
            answer = attempts(self._attempt, client, watch, body)
        except EndpointFailure as failure:
            watch.note(failure)
            return Unanswered(failure.reason)
        watch.note(None)
        return answer

    def _pause(self, state: RetryCallState) -> float:
        """Seconds until the next attempt: the doubled backoff with half of it jitter, or longer if so asked."""
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.retry_after if isinstance(failure, EndpointFailure) else 0.0
        backoff = min(self._endpoint.backoff * 2 ** (state.attempt_number - 1), self._endpoint.max_wait)
        return max(asked, backoff * random.uniform(0.5, 1.0))

    def _attempt(self, client: httpx2.Client, watch: _Watch, body: dict[str, Any]) -> Generation:
        if watch.reason:
            raise EndpointFailure(watch.reason, counts=False)
        prompt, completion = _bounds(body)
        worst = self._usd(prompt, completion)
        if not self._ledger.reserve(worst):
            raise EndpointFailure(self._ledger.used_up, fatal=True)
        start = time.perf_counter()
        outcome, counted, estimated = "interrupted", (prompt, completion), True
        try:
            status, headers, data = self._post(client, body)
            if status != 200:
                outcome, counted, estimated = f"HTTP {status}", (0, 0), False
                raise failure_of(status, data, self._key, _retry_after(headers), self._endpoint.max_wait)
            reply = read_reply(data, headers.get("content-type", ""), prompt=_text(body))
            outcome, counted, estimated = reply.outcome, reply.tokens, reply.estimated
            return reply.generation()
        except httpx2.RequestError as error:
            # Only the kind: the message of a protocol error may quote a header, and so the key.
            outcome = type(error).__name__
            if isinstance(error, _NEVER_SENT):
                counted, estimated = (0, 0), False
            raise _unreached(error, self._endpoint.timeout) from None
        except EndpointFailure as failure:
            if outcome == "interrupted":
                outcome = failure.reason
            raise
        finally:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            seconds = round(time.perf_counter() - start, 3)
            usd = self._usd(*counted)
            self._ledger.settle(worst, Charge(now, self._endpoint.model, outcome, *counted, estimated, usd, seconds))

    def _post(self, client: httpx2.Client, body: dict[str, Any]) -> tuple[int, httpx2.Headers, bytes]:
        """(status, headers, body). The timeout holds for the whole answer, not for each piece of it."""
        end = time.monotonic() + self._endpoint.timeout
        data = bytearray()
        # ASCII with escapes: half a surrogate pair in a text must not stop the run.
        content = json.dumps(body).encode("ascii")
        with client.stream("POST", f"{self._endpoint.base_url}/chat/completions", content=content) as response:
            for piece in response.iter_bytes():
                data += piece
                if len(data) > _MOST_BYTES:
                    raise EndpointFailure(f"the endpoint's answer exceeds {_MOST_BYTES} bytes")
                if time.monotonic() > end:
                    raise httpx2.ReadTimeout("too slow")
            return response.status_code, response.headers, bytes(data)

    def _usd(self, prompt: int, completion: int) -> float:
        prices = self._endpoint
        return (prompt * prices.usd_per_million_prompt + completion * prices.usd_per_million_completion) / 1e6


@lru_cache
def _trust() -> ssl.SSLContext:
    """httpx's own certificates, read once and not for every batch."""
    return httpx2.create_ssl_context()


def _key(name: str | None) -> str:
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise UsageError(f"The environment variable {name} is not set or empty; export it with the endpoint's key.")
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"The environment variable {name} holds characters that no key has; copy the key again.")
    return key


def _private(base_url: str) -> bool:
    address = urlsplit(base_url)
    return address.scheme == "https" or address.hostname in ("localhost", "127.0.0.1", "::1")


def _text(body: dict[str, Any]) -> str:
    return "".join(message["content"] for message in body["messages"])


def _bounds(body: dict[str, Any]) -> tuple[int, int]:
    """(prompt, completion) tokens that are not exceeded: a token has a byte at least; 16 a message for its marks."""
    most: int = body.get("max_completion_tokens") or body["max_tokens"]
    return len(_text(body).encode("utf-8", "replace")) + 16 * len(body["messages"]), most


def _unreached(error: httpx2.RequestError, timeout: float) -> EndpointFailure:
    if isinstance(error, httpx2.TimeoutException):
        return EndpointFailure(f"the endpoint did not answer within {timeout:g} s (timeout)", transient=True)
    if isinstance(error, httpx2.DecodingError):
        return EndpointFailure("the endpoint's answer is not encoded as it says")
    return EndpointFailure(
        f"no connection to the endpoint ({type(error).__name__}); is it running and is base_url right?", transient=True
    )


def _retry_after(headers: httpx2.Headers) -> float:
    """Seconds that the endpoint asks to wait: a number or a date; 0 where it does not say."""
    value = headers.get("retry-after", "")
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0
