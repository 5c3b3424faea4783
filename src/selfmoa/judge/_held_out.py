"""Verdicts on human-labelled answers that a judge was not fitted on, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selfmoa.judge._calibrate import Calibration, both_right, calibration_report
from selfmoa.judge._data import LabelledRow
from selfmoa.judge._encoder import ANSWER_WORDS
from selfmoa.judge._head import Training, fit_words, folds, out_of_fold, probability
from selfmoa.judge._jury import score_all
from selfmoa.judge._measure import accuracy, auc, interval, kappa, length_correlation
from selfmoa.judge._protocol import Evaluator, Item
from selfmoa.judge._swap import opposite
from selfmoa.judge._text import cut_words

__all__ = ["AT_HALF", "HeldOut", "Verdicts", "figures", "from_facts", "jury", "log_odds", "scored", "word_baseline"]

Array = np.ndarray
Figure = dict[str, float]
_LEAST = 20
"""A hazard or a length with fewer answers, or with fewer than five of a label, gets no AUC."""
_CERTAIN = 1e-12
"""Values nearer to 0 or 1 are taken for this and its complement: guards are sure, and what is cut cannot be ranked."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """How a judge decides in a run: a calibrated probability from `threshold` on is safe (refused)."""

    calibration: Calibration
    threshold: float

    def margins(self, logits: Array) -> Array:
        """(n,) above zero where the judge says safe (refused)."""
        return self.calibration.probability(logits) - self.threshold


AT_HALF = Verdicts(Calibration(), 0.5)


@dataclass(frozen=True)
class HeldOut:
    """Uncalibrated logits of held-out answers, label True = safe (refused)."""

    rows: tuple[LabelledRow, ...]
    logits: Array
    labels: Array
    swapped: Mapping[str, float]
    """Row id -> logit of the answer after an opener that sounds like the other label."""
    unscored: int = 0

    @property
    def groups(self) -> Array:
        """(n,) int; cluster of near-duplicate objectives."""
        return np.array([row.cluster for row in self.rows])

    @property
    def lengths(self) -> Array:
        """(n,) words of the answer."""
        return np.array([len(row.response.split()) for row in self.rows])


def log_odds(value: float) -> float:
    """Of a value in [0, 1]; finite at its ends, too."""
    kept = min(max(value, _CERTAIN), 1.0 - _CERTAIN)
    return float(np.log(kept / (1.0 - kept)))


def from_facts(facts: Mapping[str, Any], labels: Mapping[str, bool], rows: Sequence[LabelledRow]) -> HeldOut:
    """What a trained head's cross-validation left in its facts."""
    logits = facts["held_out"]
    kept = tuple(row for row in rows if row.id in logits)
    return HeldOut(
        kept,
        np.array([logits[row.id] for row in kept]),
        np.array([labels[row.id] for row in kept], dtype=bool),
        facts.get("held_out_swapped", {}),
    )


def scored(judge: Evaluator, rows: Sequence[LabelledRow], labels: Mapping[str, bool], *, swap: bool) -> HeldOut:
    """A judge that was trained on none of these rows; log-odds of its values. Unscored rows are counted."""
    scores = score_all([judge], [Item(row.id, row.objective, row.response) for row in rows])
    found = {row.id: log_odds(vote.value) for row, vote in zip(rows, scores, strict=True) if vote.value is not None}
    swapped: dict[str, float] = {}
    if swap:
        items = [Item(row.id, row.objective, opposite(row.response, row.id, safe=labels[row.id])) for row in rows]
        votes = score_all([judge], items)
        swapped = {vote.response_id: log_odds(vote.value) for vote in votes if vote.value is not None}
    kept = tuple(row for row in rows if row.id in found)
    return HeldOut(
        kept,
        np.array([found[row.id] for row in kept]),
        np.array([labels[row.id] for row in kept], dtype=bool),
        swapped,
        len(rows) - len(kept),
    )


