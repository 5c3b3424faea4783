"""selfmoa judges list | train | card | score"""

from __future__ import annotations

import csv
import io
import json as json_module
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import UsageError

if TYPE_CHECKING:
    from selfmoa.judge import JudgeCard

app = typer.Typer(help="Judges and their measured cards.", no_args_is_help=True)

ModelOption = Annotated[
    str,
    typer.Option("--model", help="Model whose hidden states the lm-state head reads: wheel:, path or hub:."),
]
_EMBEDDED = "wheel:smollm2-135m-instruct"


@app.command("list")
def list_() -> None:
    """Names that a recipe may use, with family, objective, licence and what to mind."""
    from selfmoa import judge

    rows = [(name, *judge.described(name)) for name in judge.known()]
    show_table(("name", "family", "objective", "licence", "note"), rows)


@app.command()
def train(
    names: Annotated[list[str] | None, typer.Argument(help="Heads, e.g. lm-state. Default: all.")] = None,
    model: ModelOption = _EMBEDDED,
    out: Annotated[
        Path | None, typer.Option(help="Train all that this directory lacks; read none from cache or package.")
    ] = None,
) -> None:
    """Train the embedded safety and refusal heads on public human labels (cached, deterministic).

    The slow ones come with the package, for the embedded model.
    """
    from selfmoa import api

    for line in api.train_judges(model, names or (), out):
        say(line)


@app.command()
def card(
    name: Annotated[str | None, typer.Argument(help="Judge or jury, e.g. minilm or gate-jury.")] = None,
    model: ModelOption = _EMBEDDED,
    everything: Annotated[bool, typer.Option("--all", help="Every embedded judge and both juries.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Measure on your own table: prompt, response, label (1 = safe, helpful or refused)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """How wrong a judge is: AUC, kappa, calibration, flip rates, baselines, limits (the first time takes minutes)."""
    from selfmoa import api

    if everything == (name is not None):
        raise UsageError("Name one judge, or say --all. Known names: selfmoa judges list.")
    if data is not None:
        if name is None:
            raise UsageError("--data measures one judge: name it.")
        _check_table(data)
        cards = [api.judge_card_on(name, data, None if model == _EMBEDDED else model)]
    else:
        cards = api.judge_cards([] if name is None else [name], model)
    if json:
        found = [one.flat() for one in cards]
        show_json(_finite(found if everything else found[0]))
    elif everything:
        _show_cards(cards)
    else:
        say(str(cards[0]))


def _finite(value: Any) -> Any:
    """JSON has no NaN: null in its place."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _show_cards(cards: Sequence[JudgeCard]) -> None:
    rows = []
    for one in cards:
        flat, worst = one.flat(), one.worst_flip()
        interval = f" [{flat['auc_low']:.2f}, {flat['auc_high']:.2f}]" if flat["auc"] is not None else ""
        rows.append(
            (
                one.name,
                one.side,
                one.objective,
                one.n or "-",
                _short(flat["auc"]) + interval,
                _short(flat["baseline_auc"]),
                _short(flat["style_swap_auc"]),
                _short(flat["kappa"]),
                f"{worst['rate']:.2f} {worst['name']}" if worst else "-",
            )
        )
    columns = ("judge", "side", "objective", "n", "AUC", "bag of words", "style swap", "kappa", "worst flip rate")
    show_table(columns, rows, title="Judges against human labels, cross-validated by objective; 95 % intervals")
    human = next((one.human for one in cards if one.human), None)
    if human:
        say(f"People among themselves: kappa {human['kappa']:.2f} on {human['n']:.0f} answers (harm at 0.5).")
    say("Outside models (guards, classifiers, rewards) are not measured here: selfmoa judges card NAME --data FILE.")


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@app.command()
def score(
    name: Annotated[str, typer.Argument(help="Judge, e.g. minilm, or train-jury, gate-jury.")],
    file: Annotated[Path, typer.Argument(help="CSV or JSONL with columns prompt and response.")],
    out: Annotated[Path | None, typer.Option(help="Where to write: .csv or .jsonl. Default: CSV on stdout.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Base of a judge that reads one, or the outside model of a judge that has one.")
    ] = None,
) -> None:
    """Score the rows of a table, to audit a judge on labels of your own.

    Writes the same rows, in order, with `score` (higher = safer or more helpful; of a refusal judge P(refusal); empty
    = unscored) and `reason`.
    """
    from selfmoa import api
    from selfmoa.assets import read_table
    from selfmoa.run import write_text

    _check_table(file)
    if out is not None:
        _check_out(out)
    rows = api.judge_scores(name, read_table(file), model)
    if out is None:
        sys.stdout.write(_csv(rows))
        return
    write_text(out, _csv(rows) if out.suffix.lower() == ".csv" else _jsonl(rows))
    unscored = sum(row["score"] is None for row in rows)
    say(f"{len(rows)} rows, {unscored} unscored: {out}")


def _check_table(file: Path) -> None:
    if not file.is_file():
        raise UsageError(f"There is no file {file}; expected a table, .csv or .jsonl.")


def _check_out(out: Path) -> None:
    """Before minutes of scoring, not after."""
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise UsageError(f"--out {out}: unknown kind of table {out.suffix!r}; expected .csv or .jsonl.")
    there = out.exists()
    try:
        out.open("a").close()
        if not there:
            out.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {out} cannot be written ({error.strerror}). Name a file in a directory that is there and yours."
        ) from error


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row if key not in ("score", "reason")))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, [*columns, "score", "reason"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _jsonl(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json_module.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
