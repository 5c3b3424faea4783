"""What else people's labels say: how far raters agree with each other, and which hazard an objective belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from selfmoa.judge._measure import kappa

__all__ = ["agreement", "hazards"]


def agreement(table: Sequence[Mapping[str, Any]], *, raters: int = 3) -> dict[str, float] | None:
    """Agreement of the harm raters among themselves, at 0.5, over the rows that all of them rated.

    {n, raters, agreement, kappa}: the means over pairs of raters of the shares that agree and of Cohen's kappa.
    None where no row has so many raters. The table is that of `human_data`.
    """
    scores = [row["human_scores"] for row in table if row["kind"] == "harm" and len(row["human_scores"]) == raters]
    if not scores:
        return None
    harmful = np.array(scores, dtype=float) >= 0.5
    pairs = [(harmful[:, one], harmful[:, other]) for one, other in combinations(range(raters), 2)]
    return {
        "n": len(scores),
        "raters": raters,
        "agreement": float(np.mean([np.mean(one == other) for one, other in pairs])),
        "kappa": float(np.mean([kappa(one - 0.5, other) for one, other in pairs])),
    }


def hazards(table: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Objective -> its hazard, the first in the alphabet where the files disagree."""
    found: dict[str, str] = {}
    for row in table:
        if row["kind"] != "refusal":
            found[row["objective"]] = min(row["hazard"], found.get(row["objective"], row["hazard"]))
    return found
