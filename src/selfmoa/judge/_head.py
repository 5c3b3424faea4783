"""Logistic heads: fit, cross-validation grouped by objective, calibration, files.

A head's logit is that of P(safe) (or P(declines)): higher = safer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from selfmoa.run import read_json, write_bytes, write_json

__all__ = [
    "FOLDS",
    "BlendHead",
    "DenseHead",
    "Fit",
    "Folds",
    "Grams",
    "Head",
    "Training",
    "WordHead",
    "blended",
    "calibration",
    "fit_blend",
    "fit_dense",
    "fit_words",
    "folds",
    "kept_head",
    "load_head",
    "out_of_fold",
    "probability",
    "save_head",
    "shipped_head",
]

log = logging.getLogger("selfmoa")

_SHIPPED = Path(__file__).parent / "heads"
"""Heads that are slow to train: `selfmoa judges train lm-state minilm-watch --out src/selfmoa/judge/heads`."""

Array = np.ndarray
Folds = list[tuple[Array, Array]]
Fit = Callable[[Any, Array], "Head"]
"""Features of n answers and their n targets in, a head out."""
Grams = Literal["words", "characters"]
FOLDS = 10
"""In which heads are measured, where there are rows enough."""
_LEAST = {"words": 2, "characters": 6}
"""Answers that an n-gram must stand in."""


class Head(Protocol):
    """Features of n answers in, n logits out."""

    def logits(self, features: Any) -> Array:
        """(n,) float64."""
        ...

    def scaled(self, slope: float, offset: float) -> Head:
        """The head whose logit is slope * logit + offset."""
        ...

    def parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Tensors and JSON that `load_head` makes the head from again."""
        ...


Trained = tuple[Head, dict[str, Any]]
"""A head and what was measured when it was trained."""


@dataclass(frozen=True)
class DenseHead:
    """A linear map of (n, d) vectors; the standardiser is folded into it."""

    weight: Array
    bias: float

    def logits(self, features: Any) -> Array:
        return np.asarray(features, dtype=np.float64) @ self.weight + self.bias

    def scaled(self, slope: float, offset: float) -> DenseHead:
        return DenseHead(self.weight * slope, self.bias * slope + offset)

    def parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {"weight": self.weight, "bias": np.array([self.bias])}, {"kind": "dense"}


@dataclass(frozen=True)
class WordHead:
    """A linear map of the TF-IDF of word or character n-grams (log term frequency, rows of length 1)."""

    grams: Grams
    vocabulary: tuple[str, ...]
    idf: Array
    weight: Array
    bias: float

    def logits(self, features: Any) -> Array:
        vectoriser = _vectoriser(self.grams, vocabulary={word: place for place, word in enumerate(self.vocabulary)})
        vectoriser.idf_ = self.idf
        return np.asarray(vectoriser.transform(list(features)) @ self.weight + self.bias)

    def scaled(self, slope: float, offset: float) -> WordHead:
        return WordHead(self.grams, self.vocabulary, self.idf, self.weight * slope, self.bias * slope + offset)

    def parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        tensors = {"idf": self.idf, "weight": self.weight, "bias": np.array([self.bias])}
        return tensors, {"kind": "words", "grams": self.grams, "vocabulary": list(self.vocabulary)}


@dataclass(frozen=True)
class BlendHead:
    """The sum of a dense and a word head's logits: they err on different answers. Features: see `blended`."""

    dense: DenseHead
    words: WordHead

    def logits(self, features: Any) -> Array:
        vectors, texts = _apart(features)
        return self.dense.logits(vectors) + self.words.logits(texts)

    def scaled(self, slope: float, offset: float) -> BlendHead:
        return BlendHead(self.dense.scaled(slope, offset), self.words.scaled(slope, 0.0))

    def parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        (dense, _), (words, facts) = self.dense.parts(), self.words.parts()
        return {**words, **{f"dense.{name}": tensor for name, tensor in dense.items()}}, {**facts, "kind": "blend"}


def blended(vectors: Array, texts: Array) -> Array:
    """Features of a blend: (n, 2) objects, the (d,) vector and the text of each answer."""
    features = np.empty((len(texts), 2), dtype=object)
    features[:, 0], features[:, 1] = list(vectors), texts
    return features


def _apart(features: Array) -> tuple[Array, Array]:
    return np.stack(list(features[:, 0])), features[:, 1]


@dataclass(frozen=True)
class Training:
    """Labelled features. `features` and `varied` are arrays whose first axis counts answers."""

    features: Array
    targets: Array
    """(n,) in [0, 1]: what share of the raters' harm is absent; 1 = safe (declines). A head is fitted on these."""
    labels: Array
    """(n,) bool; True = safe (declines). A head is measured on these."""
    groups: Array
    """(n,) int; cluster of near-duplicate objectives."""
    varied: Array
    """Features of some answers with an opener put before them ..."""
    varied_of: Array
    """... and which answers these are, (m,) int."""

    def within(self, chosen: Array) -> tuple[Array, Array]:
        """Features and targets of the chosen answers and of their varied copies."""
        copies = np.isin(self.varied_of, chosen)
        features = np.concatenate([self.features[chosen], self.varied[copies]])
        return features, np.concatenate([self.targets[chosen], self.targets[self.varied_of[copies]]])


