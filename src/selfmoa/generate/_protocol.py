"""What an engine is asked for and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from selfmoa.recipe import Sampling

__all__ = ["Generation", "Generator", "Request", "Unanswered"]


@dataclass(frozen=True, slots=True)
class Request:
    """One text to sample."""

    user: str
    system: str | None = None
    prefill: str = ""
    """Opener that the model goes on from; part of the returned text."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One sampled text."""

    text: str
    """Prefill + continuation, without special tokens."""
    n_tokens: int
    """Sampled tokens, without the prefill."""
    finish: Literal["eos", "length"]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A request that an engine could not answer, and why."""

    reason: str


class Generator(Protocol):
    """Turns prompts into text."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, role: str | None, seed: int
    ) -> list[Generation]:
        """One generation a request, in order; equal arguments give equal texts.

        `role` names the adapter (target, expander, hider) or None for the frozen base.
        """
        ...
