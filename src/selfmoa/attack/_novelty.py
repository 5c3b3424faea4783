"""Is an expansion new? The history, exact or nearly so, and BLEU against its own seed."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable

from nltk.translate.bleu_score import sentence_bleu
from rapidfuzz import fuzz, process

__all__ = ["History", "bleu", "normalise"]


def normalise(text: str) -> str:
    """Lower case, letters and digits only, single blanks."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _in_order(text: str) -> str:
    return " ".join(sorted(normalise(text).split()))


def bleu(seed: str, expansion: str) -> float:
    """BLEU of the expansion against its seed in [0, 1]; 1- and 2-grams alike, whitespace tokens (APRT)."""
    hypothesis = expansion.split()
    if not hypothesis or not seed.split():
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no shared 2-gram counts as 0, which is what is meant
        return float(sentence_bleu([seed.split()], hypothesis, weights=(1, 1, 0, 0)))


class History:
    """Every prompt ever seen, normalised; starts with all seeds and all E0 targets (docs/method.md, One round)."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._seen: set[str] = set()
        self._sorted: set[str] = set()
        """The same with the words of each in alphabetical order."""
        for text in texts:
            self.add(text)

    def __contains__(self, text: str) -> bool:
        return normalise(text) in self._seen

    def add(self, text: str) -> None:
        """Remember a prompt."""
        self._seen.add(normalise(text))
        self._sorted.add(_in_order(text))

    def holds_like(self, text: str, above: float) -> bool:
        """True where some prompt is more alike than `above` in [0, 1].

        Normalised indel similarity of the words, as they stand or in alphabetical order, whichever is the greater.
        """
        forms = ((normalise(text), self._seen), (_in_order(text), self._sorted))
        nearest = (process.extractOne(form, seen, scorer=fuzz.ratio, score_cutoff=100 * above) for form, seen in forms)
        return any(found is not None and found[1] > 100 * above for found in nearest)
