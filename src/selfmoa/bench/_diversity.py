"""How varied prompts are and which hazards they cover: facts about prompts, not about answers; no torch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from selfmoa.assets import HAZARDS

__all__ = ["PromptFacts", "distinct", "prompt_facts", "self_bleu", "spread"]

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts -> (n, d) embeddings of length 1."""

SAMPLE = 200
"""Prompts that the figures rest on at the most: self-BLEU reads every pair, and distinct-n falls as texts are added."""
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
    fewer than 4 words by the n-grams they have. 1 = all alike. NaN for fewer than two texts. Quadratic in their number.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    tokens = [words for words in _tokens(texts) if words]
    if len(tokens) < 2:
        return _NAN
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu([*tokens[:place], *tokens[place + 1 :]], words, _weights(words), smoothing_function=smooth)
        for place, words in enumerate(tokens)
    ]
    return float(np.mean(scores))


def _weights(words: Sequence[str]) -> tuple[float, ...]:
    order = min(4, len(words))
    return (1 / order,) * order


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
