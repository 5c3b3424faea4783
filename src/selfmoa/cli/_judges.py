"""selfmoa judges list | train | card"""

from __future__ import annotations

from typing import Annotated

import typer

from selfmoa.cli._show import say, show_json, show_table

app = typer.Typer(help="Judges and their measured cards.", no_args_is_help=True)

ModelOption = Annotated[
    str,
    typer.Option("--model", help="Model whose hidden states the lm-state head reads: wheel:, path or hub:."),
]
_EMBEDDED = "wheel:smollm2-135m-instruct"


@app.command("list")
def list_() -> None:
    """Names that a recipe may use, with licence and access notes of the outside models."""
    from selfmoa import judge

    rows = []
    for name in judge.known():
        preset = judge.preset_note(name)
        if preset is None:
            rows.append((name, "built in or plug-in", "", "", f"selfmoa judges card {name}"))
        else:
            rows.append((name, preset.family, preset.objective, preset.licence, preset.note))
    show_table(("name", "family", "objective", "licence", "note"), rows)


@app.command()
def train(model: ModelOption = _EMBEDDED) -> None:
    """Train the embedded safety and refusal heads on public human labels (cached, deterministic)."""
    from selfmoa import api

    for line in api.train_judges(model):
        say(line)


@app.command()
def card(
    name: Annotated[str, typer.Argument(help="Judge, e.g. minilm.")],
    model: ModelOption = _EMBEDDED,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """How wrong a judge is: n, AUC and accuracy with intervals, baseline, style-swapped set, limits."""
    from selfmoa import api

    found = api.judge_card(name, model)
    if json:
        show_json(found.as_dict())
    else:
        say(str(found))
