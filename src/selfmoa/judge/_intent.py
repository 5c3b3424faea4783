"""Does a prompt ask for harm? Learnt from a run's own seeds and harmless prompts, no labels beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selfmoa.judge._encoder import encoder
from selfmoa.judge._head import Head, fit_dense, probability

__all__ = ["Intent"]

_STRENGTH = 1e-2
"""scikit-learn's C of the logistic head."""


class Intent:
    """A logistic head over MiniLM's wording features: attack seeds against harmless prompts of the same forms."""

    def __init__(self, head: Head) -> None:
        self._head = head

    @classmethod
    def fit(cls, attacks: Sequence[str], harmless: Sequence[str]) -> Intent:
        """Both sides count the same, however many prompts each holds. Raises `AssetError` without the encoder."""
        features = encoder().wording([*attacks, *harmless])
        n, longer = len(attacks), max(len(attacks), len(harmless))
        # the smaller side is repeated: the head has no weights
        order = np.concatenate([np.resize(np.arange(n), longer), n + np.resize(np.arange(len(harmless)), longer)])
        return cls(fit_dense(_STRENGTH)(features[order], np.repeat([1.0, 0.0], longer)))

    def harm(self, prompts: Sequence[str]) -> np.ndarray:
        """Probability that a prompt asks for harm, (n,), in [0, 1]."""
        if not prompts:
            return np.zeros(0)
        return probability(self._head.logits(encoder().wording(list(prompts))))
