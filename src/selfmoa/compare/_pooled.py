"""Several runs of one recipe with different seeds: the change that the recipe makes, and how far seeds scatter."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from selfmoa.bench import (
    DEFINED,
    Estimate,
    Measured,
    MetricChange,
    MetricVerdict,
    Pooled,
    compare_metrics,
    paired_values,
    plain_json,
    pool,
    verdict,
    with_preferences,
)
from selfmoa.capability import Capability, metric_changes
from selfmoa.compare._arms import Arm, load_arm
from selfmoa.errors import UsageError
from selfmoa.run import read_json

__all__ = ["PooledFigure", "PooledRuns", "pool_runs", "pooled_csv", "pooled_json"]

SCHEMA = 1
_MAY_DIFFER = ("seed", "name", "description")
"""And `loop.max_pairs`: a study holds an arm to the number of pairs that another had with the same seed."""


@dataclass(frozen=True, slots=True)
class PooledFigure:
    """The change of one figure over runs; `changes` are the runs' own, in their order, n = 0 where not measured."""

    metric: str
    label: str
    set: str
    direction: Literal["higher", "lower", "none"]
    unit: Literal["share", "score", "words"]
    judge: str
    pooled: Pooled
    verdict: MetricVerdict
    changes: tuple[Estimate, ...]


@dataclass(frozen=True)
class PooledRuns:
    """All of it."""

    names: tuple[str, ...]
    tolerance: float
    figures: tuple[PooledFigure, ...]


@dataclass(frozen=True)
class _Run:
    name: str
    judges: dict[str, str]
    changes: dict[str, MetricChange]
    items: dict[str, dict[str, float]]
    """Figure -> prompt id -> after - before."""


def pool_runs(directories: Sequence[str | Path], tolerance: float = 0.1) -> PooledRuns:
    """Pool the paired changes of runs that differ in nothing but their seed; they may have asked other prompts.

    Raises `UsageError` for fewer than two runs, another recipe or other judges, one seed twice, or a run without both
    sides.
    """
    paths = [Path(directory) for directory in directories]
    _check(paths)
    runs = [_read(path, tolerance) for path in paths]
    names = list(dict.fromkeys(name for run in runs for name in run.changes))
    for name in names:
        judges = Counter(run.judges.get(name, "") for run in runs if name in run.changes)
        if len(judges) > 1:
            raise UsageError(f"{name} was judged by {' and by '.join(map(repr, judges))}; judge all runs alike.")
    return PooledRuns(
        tuple(run.name for run in runs), tolerance, tuple(_figure(name, runs, tolerance) for name in names)
    )


def _check(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise UsageError(f"Got {len(paths)} run to pool, expected two or more of one recipe with different seeds.")
    recipes = [_recipe(path) for path in paths]
    seeds = [(recipe.get("seed"), _adapter(path)) for recipe, path in zip(recipes, paths, strict=True)]
    for path, recipe in zip(paths, recipes, strict=True):
        differing = [key for key in {*recipe, *recipes[0]} - {*_MAY_DIFFER} if recipe.get(key) != recipes[0].get(key)]
        if differing:
            raise UsageError(
                f"{paths[0]} and {path} are runs of different recipes ({', '.join(sorted(differing))}); only runs that "
                "differ in nothing but their seed can be pooled."
            )
    twice = [seed for (seed, _), n in Counter(seeds).items() if n > 1]
    if twice:
        raise UsageError(f"Two of the runs have the seed {twice[0]}: they are no independent runs. Name one of them.")


def _recipe(path: Path) -> dict[str, Any]:
    file = path / "recipe.yaml"
    if not file.is_file():
        raise UsageError(f"{path} holds no recipe.yaml; expected a directory of `selfmoa align` or `selfmoa evaluate`.")
    found: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    if isinstance(found.get("loop"), dict):
        found["loop"].pop("max_pairs", None)
    return found


def _adapter(path: Path) -> str:
    """Which adapter an evaluation was of; empty for a run, whose seed says which."""
    return str((read_json(path / "manifest.json") or {}).get("adapter_sha256") or "")


def _read(path: Path, tolerance: float) -> _Run:
    before, after = load_arm(f"{path}:before"), load_arm(f"{path}:after")
    then, now = with_preferences(before.items, after.items, after.votes or None)
    changes = {change.name: change for change in compare_metrics(then, now, tolerance)}
    items = {name: _differences(name, then, now) for name in changes}
    for name, change, found in _known(before, after, tolerance):
        changes[name], items[name] = change, found
    return _Run(path.resolve().name, dict(after.judges), changes, items)


def _differences(name: str, then: Sequence[Measured], now: Sequence[Measured]) -> dict[str, float]:
    pairs = paired_values(DEFINED[name], then, now).items()
    return {key: b - a for key, (a, b) in pairs if a is not None and b is not None}


def _known(before: Arm, after: Arm, tolerance: float) -> list[tuple[str, MetricChange, dict[str, float]]]:
    if not (before.known and after.known):
        return []
    one, other = Capability(before.known), Capability(after.known)
    found = []
    for change in metric_changes(one, other, tolerance):
        then, now = one.right(change.name), other.right(change.name)
        moved = {" ".join(question): float(now[question]) - float(right) for question, right in then.items()}
        found.append((change.name, change, moved))
    return found


def _figure(name: str, runs: Sequence[_Run], tolerance: float) -> PooledFigure:
    told = next(run.changes[name] for run in runs if name in run.changes)
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
    changes = [run.changes[name].change if name in run.changes else nothing for run in runs]
    found = pool(changes, [run.items.get(name, {}) for run in runs])
    interval = Estimate(found.value, found.low, found.high, sum(change.n for change in changes))
    judge = next((run.judges[name] for run in runs if name in run.judges), "")
    return PooledFigure(
        metric=name,
        label=told.label,
        set=told.set,
        direction=told.direction,
        unit=told.unit,
        judge=judge,
        pooled=found,
        verdict=verdict(interval, tolerance, told.direction),
        changes=tuple(changes),
    )


def pooled_json(found: PooledRuns) -> dict[str, Any]:
    """Plain JSON values; NaN is null."""
    told = {"schema": SCHEMA, "runs": list(found.names), "tolerance": found.tolerance}
    plain: dict[str, Any] = plain_json({**told, "figures": [asdict(figure) for figure in found.figures]})
    return plain


def pooled_csv(found: PooledRuns) -> str:
    """One line a figure: the pooled change, then every run's own."""
    shared = ("metric", "set", "direction", "unit", "judge", "verdict")
    parts = [f"{name} {part}" for name in found.names for part in ("change", "low", "high", "n")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*shared, "change", "low", "high", "runs", "seed_sd", "detectable", *parts])
    for figure in found.figures:
        pooled, own = figure.pooled, [value for c in figure.changes for value in (c.value, c.low, c.high, c.n)]
        values = [pooled.value, pooled.low, pooled.high, pooled.runs, pooled.seed_sd, pooled.detectable, *own]
        writer.writerow([*(getattr(figure, name) for name in shared), *plain_json(values)])
    return buffer.getvalue()
