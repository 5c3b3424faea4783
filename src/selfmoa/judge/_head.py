"""Logistic heads: fit, cross-validation grouped by objective, calibration, files.

A head's logit is that of P(safe) (or P(declines)): higher = safer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from selfmoa.run import read_json, write_json

__all__ = [
    "DenseHead",
    "Fit",
    "Folds",
    "Head",
    "Training",
    "WordHead",
    "calibration",
    "fit_dense",
    "fit_words",
    "folds",
    "load_head",
    "out_of_fold",
    "probability",
    "save_head",
]

log = logging.getLogger("selfmoa")

Array = np.ndarray
Folds = list[tuple[Array, Array]]
Fit = Callable[[Any, Array], "Head"]


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
    """A linear map of the TF-IDF of word 1- and 2-grams (log term frequency, rows of length 1)."""

    vocabulary: tuple[str, ...]
    idf: Array
    weight: Array
    bias: float

    def logits(self, features: Any) -> Array:
        vectoriser = _vectoriser(vocabulary={word: place for place, word in enumerate(self.vocabulary)})
        vectoriser.idf_ = self.idf
        return np.asarray(vectoriser.transform(list(features)) @ self.weight + self.bias)

    def scaled(self, slope: float, offset: float) -> WordHead:
        return WordHead(self.vocabulary, self.idf, self.weight * slope, self.bias * slope + offset)

    def parts(self) -> tuple[dict[str, Array], dict[str, Any]]:
        tensors = {"idf": self.idf, "weight": self.weight, "bias": np.array([self.bias])}
        return tensors, {"kind": "words", "vocabulary": list(self.vocabulary)}


@dataclass(frozen=True)
class Training:
    """Labelled features. `features` and `varied` are arrays whose first axis counts answers."""

    features: Array
    labels: Array
    """(n,) bool; True = safe (declines)."""
    groups: Array
    """(n,) int; cluster of near-duplicate objectives."""
    varied: Array
    """Features of some answers with an opener put before them ..."""
    varied_of: Array
    """... and which answers these are, (m,) int."""

    def within(self, chosen: Array) -> tuple[Array, Array]:
        """Features and labels of the chosen answers and of their varied copies."""
        copies = np.isin(self.varied_of, chosen)
        features = np.concatenate([self.features[chosen], self.varied[copies]])
        return features, np.concatenate([self.labels[chosen], self.labels[self.varied_of[copies]]])


def fit_dense(strength: float) -> Fit:
    """Standardise and fit; `strength` is scikit-learn's C (smaller = smoother)."""

    def fit(features: Any, labels: Array) -> DenseHead:
        from sklearn.linear_model import LogisticRegression

        values = np.asarray(features, dtype=np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread[spread < 1e-8] = 1.0
        model = LogisticRegression(C=strength, max_iter=2000, tol=1e-3).fit((values - mean) / spread, labels)
        weight = model.coef_[0] / spread
        return DenseHead(weight, float(model.intercept_[0] - mean @ weight))

    return fit


def fit_words(strength: float = 10.0) -> Fit:
    """Count words and fit; words of a single answer are left out."""

    def fit(features: Any, labels: Array) -> WordHead:
        from sklearn.linear_model import LogisticRegression

        texts = list(features)
        vectoriser = _vectoriser(min_df=2 if len(texts) > 20 else 1)
        counted = vectoriser.fit_transform(texts)
        model = LogisticRegression(C=strength, max_iter=2000).fit(counted, labels)
        vocabulary = tuple(str(word) for word in vectoriser.get_feature_names_out())
        return WordHead(vocabulary, np.asarray(vectoriser.idf_), model.coef_[0], float(model.intercept_[0]))

    return fit


def _vectoriser(**options: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **options)


def folds(labels: Array, groups: Array, *, n: int = 5, seed: int = 0) -> Folds:
    """(training, held-out) indices: no group on both sides, labels alike in each."""
    from sklearn.model_selection import StratifiedGroupKFold

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


def save_head(path: Path, head: Head, facts: dict[str, Any]) -> None:
    """Write PATH.safetensors and, last, PATH.json (facts, and what the head is)."""
    from selfmoa.errors import StorageError

    tensors, kind = head.parts()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_bytes(save(tensors))
        temporary.replace(path.with_suffix(".safetensors"))
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}. Free space or set SELFMOA_CACHE."
        ) from error
    write_json(path.with_suffix(".json"), {"head": kind, "facts": facts})


def load_head(path: Path) -> tuple[Head, dict[str, Any]] | None:
    """The head and its facts; None where a file is absent or corrupt (then it is trained again)."""
    content = read_json(path.with_suffix(".json"))
    try:
        if content is None:
            return None
        tensors = load(path.with_suffix(".safetensors").read_bytes())
        bias = float(tensors["bias"][0])
        if content["head"]["kind"] == "dense":
            return DenseHead(tensors["weight"], bias), content["facts"]
        words = tuple(content["head"]["vocabulary"])
        return WordHead(words, tensors["idf"], tensors["weight"], bias), content["facts"]
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        log.warning("%s is corrupt and is made again (%s)", path, error)
        return None
