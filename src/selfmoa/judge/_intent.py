"""Does a prompt ask for harm? Learnt from a run's own seeds and harmless prompts, no labels beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from selfmoa.judge._encoder import ENCODER, encoder
from selfmoa.judge._head import Head, fit_dense, kept_head, probability
from selfmoa.records import stable_id

__all__ = ["Intent"]

_STRENGTH = 1e-2
"""scikit-learn's C of the logistic head."""
_VERSION = 1
"""Another one where features or fit change, so that no head kept before is taken for it."""


class Intent:
    """A logistic head over MiniLM's wording features: attack seeds against harmless prompts of the same forms."""

    def __init__(self, head: Head) -> None:
        self._head = head

    @classmethod
    def fit(cls, attacks: Sequence[str], harmless: Sequence[str], cache: Path) -> Intent:
        """Both sides count the same, however many prompts each holds; kept in `cache` for the next run.

        Raises `AssetError` without the encoder.
        """
        path = cache / f"intent-{stable_id(_VERSION, ENCODER, _STRENGTH, len(attacks), *attacks, *harmless)}"
        sizes = {"attacks": len(attacks), "harmless": len(harmless)}
        head, _ = kept_head(path, lambda: (_fitted(attacks, harmless), sizes))
        return cls(head)

    def harm(self, prompts: Sequence[str]) -> np.ndarray:
        """Probability that a prompt asks for harm, (n,), in [0, 1]."""
        if not prompts:
            return np.zeros(0)
        return probability(self._head.logits(encoder().wording(list(prompts))))


def _fitted(attacks: Sequence[str], harmless: Sequence[str]) -> Head:
    features = encoder().wording([*attacks, *harmless])
    n, longer = len(attacks), max(len(attacks), len(harmless))
    # the smaller side is repeated: the head has no weights
    order = np.concatenate([np.resize(np.arange(n), longer), n + np.resize(np.arange(len(harmless)), longer)])
    return fit_dense(_STRENGTH)(features[order], np.repeat([1.0, 0.0], longer))
