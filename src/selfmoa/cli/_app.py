"""The application and what every command shares: errors, exit codes, Ctrl-C."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from selfmoa.cli import (
    _assets,
    _audit,
    _capability,
    _compare,
    _gate,
    _inspect,
    _judges,
    _recipes,
    _release,
    _runs,
    _study,
    _suites,
)
from selfmoa.errors import SelfMoaError

__all__ = ["main"]

app = typer.Typer(
    name="selfmoa",
    help="Make a small language model refuse harm without making it useless, and see the evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_runs.register(app)
app.command()(_capability.capability)
app.command()(_compare.compare)
app.command()(_study.study)
app.command()(_study.results)
app.command()(_release.export)
app.command()(_release.front)
app.command("inspect-log")(_inspect.inspect_log)
app.command()(_gate.gate)
app.add_typer(_recipes.app, name="recipes")
_judges.app.command("audit")(_audit.audit)
app.add_typer(_judges.app, name="judges")
app.add_typer(_assets.app, name="assets")
app.add_typer(_suites.app, name="suites")


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"selfmoa {version('selfmoa')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Which selfmoa this is.")
    ] = False,
) -> None:
    """0 ok, 1 gate failed, 2 bad usage or recipe, 3 inconclusive, 4 infrastructure, 5 refused."""


def main() -> None:
    """Entry point: every expected error becomes one message and its exit code."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except SelfMoaError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        sys.exit(error.exit_code)
    except OSError as error:  # a disk that is full or gone, where no room has better words for it
        print(f"error: {error}", file=sys.stderr)
        sys.exit(SelfMoaError.exit_code)
    except KeyboardInterrupt:
        print(
            "\nStopped. What a run has finished is kept.",
            file=sys.stderr,
        )
        sys.exit(130)
