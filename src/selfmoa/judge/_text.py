"""Plain facts about a text: words, sentences, repetition, copying. No model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["cut_words", "echo", "first_sentences", "repetition_factor", "sentences", "words"]

_SENTENCE_END = re.compile(r"(?<=[.!?:;。！？])\s+|\n+")
_LIST_MARK = re.compile(r"(?:[-*•]|\(?\d{1,2}[.)])\s*")
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def words(text: str) -> list[str]:
    """Lower-case words; scripts written without spaces give one word a character."""
    found: list[str] = []
    for word in re.findall(r"\w+", text.lower()):
        found += list(word) if _UNSPACED.search(word) else [word]
    return found


def sentences(text: str) -> list[str]:
    """Sentences and list items, blank ones and bare list marks left out."""
    parts = (part.strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if part and not _LIST_MARK.fullmatch(part)]


def first_sentences(text: str, limit: int) -> str:
    """The text as it stands up to the end of its last sentence within the limit."""
    end = 0
    for part in sentences(text)[:limit]:
        end = text.index(part, end) + len(part)
    return text[:end]


def cut_words(text: str, limit: int) -> str:
    """The first `limit` words as they stand; characters of unspaced scripts are limited as well."""
    text = text.strip()
    ends = [found.end() for found, _ in zip(re.finditer(r"\S+", text), range(limit), strict=False)]
    return text[: ends[-1]][: limit * 12] if ends else ""


def repetition_factor(text: str) -> float:
    """1 = nothing is repeated, towards 0 = the text goes in circles.

    The product of two shares, each with some free repetition: distinct word 3-grams, and sentences that
    do not nearly repeat an earlier one.
    """
    tokens = words(text)
    trigrams = _grams(tokens, 3)
    # a plain English answer of 60 words repeats up to 5 % of its 3-grams
    fresh = len(set(trigrams)) / len(trigrams) if trigrams else 1.0
    return _eased(fresh, free=0.05, worst=0.55) * _eased(_new_sentences(text), free=0.0, worst=0.8) * _runs(tokens)


def echo(prompt: str, response: str) -> float:
    """Share in [0, 1] of the response's word 4-grams that are copied from the prompt.

    Answers shorter than four words are compared word by word.
    """
    asked, answered = words(prompt), words(response)
    size = min(4, len(answered), max(len(asked), 1))
    grams = _grams(answered, size)
    if not grams:
        return 0.0
    known = set(_grams(asked, size))
    return sum(gram in known for gram in grams) / len(grams)


def _grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1)] if size else []


def _eased(share: float, *, free: float, worst: float) -> float:
    """1 while at most `free` is lost, 0 from a loss of `worst` on, linear in between."""
    lost = 1.0 - share
    return min(1.0, max(0.0, 1.0 - (lost - free) / (worst - free)))


def _new_sentences(text: str) -> float:
    """Share of sentences (at least three words) of which less than 80 % of the words stood in one before."""
    seen: list[Counter[str]] = []
    new = 0
    for sentence in sentences(text):
        bag = Counter(words(sentence))
        if bag.total() < 3:
            continue
        new += all((bag & other).total() < 0.8 * bag.total() for other in seen)
        seen.append(bag)
    return new / len(seen) if seen else 1.0


def _runs(tokens: Sequence[str]) -> float:
    """Falls with one word that takes over the text (of at least eight words)."""
    if len(tokens) < 8:
        return 1.0
    top = max(Counter(tokens).values()) / len(tokens)
    return 1.0 if top <= 0.25 else math.exp(-8.0 * (top - 0.25))
