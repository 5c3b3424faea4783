"""The figures and costs of one arm and seed as a small object, which can be kept and published."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from selfmoa.compare import judged, learnt_from
from selfmoa.errors import UsageError
from selfmoa.run import read_each, read_json, resets

__all__ = ["read_summaries", "summarise"]

Summary = dict[str, Any]
_FIELDS = {"arm", "seed", "model", "metrics", "cost"}


def summarise(directory: Path, arm: str, seed: int) -> Summary:
    """`arm, seed, model, metrics {name: {value, low, high, n, judge}}, cost` of a finished run.

    An arm that starts from a reset model carries `reset_control`.

    Figures are those of the model after; beside them `change {value, low, high, detectable}`, the paired change against
    the untrained model, absent where nothing was changed. Cost: pairs trained on; judged tokens (of the answers that
    the training judges scored); trained tokens (target and attackers, every epoch counted); seconds; peak memory in MB.
    Steps that other arms of a study made count for every arm that used them.
    """
    results = read_json(directory / "results.json") or {}
    manifest = read_json(directory / "manifest.json") or {}
    figures = [row for row in results["metrics"] if row["after"]["n"]]
    changed = any(row["change"]["value"] for row in figures)  # the untrained model is itself: no change to tell
    return {
        "arm": arm,
        "seed": seed,
        "model": (manifest.get("model") or {}).get("ref", ""),
        "metrics": {str(row["name"]): _figure(row, changed) for row in figures},
        "cost": _cost(directory),
        **({"reset_control": True} if resets(directory) else {}),
    }


def _figure(row: Summary, changed: bool) -> Summary:
    after, change = row["after"], row["change"]
    told = {**{key: _plain(after[key]) for key in ("value", "low", "high", "n")}, "judge": str(row.get("judge") or "")}
    if changed:
        moved = {key: _plain(change[key]) for key in ("value", "low", "high")}
        told["change"] = {**moved, "detectable": _plain(row.get("detectable"))}
    return told


def read_summaries(directory: Path) -> list[Summary]:
    """The summaries in a folder (`*.json`), by file name. Raises `UsageError` naming a file that is none."""
    if not directory.is_dir():
        raise UsageError(f"There is no directory {directory}; expected one of summaries, a JSON an arm and seed.")
    found = []
    for path in sorted(directory.glob("*.json")):
        summary = read_json(path)
        if not isinstance(summary, dict) or not summary.keys() >= _FIELDS:
            raise UsageError(f"{path} is no summary of an arm; expected an object with {', '.join(sorted(_FIELDS))}.")
        found.append(summary)
    return found


def _cost(directory: Path) -> dict[str, float]:
    usage = (read_json(directory / "usage.json") or {}).values()
    stages = read_each(directory, "stage_*/stage.json")
    attackers = read_each(directory, "attackers_*/*/done.json")
    trained = [*(stage.get("trained_tokens", 0) for stage in stages), *(one.get("tokens", 0) for one in attackers)]
    return {
        "pairs": learnt_from(stages),
        "judged_tokens": int(judged(directory)["judged tokens"]),
        "trained_tokens": sum(trained),
        "seconds": round(sum(entry["seconds"] for entry in usage), 1),
        "peak_memory_mb": max((entry["peak_mb"] for entry in usage), default=0.0),
    }


def _plain(value: Any) -> Any:
    """Four digits are enough for a rate of a few hundred prompts; what is not known is null."""
    if not isinstance(value, float):
        return value
    return round(value, 4) if math.isfinite(value) else None