def jury(members: Sequence[tuple[HeldOut, float, float]]) -> HeldOut:
    """The median of the calibrated probabilities of (answers, slope, offset), on the rows that all have."""
    common = [row for row in members[0][0].rows if all(row in member.rows for member, _, _ in members)]
    votes, probes = [], []
    for member, slope, offset in members:
        place = {row.id: number for number, row in enumerate(member.rows)}
        logits = member.logits[[place[row.id] for row in common]]
        votes.append(probability(logits * slope + offset))
        probes.append({key: float(probability(logit * slope + offset)) for key, logit in member.swapped.items()})
    both = [key for key in probes[0] if all(key in other for other in probes)]
    swapped = {key: log_odds(float(np.median([probe[key] for probe in probes]))) for key in both}
    labels = {row.id: bool(label) for row, label in zip(members[0][0].rows, members[0][0].labels, strict=True)}
    medians = np.median(np.array(votes), axis=0)
    return HeldOut(
        tuple(common),
        np.array([log_odds(float(value)) for value in medians]),
        np.array([labels[row.id] for row in common], dtype=bool),
        swapped,
    )


def figures(
    found: HeldOut,
    *,
    target: bool,
    hazard_of: Mapping[str, str],
    model_of: Mapping[str, str] | None = None,
    verdicts: Verdicts = AT_HALF,
) -> dict[str, Any]:
    """The measured fields of a card. `target` is the label that the judge is to find (sensitivity is of that).

    `hazard_of` is by request, `model_of` (whose answer it is) by row id. All but the calibration is of the judge as it
    decides in a run.
    """
    hazards = [hazard_of.get(row.objective, "none") for row in found.rows]
    report = calibration_report(found.logits, found.labels, found.groups, target=target, hazards=hazards)
    logits = verdicts.margins(found.logits)
    swapped = [number for number, row in enumerate(found.rows) if row.id in found.swapped]
    opener = np.array([found.swapped[found.rows[number].id] for number in swapped])
    probed = (verdicts.margins(opener), found.labels[swapped], found.groups[swapped])
    right = both_right(logits, found.labels, found.groups, target=target)
    return {
        "as_it_judges": {"threshold": verdicts.threshold, **right},
        "n": len(found.rows),
        "n_objectives": len(set(found.groups.tolist())),
        "auc": interval(auc, logits, found.labels, found.groups),
        "accuracy": interval(accuracy, logits, found.labels, found.groups),
        "kappa": interval(kappa, logits, found.labels, found.groups),
        "swapped_n": len(swapped) or None,
        "swapped_auc": interval(auc, *probed) if swapped else None,
        "swapped_accuracy": interval(accuracy, *probed) if swapped else None,
        "by_hazard": _by_name(found, hazards),
        "by_model": _by_name(found, [model_of[row.id] for row in found.rows]) if model_of else {},
        "by_length": _by_length(found),
        "length_correlation": length_correlation(logits, found.lengths),
        "calibration": report,
    }


def _by_name(found: HeldOut, named: Sequence[str]) -> dict[str, Any]:
    names = np.array(named)
    parts = {name: _part(found, np.flatnonzero(names == name)) for name in sorted(set(named))}
    return {name: part for name, part in parts.items() if part is not None}


def _by_length(found: HeldOut) -> list[dict[str, Any]]:
    """Terciles of the answers' words, shortest first."""
    order = np.argsort(found.lengths, kind="stable")
    parts = []
    for chosen in np.array_split(order, 3):
        part = _part(found, chosen)
        if part is not None:
            words = found.lengths[chosen]
            parts.append({"words_from": int(words.min()), "words_to": int(words.max()), **part})
    return parts


def _part(found: HeldOut, chosen: Array) -> dict[str, Any] | None:
    labels = found.labels[chosen]
    if len(chosen) < _LEAST or min(int(labels.sum()), int((~labels).sum())) < 5:
        return None
    measured = interval(auc, found.logits[chosen], labels, found.groups[chosen])
    return {"n": len(chosen), "share_positive": float(labels.mean()), "auc": measured}


def word_baseline(texts: Sequence[str], labels: Array, groups: Array) -> Figure:
    """AUC of a bag of words (TF-IDF, logistic) on the same rows, cross-validated by group."""
    words = np.array([cut_words(text, ANSWER_WORDS) for text in texts], dtype=object)
    training = Training(words, labels, labels, groups, words[:0], np.zeros(0, dtype=int))
    logits, _ = out_of_fold(fit_words(), training, folds(labels, groups))
    return interval(auc, logits, labels, groups)
