"""The arithmetic of the MODPO margins (docs/method.md, Loss); no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from selfmoa.recipe import Train
from selfmoa.records import Pair, from_text

__all__ = ["Margins", "filter_modpo_paper_eq1", "first_tokens_share", "objective_scores", "shift"]

Scores = tuple[float, ...]
PairLogprobs = tuple[Sequence[float], Sequence[float]]


def shift(scores: Sequence[float], a: float, b: Sequence[float]) -> float:
    """(1/a) * sum_i b_i * r_i: what is added to a response's reference log-prob, in nats.

    `scores` are r_i of one response, higher = better, one for each further objective.
    Sigmoid DPO with beta = a against the shifted reference is exactly
    -log sigma(a * d logratio - sum_i b_i * d r_i) (MODPO, arXiv 2310.03708; docs/method.md, Loss).
    """
    return sum(weight * score for weight, score in zip(b, scores, strict=True)) / a


@dataclass(frozen=True, slots=True)
class Margins:
    """Scores of the other objectives: one row a pair, one column an objective of `train.objectives`."""

    chosen: tuple[Scores, ...]
    rejected: tuple[Scores, ...]
    missing: int
    """(pair, objective) cells in which a side was unscored; they count as margin 0."""


def objective_scores(pairs: Sequence[Pair], train: Train, *, ignore_safety_on_harmless: bool = True) -> Margins:
    """The scores that enter the loss.

    A cell has margin 0 (both sides 0) where a side is unscored, and for safety on prompts that are no
    attack if `ignore_safety_on_harmless`: safety heads misfire there (docs/method.md, Pairs). For the preset
    `scaled` each objective is divided by its standard deviation over both sides of all pairs.
    """
    columns, missing = [], 0
    for objective in train.objectives:
        cells = [_cell(pair, objective.name, ignore_safety_on_harmless) for pair in pairs]
        missing += sum(cell is None for cell in cells)
        columns.append(_standardised(cells) if train.loss == "scaled" else [cell or (0.0, 0.0) for cell in cells])
    rows = list(zip(*columns, strict=True)) if columns else [()] * len(pairs)  # without objectives no margin
    return Margins(
        chosen=tuple(tuple(cell[0] for cell in row) for row in rows),
        rejected=tuple(tuple(cell[1] for cell in row) for row in rows),
        missing=missing,
    )


def filter_modpo_paper_eq1(pairs: Sequence[Pair], *, ignore_safety_on_harmless: bool = True) -> list[Pair]:
    """The pairs that the preset `modpo_paper_eq1` trains on: those whose chosen is not the less safe one.

    Where safety votes are ignored (harmless prompts) they do not filter either.
    """
    return [
        pair for pair in pairs if (ignore_safety_on_harmless and pair.kind != "attack") or not pair.less_safe_chosen
    ]


def first_tokens_share(before: Sequence[PairLogprobs], after: Sequence[PairLogprobs], n: int = 5) -> float | None:
    """Share of the learnt preference that the first `n` tokens of the answers explain (docs/method.md, One round).

    Each element holds the per-token log-probs (chosen, rejected) of one pair, nats, under the policy before and
    after a stage. The learnt preference is the mean gain of log p(chosen) - log p(rejected); the share may lie
    outside [0, 1] where openings and the rest pull apart. None where no preference was learnt.
    """
    whole, first = 0.0, 0.0
    for (old_chosen, old_rejected), (chosen, rejected) in zip(before, after, strict=True):
        whole += sum(chosen) - sum(old_chosen) - (sum(rejected) - sum(old_rejected))
        first += sum(chosen[:n]) - sum(old_chosen[:n]) - (sum(rejected[:n]) - sum(old_rejected[:n]))
    return first / whole if whole > 0 else None


def _cell(pair: Pair, name: str, ignore_safety: bool) -> tuple[float, float] | None:
    """(chosen, rejected) score of one objective; None where a side is unscored."""
    if name == "safety":
        if ignore_safety and pair.kind != "attack":
            return 0.0, 0.0
        chosen, rejected = pair.chosen_safety, pair.rejected_safety
        if pair.safety_margin is not None and rejected is not None:
            chosen = rejected + pair.safety_margin
    elif name == "helpfulness":
        chosen, rejected = pair.chosen_helpfulness, pair.rejected_helpfulness
    else:
        chosen, rejected = (from_text(text).get(name) for text in (pair.chosen_further, pair.rejected_further))
    return None if chosen is None or rejected is None else (chosen, rejected)


def _standardised(cells: Sequence[tuple[float, float] | None]) -> list[tuple[float, float]]:
    """Unit standard deviation; the mean would cancel in every margin, so it is left alone."""
    values = [value for cell in cells if cell is not None for value in cell]
    spread = statistics.pstdev(values) if values else 0.0
    scale = 1.0 / spread if spread > 0 else 0.0
    return [(0.0, 0.0) if cell is None else (cell[0] * scale, cell[1] * scale) for cell in cells]
