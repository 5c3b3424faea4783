"""The self-contained HTML report of one run."""

from __future__ import annotations

import importlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from selfmoa.audit import AGREEMENT_COLUMNS, FIGURE_COLUMNS, PEOPLE_COLUMNS, read_audit, report_rows
from selfmoa.report import _plots
from selfmoa.report._examples import examples
from selfmoa.report._facts import asset_rows, command, facts, limits, machine_rows, prompt_rows, removed, title
from selfmoa.report._load import RunData, load_run
from selfmoa.report._loop import cost_rows, curves, pair_facts, round_rows, stage_rows
from selfmoa.report._objectives import objective_rows
from selfmoa.report._results import judge_cards, metric_rows, original_rows, tiles
from selfmoa.report._story import story
from selfmoa.report._text import change, count, number, visible
from selfmoa.run import write_text

__all__ = ["write_page", "write_report"]

Row = dict[str, Any]


def write_report(run_dir: Path, *, unredacted: bool = False) -> Path:
    """Write `report.html` of a run, finished or not, and give its path.

    Attack prompts and the answers to them are left out; with `unredacted` they are shown, in a file of
    another name (`report.unredacted.html`), so that the page meant for sharing never holds them.
    Raises `UsageError` where `run_dir` is no run directory, `StorageError` where it cannot be written.
    """
    run = load_run(Path(run_dir))
    path = run.directory / ("report.unredacted.html" if unredacted else "report.html")
    write_page(path, "report.html.j2", _context(run, unredacted))
    return path


def write_page(path: Path, template: str, told: Row) -> None:
    """Write a self-contained page: the template with what is told, the style and the version."""
    css = Markup((files("selfmoa.report") / "templates" / "report.css").read_text(encoding="utf-8"))
    version = importlib.import_module("selfmoa").__version__
    write_text(path, environment().get_template(template).render(told, css=css, version=version))


def environment() -> Environment:
    """Where templates come from: autoescaped, strict, control characters made visible."""
    made = Environment(
        loader=PackageLoader("selfmoa.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["capitalize_first"] = lambda words: words[:1].upper() + words[1:]
    return made


def _finalize(value: Any) -> Any:
    """Autoescape stops markup; this stops control and bidirectional characters as well."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _context(run: RunData, unredacted: bool) -> Row:
    metrics = metric_rows(run.results, run.judges)
    audit = _audit(run)
    rounds, pairs = round_rows(run), pair_facts(run)
    tolerance = number(run.results.get("tolerance"))
    attack, stage = (run.recipe.get(name) or {} for name in ("attack", "stage"))
    told = {
        "title": title(run),
        "facts": facts(run),
        "unredacted": unredacted,
        "verdict": _verdict(run, tiles(metrics)),
        "tiles": tiles(metrics),
        "train_change": change(run.results.get("train_change"), "score"),
        "watch_change": change(run.results.get("watch_change"), "score"),
        "gate_change": next((row["change"] for row in metrics if row["name"] == "safety"), "–"),
        "warnings": [str(line) for line in run.results.get("warnings") or []],
        "story": story(run, pairs, rounds),
        "metrics": metrics,
        "strict": metric_rows(run.results, run.judges, "metrics_without_touched"),
        "original": original_rows(run.results),
        "touched": count(len(run.results.get("touched") or []), "prompt"),
        "tolerance": f"{100 * tolerance:g} points" if tolerance else "",
        "removed": removed(run),
        "prompts": prompt_rows(run),
        "rounds": rounds,
        "pairs": pairs,
        "objectives": objective_rows(run),
        "rewrites": not attack.get("static"),
        "checked": stage.get("check") is not False,
        "pairing": str((run.recipe.get("prefer") or {}).get("pairing") or ""),
        "stages": stage_rows(run),
        "judges": judge_cards(run.judges),
        "examples": examples(run, unredacted=unredacted),
        "cost": cost_rows(run),
        "command": command(run),
        "environment": machine_rows(run),
        "assets": asset_rows(run),
        "recipe_text": run.recipe_text,
        "audit": audit,
        "limits": limits(run, metrics, audited=bool(audit)),
        "plots": {
            "forest": _plots.forest(metrics, tolerance),
            "rounds": _plots.rounds(rounds),
            "training": _plots.training(curves(run)),
            "gap": _plots.judge_gap(stage_rows(run)),
        },
    }
    return {**told, "missing": run.missing}  # last: reading the parts above notes what is missing


def _audit(run: RunData) -> list[Row]:
    """Tables of the audit by people; none where there was no audit."""
    found = read_audit(run.directory)
    if found is None:
        return []
    rows = report_rows(found)
    tables = (
        ("Figures corrected by people's labels", FIGURE_COLUMNS, rows["figures"]),
        ("Judges against people", AGREEMENT_COLUMNS, rows["judges"]),
        ("People against each other", PEOPLE_COLUMNS, rows["people"]),
    )
    return [{"title": title_, "columns": columns, "rows": lines} for title_, columns, lines in tables if lines]


def _verdict(run: RunData, shown: list[Row]) -> Row:
    """The first line and its colour: doubt is not failure, and nothing but `passed` is good."""
    first_line = str(run.results.get("first_line") or "")
    if not first_line:
        return {
            "words": "This run has not finished: there is no before/after comparison yet.",
            "tone": "neutral",
        }
    worse = any(tile["row"] and tile["row"]["tone"] == "bad" for tile in shown)
    return {
        "words": first_line,
        "tone": "good" if run.results.get("passed") else "bad" if worse else "neutral",
    }
