"""Near-duplicates among short prompts: MinHash proposes, RapidFuzz decides.

Two prompts are near-duplicates if, in lower case and without punctuation, they are at least 82 % alike
(normalised indel similarity, in the given word order or sorted), or if one of at least five words stands
almost verbatim inside the other (a request wrapped in a template).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

__all__ = ["Fence", "clusters", "near_duplicates"]

_ALIKE = 82.0
"""Percent. On public sets it finds 76 AdvBench prompts among PyRIT's objectives (75 were counted before)."""
_INSIDE, _WORDS_INSIDE, _LONGER = 88.0, 0.75, 1.4
_MIN_WORDS_INSIDE = 5
_SHINGLE, _PERMUTATIONS, _BANDS = 4, 128, (42, 3)
"""42 bands of 3 rows: prompts whose 4-character shingles have a Jaccard of 0.4 meet with probability 0.94."""


@dataclass(frozen=True)
class _Text:
    normal: str

    @cached_property
    def words(self) -> list[str]:
        return self.normal.split()

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def sketch(self) -> Any:
        from datasketch import MinHash

        # of characters, not of words: in a prompt of six words two inflections spoil most word shingles
        starts = range(max(1, len(self.normal) - _SHINGLE + 1))
        shingles = {self.normal[start : start + _SHINGLE].encode() for start in starts}
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch(sorted(shingles))
        return sketch


class _Index:
    """Texts that others are looked up in."""

    def __init__(self, texts: Sequence[_Text]) -> None:
        from datasketch import MinHashLSH

        self._texts = texts
        self._lsh = MinHashLSH(num_perm=_PERMUTATIONS, params=_BANDS)
        for number, text in enumerate(texts):
            if text.words:
                self._lsh.insert(number, text.sketch)
        self._lengths = np.array([len(text.words) for text in texts], dtype=int)
        self._vocabularies = np.array([len(text.vocabulary) for text in texts], dtype=int)
        self._holders: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            for word in text.vocabulary:
                self._holders[word].append(number)

    def matches(self, text: _Text) -> Iterator[tuple[float, int]]:
        """(similarity in percent, number) of every near-duplicate of `text`."""
        if not text.words:
            return
        for number in sorted(self._lsh.query(text.sketch)):
            similarity = _alike(text, self._texts[number])
            if similarity >= _ALIKE:
                yield similarity, number
        for number in self._maybe_nested(text):
            similarity = _inside(text, self._texts[number])
            if similarity >= _INSIDE:
                yield similarity, number

    def _maybe_nested(self, text: _Text) -> list[int]:
        """Texts of clearly another length that share most words of the shorter one."""
        shorter = np.minimum(self._lengths, len(text.words))
        longer = np.maximum(self._lengths, len(text.words))
        holders = [self._holders[word] for word in text.vocabulary if word in self._holders]
        shared = np.bincount(np.concatenate([[], *holders]).astype(int), minlength=len(self._texts))
        enough = shared >= _WORDS_INSIDE * np.minimum(self._vocabularies, len(text.vocabulary))
        found: list[int] = np.flatnonzero(
            enough & (shorter >= _MIN_WORDS_INSIDE) & (longer >= _LONGER * shorter)
        ).tolist()
        return found


def near_duplicates(texts: Sequence[str], against: Sequence[str]) -> dict[int, int]:
    """Number in `texts` -> number of its most similar near-duplicate in `against`; others are absent."""
    index = _Index(_normal(against))
    found = {}
    for number, text in enumerate(_normal(texts)):
        best = max(index.matches(text), default=None, key=lambda match: (match[0], -match[1]))
        if best is not None:
            found[number] = best[1]
    return found


def clusters(texts: Sequence[str]) -> list[int]:
    """One label a text: the lowest number in its cluster of (chains of) near-duplicates."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not texts:
        return []
    normal = _normal(texts)
    index = _Index(normal)
    edges = [(i, j) for i, text in enumerate(normal) for _, j in index.matches(text)]
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    graph = coo_array((np.ones(len(edges)), (rows, columns)), shape=(len(texts), len(texts)))
    _, labels = connected_components(graph, directed=False)
    lowest: dict[int, int] = {}
    return [lowest.setdefault(int(label), number) for number, label in enumerate(labels)]


class Fence:
    """Texts that nothing outside may touch, e.g. the evaluation prompts; built once, asked often."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._index = _Index(_normal(texts))

    def touches(self, text: str) -> bool:
        """True where `text` is a near-duplicate of a fenced text, contains one or stands inside one."""
        return next(self._index.matches(_text(text)), None) is not None

    def touched(self, text: str) -> list[int]:
        """Numbers of the fenced texts that `text` touches."""
        return sorted({number for _, number in self._index.matches(_text(text))})


@lru_cache(maxsize=20_000)
def _text(text: str) -> _Text:
    """Remembered: the same prompts are looked up against each other in several places, and a sketch takes a while."""
    return _Text(" ".join(re.findall(r"\w+", text.lower())))


def _normal(texts: Sequence[str]) -> list[_Text]:
    return [_text(text) for text in texts]


def _alike(one: _Text, other: _Text) -> float:
    from rapidfuzz import fuzz

    return max(
        fuzz.ratio(one.normal, other.normal, score_cutoff=_ALIKE),
        fuzz.token_sort_ratio(one.normal, other.normal, score_cutoff=_ALIKE),
    )


def _inside(one: _Text, other: _Text) -> float:
    from rapidfuzz import fuzz

    short, long = sorted((one.normal, other.normal), key=len)
    return float(fuzz.partial_ratio(short, long, score_cutoff=_INSIDE))
