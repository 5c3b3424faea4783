"""How varied prompts are and which hazards they cover: facts about prompts, not about answers; no torch."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from selfmoa.assets import HAZARDS

__all__ = ["PromptFacts", "distinct", "prompt_facts", "self_bleu", "spread"]

Gram = tuple[str, ...]
Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> (n, d) embeddings of length 1."""

SAMPLE = 200
"""Prompts that the figures rest on at the most: self-BLEU rises and distinct-n falls as texts are added."""
_NO_HIT = 0.1
"""What counts in place of no match at all (method 1 of Chen and Cherry)."""
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """Diversity and coverage of one set of prompts; NaN where nothing can be said (too few prompts, no encoder).

    Self-BLEU and distinct-n depend on how many prompts are looked at: compare sets of about the same `sampled`.
    """

    n: int
    sampled: int
    """Prompts that self-BLEU, distinct-n and spread rest on, drawn by seed."""
    self_bleu: float
    """In [0, 1], lower = more varied wording."""
    distinct_1: float
    """In (0, 1], higher = more varied words ..."""
    distinct_2: float
    """... and word pairs."""
    spread: float
    """In [0, 2], higher = more varied meaning."""
    hazards: dict[str, int] = field(default_factory=dict)
    """MLCommons code -> number of prompts."""
    absent: tuple[str, ...] = ()
    """Codes without a prompt; empty where no prompt has a code."""
    uncoded: int = 0
    """Prompts whose source names no code: they may be about any hazard."""


def prompt_facts(
    texts: Sequence[str], hazards: Sequence[str] = (), *, embed: Embed | None = None, seed: int = 0
) -> PromptFacts:
    """Facts about prompts; `hazards` are theirs, one each, where they ask for harm. Without `embed` no spread."""
    drawn = sorted(random.Random(seed).sample(range(len(texts)), min(SAMPLE, len(texts))))
    sample = [texts[number] for number in drawn]
    coded = Counter(hazard for hazard in hazards if hazard in HAZARDS)
    return PromptFacts(
        n=len(texts),
        sampled=len(sample),
        self_bleu=self_bleu(sample),
        distinct_1=distinct(sample, 1),
        distinct_2=distinct(sample, 2),
        spread=spread(embed(sample)) if embed and sample else _NAN,
        hazards={code: coded[code] for code in HAZARDS if coded[code]},
        absent=tuple(code for code in HAZARDS if not coded[code]) if coded else (),
        uncoded=len(hazards) - coded.total(),
    )


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU of each text with all others as references, in [0, 1] (Zhu et al., Texygen, 2018).

    1- to 4-grams of lower-cased whitespace tokens, smoothed as there (method 1 of Chen and Cherry 2014); texts of
    fewer than 4 words by the n-grams they have. 1 = all alike. NaN for fewer than two texts. All texts are counted
    once: time grows with the number of words.
    """
    tokens = [words for words in _tokens(texts) if words]
    if len(tokens) < 2:
        return _NAN
    counts = [[Counter(_grams(words, n)) for words in tokens] for n in range(1, 5)]
    highest = [_two_highest(found) for found in counts]
    lengths = Counter(map(len, tokens))
    scores = []
    for place, words in enumerate(tokens):
        orders = range(min(4, len(words)))
        matched = [_matched(counts[n][place], highest[n]) for n in orders]
        others = [length for length, n in lengths.items() if n > (length == len(words))]
        closest = min(others, key=lambda length: (abs(length - len(words)), length))
        scores.append(_bleu(matched, [len(words) - n for n in orders], closest, len(words)))
    return float(np.mean(scores))


def _two_highest(found: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int]]:
    """How often a text has an n-gram at the most, and how often the next text has it: what others have of each."""
    highest: dict[Gram, tuple[int, int]] = {}
    for counts in found:
        for gram, n in counts.items():
            first, second = highest.get(gram, (0, 0))
            highest[gram] = (n, first) if n > first else (first, max(second, n))
    return highest


def _matched(own: Counter[Gram], highest: dict[Gram, tuple[int, int]]) -> int:
    """N-grams of a text that another has as well, each as often as the one that has it most."""
    return sum(min(n, highest[gram][1] if n == highest[gram][0] else highest[gram][0]) for gram, n in own.items())


def _bleu(matched: Sequence[int], totals: Sequence[int], closest: int, length: int) -> float:
    """Papineni et al. 2002, as NLTK's `sentence_bleu` has it; 0 where not even a word is shared."""
    if not matched[0]:
        return 0.0
    logs = [math.log((hits or _NO_HIT) / total) for hits, total in zip(matched, totals, strict=True)]
    return min(1.0, math.exp(1 - closest / length)) * math.exp(sum(logs) / len(logs))


def _grams(words: Sequence[str], n: int) -> Iterator[Gram]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams among all n-grams of the texts, in (0, 1] (Li et al. 2016, distinct-n); NaN without any."""
    grams = [tuple(words[start : start + n]) for words in _tokens(texts) for start in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else _NAN


def spread(embeddings: np.ndarray) -> float:
    """Mean cosine distance of two different rows of (n, d) embeddings of length 1, in [0, 2]; NaN for fewer than two.

    The squared length of the sum holds every pair twice and each row with itself once.
    """
    n = len(embeddings)
    if n < 2:
        return _NAN
    total = embeddings.astype(float).sum(axis=0)
    return max(0.0, 1 - (float(total @ total) - n) / (n * (n - 1)))


def _tokens(texts: Sequence[str]) -> Iterator[list[str]]:
    return (text.lower().split() for text in texts)
