"""selfmoa assets list | pull"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from selfmoa import assets, recipes, suites
from selfmoa.cli._show import say, show_json, show_table

app = typer.Typer(
    help="Models and data: what they are, where they come from, under which licence.", no_args_is_help=True
)


@app.command("list")
def list_(json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """The embedded assets."""
    found = [(info, assets.is_cached(info.ref, kind=info.kind)) for info in assets.catalogue()]
    if json:
        facts = [{**asdict(info), "hash": info.hash, "size_bytes": info.size_bytes} for info, _ in found]
        show_json([{**row, "cached": cached} for row, (_, cached) in zip(facts, found, strict=True)])
        return
    rows = [
        (
            info.ref,
            info.kind,
            info.licence,
            "yes" if info.commercial else "no",
            info.source,
            "yes" if cached else "no",
        )
        for info, cached in found
    ]
    show_table(("asset", "kind", "licence", "commercial", "source", "cached"), rows)


@app.command()
def pull(
    recipe: Annotated[str, typer.Argument(help="Fetch what this recipe needs.")] = "demo",
    suite: Annotated[str | None, typer.Option("--suite", help="And what this evaluation suite needs.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched.")] = False,
) -> None:
    """Fetch assets, check their hashes and cache them; afterwards everything works offline."""
    chosen = recipes.load(recipe)
    needed = assets.plan(chosen)
    if suite:
        needed += assets.plan(chosen.model_copy(update={"evaluate": suites.load(suite).evaluate}))
    for info in {info.ref: info for info in needed}.values():
        if assets.is_cached(info.ref, kind=info.kind):
            say(f"cached   {info.ref}")
        elif dry_run:
            say(f"missing  {info.ref}  {(info.size_bytes or 0) / 1e6:.1f} MB  {info.source}  ({info.licence})")
        else:
            assets.fetch(info.ref, kind=info.kind, show=True)
            say(f"fetched  {info.ref}")
