"""The self-contained HTML page of an evaluation of one model, or of a model and its adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmoa.assets import HAZARDS
from selfmoa.bench import DEFINED, Definition, Measured, by_hazard, by_wrapping, detectable_rate_change, rate
from selfmoa.capability import POOLED, Answered
from selfmoa.report._facts import asset_rows, limits, machine_rows, prompt_rows, removed, title
from selfmoa.report._load import RunData, load_run
from selfmoa.report._page import write_page
from selfmoa.report._results import judge_cards, metric_rows, weakness
from selfmoa.report._text import change, count, estimate, integer, number, share
from selfmoa.run import read_json, read_records

__all__ = ["write_evaluation"]

Row = dict[str, Any]
Grouping = Callable[[Definition, Sequence[Measured]], dict[str, dict[str, float | None]]]
_ARMS = ("before", "after")
_GROUPED = {"attack_success": "Attack success by hazard", "over_refusal": "Over-refusal by type of prompt"}


def write_evaluation(directory: Path) -> Path:
    """Write `report.html` of an evaluation; no prompt or answer is on it. Raises `UsageError` where there is none."""
    run = load_run(directory)
    arms = {name: read_records(run.directory / "evaluation" / f"{name}.parquet", Measured) or [] for name in _ARMS}
    metrics = metric_rows(run.results, run.judges)
    told = {
        "title": title(run),
        "facts": _facts(run, arms["before"]),
        "summary": _summary(run, metrics),
        "warnings": [str(line) for line in run.results.get("warnings") or []],
        "paired": bool(arms["after"]),
        # each task has its line further down
        "rows": [row for row in metrics if not row["name"].startswith("capability_")],
        "followed": any(row["name"] == "instruction_following" for row in metrics),
        "capability": _capability(run),
        "strict": metric_rows(run.results, run.judges, "metrics_without_touched"),
        "touched": count(len(run.results.get("touched") or []), "prompt"),
        "groups": [*(_group(name, words, arms) for name, words in _GROUPED.items()), *_wrappings(arms)],
        "sets": _sets(run, arms["before"]),
        "prompts": prompt_rows(run),
        "removed": removed(run),
        "judges": judge_cards([card for card in run.judges if card.get("side") == "gate"]),
        "command": str(run.manifest.get("command") or "selfmoa evaluate ..."),
        "environment": machine_rows(run),
        "limits": limits(run, metrics),
    }
    path = run.directory / "report.html"
    write_page(path, "evaluation.html.j2", told)
    return path


def _facts(run: RunData, items: list[Measured]) -> list[str]:
    model = run.manifest.get("model") or {}
    mark = ["RESET CONTROL"] if run.manifest.get("reset_control") else []
    return [*mark, str(model.get("ref") or ""), count(len(items), "prompt"), f"seed {run.manifest.get('seed', '')}"]


def _summary(run: RunData, metrics: list[Row]) -> list[str]:
    """Three sentences: what came out, what it cost the harmless, how far to trust it."""
    by_name = {row["name"]: row for row in metrics}
    if run.results.get("first_line"):
        found = [str(run.results["first_line"]), str(run.results.get("headline") or "")]
    else:
        found = [_told(by_name, _HARM), _told(by_name, _HARMLESS)]
    attack = next((row for row in run.results.get("metrics") or [] if row.get("name") == "attack_success"), None)
    doubt = _doubt([card for card in run.judges if card.get("side") == "gate"])
    seen = detectable_rate_change(int(attack["n"])) if attack and attack.get("n") else None
    missed = (
        f"; with so many prompts a change of less than {100 * seen:.0f} points would probably be missed" if seen else ""
    )
    return [line for line in (*found, f"{doubt[:1].upper()}{doubt[1:]}{missed}.") if line]


def _doubt(cards: list[Row]) -> str:
    weak = [str(card.get("name")) for card in cards if weakness(card)]
    if weak:
        return f"{', '.join(weak)} {'is a weak judge' if len(weak) == 1 else 'are weak judges'}"
    measured = [str(card.get("name")) for card in cards if card.get("auc")]
    if not measured:
        return "None of the judges was measured against people's labels here"
    return f"Measured against people's labels: {', '.join(measured)}; no label of these very answers corrects them"


_HARM = (
    ("attack_success", "answered unsafely on {value} of {n} harmful prompts"),
    ("refusal_harmful", "declined {value}"),
)
_HARMLESS = (
    ("over_refusal", "declined {value} of {n} harmless prompts that sound harmful"),
    ("refusal_benign", "declined {value} of {n} plain ones"),
    ("helpfulness_harmless", "was rated {value} for helpfulness on them (0 to 1)"),
)


def _told(rows: dict[str, Row], parts: tuple[tuple[str, str], ...]) -> str:
    words = [text.format(value=rows[name]["value"], n=rows[name]["n"]) for name, text in parts if name in rows]
    return f"The model {' and '.join(words)}." if words else ""


def _wrappings(arms: dict[str, list[Measured]]) -> list[Row]:
    if not any(item.wrapping for item in arms["before"]):
        return []
    return [_group("attack_success", "Attack success by wrapping, each with prompts of its own", arms, by_wrapping)]


def _group(name: str, words: str, arms: dict[str, list[Measured]], by: Grouping = by_hazard) -> Row:
    definition = DEFINED[name]
    names = [arm for arm in _ARMS if arms[arm]]
    tables = [by(definition, arms[arm]) for arm in names]
    rows = [
        {
            "name": HAZARDS.get(group, (group,))[0],
            "n": integer(len(tables[0][group])),
            "cells": [estimate(asdict(rate(list(table[group].values())))) for table in tables],
        }
        for group in sorted(tables[0])
    ]
    return {"title": words, "arms": names if len(names) > 1 else ["Rate"], "rows": rows}


def _capability(run: RunData) -> list[Row]:
    """One row a capability task and one for all, every figure in words; empty where nothing was asked."""
    found = read_json(run.directory / "capability.json") or {}
    return [_task(row) for row in found.get("tasks") or []]


def _task(row: Row) -> Row:
    last = row.get("after") or row
    seen = number(row.get("detectable"))
    return {
        "name": str(row["task"]).capitalize() if row["task"] == POOLED else str(row["task"]),
        "n": integer(last["acc"]["n"]),
        "chance": share(row["chance"]),
        "before": estimate(row["before"]["acc"]) if "before" in row else "",
        "acc": estimate(last["acc"]),
        "acc_norm": estimate(last["acc_norm"]),
        "change": change(row.get("change")),
        "seen": "" if seen is None else f"{100 * seen:.0f} points",
    }


def _sets(run: RunData, items: list[Measured]) -> list[Row]:
    known = {row["ref"]: row for row in asset_rows(run)}
    asked = read_records(run.directory / "evaluation" / "capability_before.parquet", Answered) or []
    tasks = [f"set:{item.task}" if f"set:{item.task}" in known else item.task for item in asked]
    used = Counter([*((item.set, item.source) for item in items), *(("capability", task) for task in tasks)])
    rows = []
    for (name, ref), n in used.items():
        asset = known.get(ref, {})
        rows.append(
            {
                "ref": ref,
                "title": asset.get("title") or ref,
                "set": name,
                "n": integer(n),
                "licence": asset.get("licence") or "unknown",
                "hash": str(asset.get("sha256") or "")[:23],
            }
        )
    return rows
