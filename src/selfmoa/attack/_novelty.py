"""Is an expansion new? Exact history and BLEU against its own seed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

from nltk.translate.bleu_score import sentence_bleu

__all__ = ["History", "bleu", "normalise"]


def normalise(text: str) -> str:
    """Lower case, letters and digits only, single blanks."""
    return " ".join(re.findall(r"\w+", text.lower()))


def bleu(seed: str, expansion: str) -> float:
    """BLEU of the expansion against its seed in [0, 1]; 1- and 2-grams alike, whitespace tokens (APRT)."""
    hypothesis = expansion.split()
    if not hypothesis or not seed.split():
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no shared 2-gram counts as 0, which is what is meant
        return float(sentence_bleu([seed.split()], hypothesis, weights=(1, 1, 0, 0)))


class History:
    """Every prompt ever seen, normalised; starts with all seeds and all E0 targets (method section 3)."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._seen = {normalise(text) for text in texts}

    def __contains__(self, text: str) -> bool:
        return normalise(text) in self._seen

    def add(self, text: str) -> None:
        """Remember a prompt."""
        self._seen.add(normalise(text))
