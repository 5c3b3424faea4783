"""What a study leaves behind: one page, the table as JSON and Markdown, and each seed's paired comparison."""

from __future__ import annotations

from dataclasses import asdict

from selfmoa import compare
from selfmoa.report import write_comparison, write_page
from selfmoa.run import write_json, write_text
from selfmoa.study._runner import StudyResult, compared
from selfmoa.study._table import Table, markdown, table

__all__ = ["write_study"]


def write_study(result: StudyResult) -> Table:
    """Write `study.html`, `table.json`, `table.md` and `seed_N.html|.json` below the study's directory."""
    out, study = result.directory, result.study
    found = table(result.summaries, study.name + (" (smoke: sizes prove nothing)" if result.smoke else ""))
    for path in [*out.glob("seed_*.html"), *out.glob("seed_*.json")]:  # some may be of seeds that it has no more
        path.unlink()
    pages = []
    for seed, arms in compared(result):
        page = out / f"seed_{seed}.html"
        write_comparison(arms, page)
        write_json(page.with_suffix(".json"), compare.to_json(arms))
        pages.append({"seed": seed, "file": page.name, "front": ", ".join(arms.front)})
    write_json(out / "table.json", {"schema": 1, **asdict(found), "summaries": list(result.summaries)})
    write_text(out / "table.md", markdown(found) + _not_finished(result))
    told = {
        "name": found.title,
        "description": study.description,
        "table": found,
        "note": found.note,
        "runs": [asdict(run) for run in result.runs],
        "n_finished": sum(run.status == "finished" for run in result.runs),
        "pages": pages,
    }
    write_page(out / "study.html", "study.html.j2", told)
    return found


def _not_finished(result: StudyResult) -> str:
    lines = [f"- {run.arm}, seed {run.seed}: {run.status}: {run.reason}" for run in result.runs if run.reason]
    return "\n".join(["", *lines, ""]) if lines else ""
