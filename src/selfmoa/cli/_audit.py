"""selfmoa judges audit"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import UsageError

if TYPE_CHECKING:
    from selfmoa.audit import AuditResult
    from selfmoa.bench import SetName

__all__ = ["audit"]


def audit(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.")],
    label: Annotated[bool, typer.Option("--label", help="Label in the terminal, one item at a time.")] = False,
    annotator: Annotated[str, typer.Option("--annotator", help="Who labels.")] = "first",
    labels: Annotated[
        list[Path] | None, typer.Option("--labels", help="Labels as CSV or JSONL (default: those in RUN/audit).")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="Prompts to draw (default harmful=64,edgy=64,benign=22), two answers each."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the draw (default 0).")] = None,
    sensitivity: Annotated[
        str | None, typer.Option("--sensitivity", help="Plausible range of the judges', e.g. 0.7,0.95.")
    ] = None,
    specificity: Annotated[str | None, typer.Option("--specificity", help="The same for specificity.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")] = False,
) -> None:
    """Check the judges by people: draw a blind sample, label it, and correct the figures by the labels.

    The first call draws the sample. A figure needs 60 labels a checkpoint to be corrected: --prompts harmful=60 is
    the shortest audit, 120 items for attack success, safety and refusals.
    """
    from selfmoa import audit as room

    ranges = {"sensitivity": _range("sensitivity", sensitivity), "specificity": _range("specificity", specificity)}
    if room.load_key(run, room.load_answers(run)) is None:
        room.draw(run, room.DEFAULT_SIZES if prompts is None else _sizes(prompts), seed=seed or 0)
    elif prompts is not None or seed is not None:
        raise UsageError(f"{run / 'audit'} holds a sample already. Move it away to draw another one.")
    if label:
        _label(run, annotator)
        return
    result = room.audit(run, labels or (), **ranges)
    if json:
        show_json(room.read_audit(run))
        return
    _show(room.report_rows(result.to_json()), result, run)
    if not result.labels:
        say(f"{result.items} items are to be labelled: {run / 'audit' / 'labels.csv'} (read guideline.md first), or")
        say(f"  selfmoa judges audit {run} --label --annotator NAME")


def _label(run: Path, annotator: str) -> None:
    from selfmoa import audit as room

    done = room.label_items(run, annotator, ask=_ask, tell=say)
    say(f"\n{done.labelled} of {done.total} items are labelled ({done.skipped} skipped): {done.path}")
    say(f"Result: selfmoa judges audit {run}")


def _ask(question: str) -> str:
    """What is typed; Ctrl-C ends the sitting as Ctrl-D does, with what is labelled saved."""
    try:
        return input(question)
    except KeyboardInterrupt:
        raise EOFError from None


def _show(rows: dict[str, list[tuple[str, ...]]], result: AuditResult, run: Path) -> None:
    from selfmoa import audit as room

    told = ", ".join(f"{n} by {name}" for name, n in result.labels.items()) or "none"
    show_table(room.FIGURE_COLUMNS, rows["figures"], title=f"Figures; labels: {told} (of {result.items} items)")
    if rows["judges"]:
        show_table(room.AGREEMENT_COLUMNS, rows["judges"], title="Judges against people [95 %]")
    if rows["people"]:
        show_table(room.PEOPLE_COLUMNS, rows["people"], title="People against each other")
    notes = [*result.notes, *(f"{row.judge}, {row.arm}: {row.note}" for row in result.judges if row.note)]
    for note in notes:
        say(f"Note: {note}")
    say(f"Written: {run / 'audit' / 'audit.json'}")


def _sizes(text: str) -> dict[SetName, int]:
    from selfmoa.bench import SETS

    sizes: dict[SetName, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        known = next((one for one in SETS if one == name), None)
        if known is None or not number.isdigit():
            raise UsageError(
                f"--prompts {text!r}: expected e.g. harmful=64,edgy=64,benign=22 with sets of {', '.join(SETS)}."
            )
        sizes[known] = int(number)
    return sizes


def _range(name: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise UsageError(f"--{name} {text!r}: expected a range LOW,HIGH with 0 <= LOW <= HIGH <= 1, e.g. 0.7,0.95.")
    return low, high