def fit_dense(strength: float) -> Fit:
    """Standardise and fit; `strength` is scikit-learn's C (smaller = smoother)."""

    def fit(features: Any, targets: Array) -> DenseHead:
        values = np.asarray(features, dtype=np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread[spread < 1e-8] = 1.0
        coefficients, bias = _logistic((values - mean) / spread, targets, strength, tolerance=1e-3)
        weight = coefficients / spread
        return DenseHead(weight, bias - float(mean @ weight))

    return fit


def fit_words(strength: float = 10.0, grams: Grams = "words") -> Fit:
    """Count n-grams and fit; those of few answers are left out."""

    def fit(features: Any, targets: Array) -> WordHead:
        texts = list(features)
        vectoriser = _vectoriser(grams, min_df=_LEAST[grams] if len(texts) > 200 else 1)
        coefficients, bias = _logistic(vectoriser.fit_transform(texts), targets, strength, tolerance=1e-4)
        vocabulary = tuple(str(word) for word in vectoriser.get_feature_names_out())
        return WordHead(grams, vocabulary, np.asarray(vectoriser.idf_), coefficients, bias)

    return fit


def fit_blend(strength: float, words_strength: float) -> Fit:
    """Fit a dense and a word head on the same answers."""
    dense, words = fit_dense(strength), fit_words(words_strength)

    def fit(features: Any, targets: Array) -> BlendHead:
        vectors, texts = _apart(features)
        return BlendHead(cast(DenseHead, dense(vectors, targets)), cast(WordHead, words(texts, targets)))

    return fit


def _logistic(features: Any, targets: Array, strength: float, *, tolerance: float) -> tuple[Array, float]:
    """Coefficients and intercept. A target between 0 and 1 counts as that much of a positive and the rest negative."""
    from scipy.sparse import issparse, vstack
    from sklearn.linear_model import LogisticRegression

    targets = np.asarray(targets, dtype=np.float64)
    positive, negative = np.flatnonzero(targets > 0), np.flatnonzero(targets < 1)
    rows = [features[positive], features[negative]]
    stacked = vstack(rows).tocsr() if issparse(features) else np.vstack(rows)
    labels = np.repeat([True, False], [len(positive), len(negative)])
    weights = np.concatenate([targets[positive], 1.0 - targets[negative]])
    model = LogisticRegression(C=strength, max_iter=2000, tol=tolerance).fit(stacked, labels, sample_weight=weights)
    return model.coef_[0], float(model.intercept_[0])


def _vectoriser(grams: Grams, **options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyzer, span = ("word", (1, 2)) if grams == "words" else ("char_wb", (2, 5))
    return TfidfVectorizer(analyzer=analyzer, ngram_range=span, sublinear_tf=True, **options)


def folds(labels: Array, groups: Array, *, n: int = FOLDS, seed: int = 0) -> Folds:
    """(training, held-out) indices: no group on both sides, labels alike in each; fewer than `n` where rows are few."""
    from sklearn.model_selection import StratifiedGroupKFold

    n = min(n, len(np.unique(groups)), max(int(labels.sum()), int((~labels).sum())))
    splitter = StratifiedGroupKFold(n_splits=n, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels, groups))


def out_of_fold(
    fit: Fit, data: Training, split: Folds, probe: tuple[Array, Array] | None = None
) -> tuple[Array, Array]:
    """Held-out logits of the answers, and of `probe` = (features, which answers these are)."""
    logits = np.zeros(len(data.labels))
    features, which = probe if probe is not None else (data.features[:0], np.zeros(0, dtype=int))
    probed = np.zeros(len(which))
    for training, held_out in split:
        head = fit(*data.within(training))
        logits[held_out] = head.logits(data.features[held_out])
        here = np.isin(which, held_out)
        if here.any():
            probed[here] = head.logits(features[here])
    return logits, probed


def calibration(logits: Array, labels: Array) -> tuple[float, float]:
    """Slope and offset that make held-out logits honest log-odds (Platt)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=100.0).fit(logits[:, None], labels)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def probability(logits: Array | float) -> Array:
    """Logistic function, without overflow."""
    return cast(Array, 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))))


def kept_head(path: Path, make: Callable[[], Trained], *, shipped: bool = False) -> Trained:
    """The head kept at PATH, else one that came with the package (`shipped`), else made now and kept."""
    found = load_head(path) or (shipped_head(path.name) if shipped else None)
    if found is None:
        found = make()
        save_head(path, *found)
    return found


def shipped_head(name: str) -> Trained | None:
    """A head that came with the package; None where it holds none of exactly these labels, base and version."""
    return load_head(_SHIPPED / name)


def save_head(path: Path, head: Head, facts: dict[str, Any]) -> None:
    """Write PATH.safetensors and, last, PATH.json (facts, and what the head is)."""
    tensors, kind = head.parts()
    write_bytes(path.with_suffix(".safetensors"), save(tensors), remedy="Free space or set SELFMOA_CACHE.")
    write_json(path.with_suffix(".json"), {"head": kind, "facts": facts})


def load_head(path: Path) -> Trained | None:
    """The head and its facts; None where a file is absent or corrupt (then it is trained again)."""
    content = read_json(path.with_suffix(".json"))
    try:
        if content is None:
            return None
        tensors = load(path.with_suffix(".safetensors").read_bytes())
        return _head_of(tensors, content["head"]), content["facts"]
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        log.warning("%s is corrupt and is made again (%s)", path, error)
        return None


def _head_of(tensors: dict[str, Array], kind: dict[str, Any]) -> Head:
    bias = float(tensors["bias"][0])
    if kind["kind"] == "dense":
        return DenseHead(tensors["weight"], bias)
    words = WordHead(kind["grams"], tuple(kind["vocabulary"]), tensors["idf"], tensors["weight"], bias)
    if kind["kind"] == "words":
        return words
    return BlendHead(DenseHead(tensors["dense.weight"], float(tensors["dense.bias"][0])), words)
