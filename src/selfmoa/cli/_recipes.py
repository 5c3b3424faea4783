"""selfmoa recipes list | show | validate"""

from __future__ import annotations

from typing import Annotated

import typer

from selfmoa import recipes
from selfmoa.cli._show import say, show_json, show_table

app = typer.Typer(help="Shipped recipes and their fields.", no_args_is_help=True)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """The shipped recipes."""
    found = [(name, recipes.load(name).description) for name in recipes.names()]
    if json:
        show_json([{"name": name, "description": description} for name, description in found])
    else:
        show_table(("recipe", "what it is"), found)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A shipped recipe's name or a file.")] = "demo",
    override: Annotated[list[str] | None, typer.Option("-o", "--override", help="field.name=value")] = None,
    fields: Annotated[bool, typer.Option("--fields", help="Every field with default, range and source.")] = False,
) -> None:
    """The resolved recipe as YAML (copy it, edit it, run it)."""
    if fields:
        show_table(("field", "default", "range", "what it is"), list(recipes.fields()))
    else:
        say(recipes.dump(recipes.load(name, override or [])).rstrip())


@app.command()
def validate(
    name: Annotated[str, typer.Argument(help="A shipped recipe's name or a file.")],
    override: Annotated[list[str] | None, typer.Option("-o", "--override", help="field.name=value")] = None,
) -> None:
    """Read a recipe, check it, and say so."""
    from selfmoa import api

    recipe = recipes.load(name, override or [])
    api.check(recipe)
    say(f"{name}: valid ({recipe.loop.n_rounds} rounds, k = {recipe.attack.k}, loss {recipe.train.loss})")
