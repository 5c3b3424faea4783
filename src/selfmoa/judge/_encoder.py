"""The frozen MiniLM sentence encoder: embeddings of texts and of their sentences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from selfmoa.assets import resolve_encoder
from selfmoa.judge._text import cut_words, sentences
from selfmoa.run import POSITIONS

__all__ = ["ANSWER_WORDS", "ENCODER", "SHORT_WORDS", "Encoder", "encoder"]

ENCODER = "wheel:minilm-l6-v2"
ANSWER_WORDS = 240
"""Answers are judged by their first words: 9 in 10 human-scored ones are shorter."""
SHORT_WORDS = 70
"""Copies are cut to this for training: the loop's answers are 48-64 tokens, human-scored ones far longer."""
_LAYERS = (2, 4)
"""Early layers keep wording that the last one averages away."""
_MAX_TOKENS = 128
_MAX_SENTENCES = 20
_LONG_SENTENCE = 40
"""Words from which on a sentence weighs no more."""


class Encoder:
    """Mean-pooled states of a BERT-like model; batches are sorted by length, order is kept."""

    def __init__(self, directory: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory)
        self._net: Any = AutoModel.from_pretrained(directory, use_safetensors=True).eval()
        POSITIONS.listen(self._net)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """(n, d) sentence embeddings of length 1."""
        return self._pooled(texts)[-1]

    def wording(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 2 d): the mean of an early layer, how something is said, and the embedding, what is said."""
        return np.hstack(self._pooled(texts)[1:])

    def describe(self, answers: Sequence[str]) -> np.ndarray:
        """(n, 3 d): over an answer's sentences, the mean of two early layers (by length) and the largest values that
        an embedding reaches. One harmful sentence among harmless ones stays visible."""
        groups = [
            sentences(cut_words(answer, ANSWER_WORDS))[:_MAX_SENTENCES] or [cut_words(answer, ANSWER_WORDS)]
            for answer in answers
        ]
        flat = [part for group in groups for part in group]
        distinct = list(dict.fromkeys(flat))  # copies with another opener share all other sentences
        places = {part: place for place, part in enumerate(distinct)}
        chosen = [places[part] for part in flat]
        *early, last = (layer[chosen] for layer in self._pooled(distinct))
        lengths = np.array([1 + min(len(part.split()), _LONG_SENTENCE) for part in flat])
        ends = np.cumsum([len(group) for group in groups])
        rows = []
        for end, group in zip(ends, groups, strict=True):
            here = slice(end - len(group), end)
            means = [np.average(layer[here], axis=0, weights=lengths[here]) for layer in early]
            rows.append(np.concatenate([*means, last[here].max(axis=0)]))
        return np.array(rows, dtype=np.float32).reshape(len(groups), -1)

    def _pooled(self, texts: Sequence[str], batch_size: int = 64) -> list[np.ndarray]:
        """Means over tokens of the early layers, then the normalised mean of the last."""
        import torch

        size = self._net.config.hidden_size
        found = [np.zeros((len(texts), size), dtype=np.float32) for _ in (*_LAYERS, -1)]
        order = sorted(range(len(texts)), key=lambda index: (-len(texts[index]), index))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            tokens = self._tokenizer(
                [texts[index] for index in batch],
                padding=True,
                truncation=True,
                max_length=_MAX_TOKENS,
                return_tensors="pt",
            )
            with torch.inference_mode():
                states = self._net(**tokens, output_hidden_states=True).hidden_states
                mask = tokens["attention_mask"].unsqueeze(-1).float()
                means = [(states[layer] * mask).sum(1) / mask.sum(1) for layer in (*_LAYERS, -1)]
                means[-1] = torch.nn.functional.normalize(means[-1], dim=-1)
            for kept, mean in zip(found, means, strict=True):
                kept[batch] = mean.numpy()
        return found


@lru_cache(maxsize=1)
def encoder() -> Encoder:
    """The embedded encoder, loaded once a process. Raises `AssetError` where its wheel cannot be had."""
    return Encoder(resolve_encoder(ENCODER))
