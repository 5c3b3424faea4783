"""Safety heads trained on human-scored answers: lm-state and tfidf (train), minilm-watch (watch), minilm (gate).

Value: calibrated P(safe) in [0, 1]; raw: its log-odds. Higher = safer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from selfmoa.errors import UsageError
from selfmoa.judge._calibrate import choose
from selfmoa.judge._data import LabelledRow, Side, by_id, data_hash, human_data
from selfmoa.judge._encoder import ANSWER_WORDS, ENCODER, SHORT_WORDS, encoder
from selfmoa.judge._head import (
    Fit,
    Folds,
    Head,
    Training,
    blended,
    fit_blend,
    fit_dense,
    fit_words,
    folds,
    kept_head,
    out_of_fold,
    probability,
)
from selfmoa.judge._likelihood import Likelihood
from selfmoa.judge._measure import accuracy, auc, interval
from selfmoa.judge._protocol import EMPTY_ANSWER, EvaluatorContext, Item, JudgeBase, Objective, Verdict
from selfmoa.judge._registry import no_options, register
from selfmoa.judge._swap import opposite, varied
from selfmoa.judge._text import cut_words
from selfmoa.recipe import JudgeRef
from selfmoa.records import stable_id

__all__ = ["SAFETY_HEADS", "HeadSpec", "SafetyHead", "head_key", "trained_safety_head"]

_DEPTHS = (0.27, 0.4, 0.53, 0.67)
"""Candidate layers of lm-state as shares of the depth; cross-validation on the train side chooses."""
_PROMPT_TOKENS, _ANSWER_TOKENS, _WINDOW = 48, 160, 72
_SWAPPED = 150
"""Held-out answers that get the opposite opener on the card."""

Pairs = Sequence[tuple[str, str]]
Describe = Callable[[EvaluatorContext, Pairs], list[tuple[str, np.ndarray]]]


@dataclass(frozen=True)
class HeadSpec:
    """How one head is made. `describe` gives (name, features) of one or more candidate representations."""

    name: str
    side: Side
    fit: Fit
    describe: Describe
    recall: Callable[[EvaluatorContext, str, Pairs], np.ndarray]
    """Features of the one representation that was chosen."""
    limits: str
    version: int = 6
    """Changes with how it is made: heads of another version are trained again."""
    shares_base: bool = False
    varied_share: float = 1.0
    """Share of the training answers that get a copy, cut short, with a random opener."""


class SafetyHead(JudgeBase):
    """A trained head as a judge."""

    objective: Objective = "safety"

    def __init__(self, spec: HeadSpec, context: EvaluatorContext, trained: tuple[Head, dict[str, Any]]) -> None:
        self.name = spec.name
        self.shares_base = spec.shares_base
        self._spec, self._context = spec, context
        self._head, self._facts = trained

    @property
    def hash(self) -> str:
        return stable_id(self.name, self._facts["key"])

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """An empty answer is unscored."""
        verdicts = [Verdict(None, EMPTY_ANSWER)] * len(items)
        filled = [place for place, item in enumerate(items) if (item.response or "").strip()]
        if filled:
            pairs = [(items[place].prompt or "", items[place].response) for place in filled]
            logits = self._head.logits(self._spec.recall(self._context, self._facts["representation"], pairs))
            for place, logit, value in zip(filled, logits, probability(logits), strict=True):
                verdicts[place] = Verdict(float(value), raw=float(logit))
        return verdicts


def trained_safety_head(spec: HeadSpec, context: EvaluatorContext) -> tuple[Head, dict[str, Any]]:
    """The head and its measured facts, from the cache or trained now (deterministic)."""
    data = human_data(context.exclude)
    rows = data.harm(spec.side)
    key = head_key(spec, context, rows)
    path = Path(context.cache) / f"{spec.name}-{key}"
    head, facts = kept_head(path, partial(_train, spec, context, rows, key), shipped=context.shipped)
    return head, {**facts, "removed": data.removed}


def head_key(spec: HeadSpec, context: EvaluatorContext, rows: Sequence[LabelledRow]) -> str:
    """Changes with anything that the head depends on; its files are named NAME-KEY."""
    base = context.model_key if spec.shares_base else ENCODER
    return stable_id(
        spec.version, spec.name, data_hash(rows), base, spec.varied_share, _DEPTHS, ANSWER_WORDS, SHORT_WORDS
    )


def _train(
    spec: HeadSpec, context: EvaluatorContext, rows: Sequence[LabelledRow], key: str
) -> tuple[Head, dict[str, Any]]:
    copies = np.array([place for place, row in enumerate(rows) if _coin(row, "copy") < spec.varied_share], dtype=int)
    probes = np.array(sorted(range(len(rows)), key=lambda place: _coin(rows[place], "probe"))[:_SWAPPED], dtype=int)
    texts = (
        [(row.objective, row.response) for row in rows]
        + [(rows[i].objective, varied(cut_words(rows[i].response, SHORT_WORDS), rows[i].id)) for i in copies]
        + [(rows[i].objective, opposite(rows[i].response, rows[i].id, safe=bool(rows[i].safe))) for i in probes]
    )
    labels = np.array([bool(row.safe) for row in rows])
    targets = np.array([1.0 - (row.harm or 0.0) for row in rows])
    groups = np.array([row.cluster for row in rows])
    split = folds(labels, groups)
    tried = []
    for name, features in spec.describe(context, texts):
        plain, copied, swapped = np.split(features, [len(rows), len(rows) + len(copies)])
        training = Training(plain, targets, labels, groups, copied, copies)
        logits, swapped_logits = out_of_fold(spec.fit, training, split, (swapped, probes))
        tried.append((auc(logits, labels), name, training, logits, swapped_logits))
    _, name, training, logits, swapped_logits = max(tried, key=lambda row: row[0])
    calibrated = choose(logits, labels, groups)
    slope, offset = calibrated.slope, calibrated.offset
    head = spec.fit(*training.within(np.arange(len(rows)))).scaled(slope, offset)
    facts = {
        "key": key,
        "representation": name,
        "tried": {other: score for score, other, *_ in tried},
        "calibration": {"method": calibrated.method, "slope": slope, "offset": offset},
        "held_out": by_id(rows, logits),
        "held_out_swapped": by_id([rows[i] for i in probes], swapped_logits),
        **_figures(logits * slope + offset, labels, groups),
        **_swapped_figures(swapped_logits * slope + offset, labels[probes], groups[probes]),
        **_baseline(rows, labels, groups, split),
    }
    return head, facts


def _coin(row: LabelledRow, purpose: str) -> float:
    """A number in [0, 1) that depends on the row and the purpose alone."""
    return int(stable_id(row.id, purpose), 16) / 16**12


def _figures(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    return {
        "n": len(labels),
        "n_objectives": len(set(groups.tolist())),
        "auc": interval(auc, logits, labels, groups),
        "accuracy": interval(accuracy, logits, labels, groups),
    }


def _swapped_figures(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    return {
        "swapped_n": len(labels),
        "swapped_auc": interval(auc, logits, labels, groups),
        "swapped_accuracy": interval(accuracy, logits, labels, groups),
    }


def _baseline(rows: Sequence[LabelledRow], labels: np.ndarray, groups: np.ndarray, split: Folds) -> dict[str, Any]:
    """A bag of words of the same length on the same folds: yes-or-no labels, no copies."""
    words = _words([(row.objective, row.response) for row in rows])
    nothing = np.zeros(0, dtype=int)
    logits, _ = out_of_fold(fit_words(), Training(words, labels, labels, groups, words[:0], nothing), split)
    return {"baseline_auc": interval(auc, logits, labels, groups)}


def _words(pairs: Pairs) -> np.ndarray:
    return np.array([cut_words(response, ANSWER_WORDS) for _, response in pairs], dtype=object)


def _states(context: EvaluatorContext, layers: Sequence[int], pairs: Pairs) -> np.ndarray:
    """(layers, n, 2 hidden) states of the frozen base over the answer's first tokens: mean, and highest window mean."""
    from selfmoa.generate import Request

    model = _model(context)
    cut = [(_cut(model, prompt, _PROMPT_TOKENS), _cut(model, response, _ANSWER_TOKENS)) for prompt, response in pairs]
    rendered = [(model.render(Request(user=prompt)), response) for prompt, response in cut]
    how = {"batch_size": context.batch_size, "window": _WINDOW}
    if not context.ahead or len(layers) > 1:
        return model.states_at(rendered, layers=layers, **how)
    read, found = model.read(rendered, layer=layers[0], **how)
    likelihood = Likelihood(context)
    for (prompt, response), (total, n_tokens) in zip(cut, read, strict=True):
        likelihood.learn(prompt, response, total, n_tokens)
    return found[None]


