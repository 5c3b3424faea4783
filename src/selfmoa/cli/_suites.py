"""selfmoa suites list | show | sets"""

from __future__ import annotations

from typing import Annotated

import typer

from selfmoa import suites
from selfmoa.cli._show import say, show_json, show_table

app = typer.Typer(help="Evaluation suites and the sets that they draw from.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_(json: Json = False) -> None:
    """The shipped suites."""
    found = [suites.load(name) for name in suites.names()]
    if json:
        show_json([{"name": suite.name, "description": suite.description} for suite in found])
    else:
        show_table(("suite", "what it is"), [(suite.name, suite.description) for suite in found])


@app.command()
def show(name: Annotated[str, typer.Argument(help="A shipped suite, a YAML file or a table of prompts.")]) -> None:
    """The resolved suite as YAML (copy it, edit it, give it to evaluate --suite)."""
    import yaml

    values = suites.load(name).model_dump(mode="json", exclude={"name"})
    say(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def sets(json: Json = False) -> None:
    """Every registered set: what it is, where it comes from, whether it is at hand."""
    from selfmoa import assets

    rows = []
    for name, definition in assets.set_definitions().items():
        known = assets.info(f"set:{name}", kind="table")
        rows.append(
            {
                "name": f"set:{name}",
                "title": definition.title,
                "role": definition.role,
                "version": definition.version,
                "language": definition.language,
                "licence": known.licence,
                "commercial": known.commercial,
                "source": definition.source,
                "at_hand": assets.is_cached(f"set:{name}", kind="table"),
            }
        )
    if json:
        show_json(rows)
        return
    shown = ("name", "title", "role", "licence", "source")
    table = [(*(row[key] for key in shown), "yes" if row["at_hand"] else "no") for row in rows]
    show_table((*shown, "at hand"), table)
