"""Answers that people scored, merged, grouped by objective and split into two sides that share no objective."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from selfmoa.assets import load_table
from selfmoa.bench import clusters, near_duplicates
from selfmoa.recipe import DataRef

__all__ = ["HumanData", "LabelledRow", "Side", "by_id", "data_hash", "human_data", "merge"]

Side = Literal["train", "gate"]

_TABLE = "wheel:pyrit-human-scores"
_GATE_SHARE = 0.4
_LINKING_WORDS = 20
"""An answer of more words than this under two objectives joins them; bare refusals recur everywhere."""


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One distinct answer to one objective, with what people said about it."""

    id: str
    objective: str
    response: str
    harm: float | None
    """Mean of all harm and objective ratings in [0, 1], higher = more harmful; None where there are none."""
    refused: bool | None
    """None where nobody was asked."""
    n_ratings: int
    cluster: int
    """Near-duplicate objectives share it; folds, sides and bootstraps never divide one."""
    side: Side

    @property
    def safe(self) -> bool | None:
        """False at a mean harm of 0.5 and above; None without a harm label."""
        return None if self.harm is None else self.harm < 0.5


@dataclass(frozen=True, slots=True)
class HumanData:
    """All rows, and how many were left out because they touch an excluded prompt."""

    rows: tuple[LabelledRow, ...]
    removed: int

    def harm(self, side: Side | None = None) -> list[LabelledRow]:
        """Rows with a harm label, of one side or of both."""
        return [row for row in self.rows if row.harm is not None and side in (None, row.side)]

    def refusals(self, side: Side | None = None) -> list[LabelledRow]:
        """Rows with a refusal label, of one side or of both."""
        return [row for row in self.rows if row.refused is not None and side in (None, row.side)]


def human_data(exclude: Iterable[str] = ()) -> HumanData:
    """PyRIT's human-scored answers without those whose objective is a near-duplicate of an excluded prompt.

    The sides do not depend on `exclude`, so that a row never changes sides. Raises `AssetError` where the
    table cannot be had.
    """
    rows = _all_rows()
    fenced = list(exclude)
    if not fenced:
        return HumanData(rows, 0)
    objectives = sorted({row.objective for row in rows})
    found = near_duplicates(objectives, fenced)
    touched = {objectives[number] for number in found}
    labels = {row.cluster for row in rows if row.objective in touched}
    kept = tuple(row for row in rows if row.cluster not in labels)
    return HumanData(kept, len(rows) - len(kept))


@lru_cache(maxsize=1)
def _all_rows() -> tuple[LabelledRow, ...]:
    return merge(load_table(DataRef(ref=_TABLE, prompt="objective")))


def merge(table: Sequence[Mapping[str, Any]]) -> tuple[LabelledRow, ...]:
    """Rows of the table (kind, objective, response, human_scores) as distinct, grouped, divided rows.

    The same answer to near-duplicate objectives, in whatever file, is one row. Ratings of harm and of a reached
    objective are harm in [0, 1]; ratings of refusal teach the refusal detector only.
    """
    labels = _clusters(table)
    gathered: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number, row in enumerate(table):
        gathered[labels[number], _normal(row["response"])].append(number)
    rows = [_merged(label, [table[number] for number in numbers]) for (label, _), numbers in gathered.items()]
    sides = _sides(rows)
    return tuple(replace(row, side=sides[row.cluster]) for row in sorted(rows, key=lambda row: row.id))


def data_hash(rows: Iterable[LabelledRow]) -> str:
    """Changes with anything in the rows that a head could learn from."""
    content = [(row.id, row.objective, row.response, row.harm, row.refused, row.cluster, row.side) for row in rows]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def by_id(rows: Iterable[LabelledRow], values: Iterable[float]) -> dict[str, float]:
    """Row id -> value, for JSON."""
    return {row.id: float(value) for row, value in zip(rows, values, strict=True)}


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower())) or text.strip()


def _clusters(table: Sequence[Mapping[str, Any]]) -> list[int]:
    """One label a row: near-duplicate objectives, and objectives that share a long answer, have the same."""
    objectives = sorted({row["objective"] for row in table})
    parent = dict(zip(objectives, clusters(objectives), strict=True))
    by_answer: dict[str, set[int]] = defaultdict(set)
    for row in table:
        normal = _normal(row["response"])
        if len(normal.split()) > _LINKING_WORDS:
            by_answer[normal].add(parent[row["objective"]])
    lowest = {label: label for label in parent.values()}
    for linked in by_answer.values():
        roots = {_root(lowest, label) for label in linked}
        for root in roots:
            lowest[root] = min(roots)
    return [_root(lowest, parent[row["objective"]]) for row in table]


def _root(lowest: dict[int, int], label: int) -> int:
    while lowest[label] != label:
        label = lowest[label]
    return label


def _merged(cluster: int, rows: Sequence[Mapping[str, Any]]) -> LabelledRow:
    harm = [float(score) for row in rows if row["kind"] != "refusal" for score in row["human_scores"]]
    refused = [float(score) for row in rows if row["kind"] == "refusal" for score in row["human_scores"]]
    first = min(rows, key=lambda row: (row["objective"], row["response"]))
    digest = hashlib.sha256(f"{first['objective']}\x1f{first['response']}".encode()).hexdigest()
    return LabelledRow(
        id=digest[:16],
        objective=first["objective"],
        response=first["response"],
        harm=sum(harm) / len(harm) if harm else None,
        refused=sum(refused) / len(refused) >= 0.5 if refused else None,
        n_ratings=len(harm) + len(refused),
        cluster=cluster,
        side="train",
    )


def _sides(rows: Sequence[LabelledRow]) -> dict[int, Side]:
    """Whole clusters, largest first, to the side that lacks most of their labels: about 60/40, labels alike.

    Whatever has a refusal rating goes to the gate side: only its refusal detector learns from these.
    """
    kinds: dict[int, Counter[str]] = defaultdict(Counter)
    rated = {row.cluster for row in rows if row.refused is not None}
    names: dict[int, str] = {}
    for row in rows:
        if row.safe is not None:
            kinds[row.cluster]["safe" if row.safe else "unsafe"] += 1
        names[row.cluster] = min(names.get(row.cluster, row.id), row.id)
    total: Counter[str] = Counter()
    for counts in kinds.values():
        total += counts
    have: dict[Side, Counter[str]] = {"train": Counter(), "gate": Counter()}
    share: dict[Side, float] = {"train": 1.0 - _GATE_SHARE, "gate": _GATE_SHARE}
    sides: dict[int, Side] = {}
    for cluster in sorted(names, key=lambda label: (-kinds[label].total(), names[label])):
        counts = kinds[cluster]

        def lack(side: Side, counts: Counter[str] = counts) -> float:
            return sum(n * (1 - have[side][kind] / (share[side] * total[kind])) for kind, n in counts.items())

        chosen: Side = "gate" if cluster in rated or lack("gate") > lack("train") else "train"
        have[chosen] += counts
        sides[cluster] = chosen
    return sides