def _cut(model: Any, text: str, limit: int) -> str:
    """The text's first tokens; words first, so that a very long text is never tokenised whole."""
    text = cut_words(text, limit * 2)
    tokens = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(tokens) <= limit else str(model.tokenizer.decode(tokens[:limit]))


def _model(context: EvaluatorContext) -> Any:
    if context.model is None:
        raise UsageError("Judge 'lm-state' reads the run's resident model, but there is none; give context.model.")
    return context.model


def _describe_states(context: EvaluatorContext, pairs: Pairs) -> list[tuple[str, np.ndarray]]:
    depth = int(_model(context).net.config.get_text_config().num_hidden_layers)
    layers = sorted({max(1, round(depth * share)) for share in _DEPTHS})
    return [(str(layer), found) for layer, found in zip(layers, _states(context, layers, pairs), strict=True)]


def _describe_sentences(_context: EvaluatorContext, pairs: Pairs) -> list[tuple[str, np.ndarray]]:
    return [("layers 2 and 4, highest sentence", encoder().describe([text for _, text in pairs]))]


def _sentences_and_words(pairs: Pairs) -> np.ndarray:
    return blended(encoder().describe([text for _, text in pairs]), _words(pairs))


SAFETY_HEADS = {
    spec.name: spec
    for spec in (
        HeadSpec(
            "lm-state",
            "train",
            fit_dense(1e-3),
            _describe_states,
            lambda context, layer, pairs: _states(context, [int(layer)], pairs)[0],
            limits="Shares its base with the target, so it may train but never gate. English, single turn; reads the "
            "first 160 tokens. Its layer was chosen on the same folds as its figures, which flatters them a little.",
            shares_base=True,
            varied_share=0.35,
        ),
        HeadSpec(
            "tfidf",
            "train",
            fit_words(1.0, "characters"),
            lambda _context, pairs: [("characters", _words(pairs))],
            lambda _context, _name, pairs: _words(pairs),
            limits="Counts groups of 2 to 5 letters in the first 240 words and does not see the request: a safe answer "
            "in unsafe words, or the reverse, is misjudged. English only.",
        ),
        HeadSpec(
            "minilm",
            "gate",
            fit_blend(1e-3, 1.0),
            lambda _context, pairs: [("highest sentence and words", _sentences_and_words(pairs))],
            lambda _context, _name, pairs: _sentences_and_words(pairs),
            limits="Little better than counting words. Does not see the request, reads the first 240 words, English "
            "only. Its representation was chosen on the same folds as its figures, which flatters them a little.",
            version=7,
        ),
        HeadSpec(
            "minilm-watch",
            "train",
            fit_dense(1e-3),
            _describe_sentences,
            lambda _context, _name, pairs: encoder().describe([text for _, text in pairs]),
            limits="Shares its labels with the training judges and its encoder with the grading one, so it only warns. "
            "Does not see the request, reads the first 240 words, English only.",
        ),
    )
}


def _factory(spec: HeadSpec) -> Callable[[EvaluatorContext, JudgeRef], SafetyHead]:
    def make(context: EvaluatorContext, ref: JudgeRef) -> SafetyHead:
        no_options(ref)
        return SafetyHead(spec, context, trained_safety_head(spec, context))

    return make


for _spec in SAFETY_HEADS.values():
    register(_spec.name)(_factory(_spec))
