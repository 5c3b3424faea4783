"""`.eval_results/selfmoa.yaml`: figures in the hub's format (huggingface.co/docs/hub/eval-results), where one is due.

An entry names one data set of the hub. A figure over prompts of several sources, of wheels or of files has none: it is
left out rather than put down to a data set that it was not measured on. `model-index` in the card holds every figure.
"""

from __future__ import annotations

from typing import Any

import yaml

from selfmoa.assets import COMMIT, hub_source
from selfmoa.bench import MEMBERS
from selfmoa.errors import AssetError
from selfmoa.report._facts import asset_rows, published
from selfmoa.report._load import RunData
from selfmoa.report._text import estimate, integer, number, visible

__all__ = ["eval_results", "sources"]

Row = dict[str, Any]


def sources(run: RunData, name: str) -> list[str]:
    """References of the tables that a set of prompts was drawn from, each once."""
    rows = [row for part in _parts(run, name) for row in part.get("data") or []]
    return list(dict.fromkeys(published(str(row.get("ref"))) for row in rows if isinstance(row, dict)))


def eval_results(run: RunData) -> str:
    """The file's text; empty where no figure rests on one data set of the hub alone."""
    found = [entry for metric in run.results.get("metrics") or [] if (entry := _entry(run, metric)) is not None]
    return yaml.safe_dump(found, sort_keys=False, width=1000) if found else ""


def _entry(run: RunData, metric: Any) -> Row | None:
    """One figure of the aligned model; None where it has no data set of its own, or no value."""
    if not isinstance(metric, dict) or not isinstance(metric.get("after"), dict):
        return None
    value, name = number(metric["after"].get("value")), _only_source(run, str(metric.get("set") or ""))
    if value is None or not name:
        return None
    repository, commit = _repository(run, name)
    shown = estimate(metric["after"], metric["unit"] if metric.get("unit") in {"score", "words"} else "share")
    judge = metric.get("judge") or "no judge (counted)"
    notes = f"{metric.get('label')}: {shown}, 95 % interval, n {integer(metric['after'].get('n'))}, judged by {judge}"
    dated = str(run.manifest.get("finished") or "")[:10]
    return {
        "dataset": {"id": repository, "task_id": visible(str(metric.get("name"))), **commit},
        "value": round(value, 4),
        **({"date": dated} if dated else {}),
        "notes": visible(" ".join(f"{notes}, selfmoa {run.manifest.get('selfmoa', '')}".split())),
    }


def _only_source(run: RunData, name: str) -> str:
    """The one table of the hub that all prompts of a set come from as they are; empty where that is not so."""
    found = sources(run, name)
    wrapped = any(part.get("wrap") for part in _parts(run, name))
    return found[0] if len(found) == 1 and _of_hub(found[0]) and not wrapped else ""


def _of_hub(ref: str) -> str:
    try:
        return hub_source(ref)
    except AssetError:  # a set that another version of selfmoa registers
        return ""


def _repository(run: RunData, ref: str) -> tuple[str, Row]:
    """(OWNER/NAME, the commit as the run found it; empty where that was not written down)."""
    repository, _, revision = _of_hub(ref).removeprefix("hub:").partition("@")
    known = next((row["sha256"] for row in asset_rows(run) if row["ref"] == ref), "").removeprefix("commit:")
    return repository, next(({"revision": one} for one in (known, revision) if COMMIT.fullmatch(one)), {})


def _parts(run: RunData, name: str) -> list[Row]:
    evaluate = run.recipe.get("evaluate") or {}
    return [part for key in MEMBERS.get(name, ()) if isinstance(part := evaluate.get(key), dict)]
