"""A generator that answers by rule, for unit tests; never used in a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from selfmoa.generate._protocol import Generation, Request
from selfmoa.recipe import Sampling

__all__ = ["ScriptedGenerator"]


class ScriptedGenerator:
    """Answers with `reply(request, index)`."""

    def __init__(self, reply: Callable[[Request, int], str]) -> None:
        self._reply = reply
        self.requests: list[Request] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """One scripted text a request."""
        self.requests.extend(requests)
        texts = [request.prefill + self._reply(request, index) for index, request in enumerate(requests)]
        return [Generation(text, len(text.split()), "eos") for text in texts]
