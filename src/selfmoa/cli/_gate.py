"""selfmoa gate RESULT --policy FILE"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import RefusedError, UsageError

__all__ = ["gate"]


def gate(
    result: Annotated[Path, typer.Argument(help="results.json, or a run or evaluation directory that holds one.")],
    policy: Annotated[Path, typer.Option("--policy", help="Conditions as YAML.")],
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON on stdout.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the verdict as JSON.")] = None,
    junit_out: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    sarif_out: Annotated[Path | None, typer.Option("--sarif", help="Write SARIF 2.1.0.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option("--summary", envvar="GITHUB_STEP_SUMMARY", help="Append Markdown, as GitHub's step summary."),
    ] = None,
) -> None:
    """May it be released? Exit code 0 passed, 1 failed, 3 inconclusive because n is too small."""
    from selfmoa import gate as room
    from selfmoa.run import resets, write_text

    path = result / "results.json" if result.is_dir() else result
    if resets(path.parent):
        raise RefusedError(
            f"{path.parent} starts from a model whose safety was trained away on purpose: its changes are against that "
            "one. It is not released."
        )
    verdict = room.judge_results(_read(path), room.load_policy(policy))
    if out:
        write_text(out, json.dumps(verdict.to_json(), indent=1) + "\n")
    if junit_out:
        write_text(junit_out, room.junit(verdict))
    if sarif_out:
        write_text(sarif_out, json.dumps(room.sarif(verdict, path.as_posix()), indent=1) + "\n")
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(room.github_summary(verdict))
    if as_json:
        show_json(verdict.to_json())
    else:
        rows = [(item.outcome, item.condition.words, item.reason, item.n, item.judge) for item in verdict.checked]
        show_table(("outcome", "condition", "why", "n", "judge"), rows, title=f"Gate {verdict.policy}")
        say(f"Gate: {verdict.outcome}")
    if verdict.exit_code:
        raise typer.Exit(verdict.exit_code)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"There is no result {path}; expected results.json of `selfmoa align` or `evaluate`."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds {type(found).__name__}, expected the object that selfmoa writes.")
    return found
