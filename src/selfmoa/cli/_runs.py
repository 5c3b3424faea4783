"""selfmoa align | plan | evaluate | report | explain"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from selfmoa import recipes, suites
from selfmoa.cli._plan import show_plan
from selfmoa.cli._show import say, show_json, show_table
from selfmoa.errors import UsageError
from selfmoa.recipe import Recipe

__all__ = ["register"]


class Policy(enum.StrEnum):
    """What to do with a run directory that exists."""

    RAISE = "raise"
    RESUME = "resume"
    OVERWRITE = "overwrite"


Override = Annotated[list[str] | None, typer.Option("-o", "--override", help="Dotted override, e.g. attack.k=64.")]
RunDir = Annotated[Path | None, typer.Option("--run-dir", "--out", help="Where it is written (default runs/NAME).")]
Existing = Annotated[Policy, typer.Option("--on-existing", help="If the run directory exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Json = Annotated[bool, typer.Option("--json", help="Result as JSON on stdout.")]

AGAIN = "run the same command again to go on"
"""For commands that read what they have finished, or begin anew."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (align, plan, evaluate, report, explain):
        app.command()(command)
    app.command("import")(import_)


def align(
    target: Annotated[str, typer.Argument(help="A recipe (name or YAML), or a model (directory, .gguf, hub:...).")],
    override: Override = None,
    run_dir: RunDir = None,
    on_existing: Existing = Policy.RAISE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run the whole loop: attack, judge, pair, align, and compare before with after."""
    recipe = recipes.resolve(target, override or [])
    if dry_run:
        show_plan(recipe, json)
        return
    from selfmoa import api

    with stoppable():
        run = api.align(recipe, run_dir=run_dir, on_existing=on_existing.value, progress=mode(quiet))
    if json:
        show_json({"run_dir": str(run.directory), **(run.result or {})})
        return
    _show_result(run.result or {})
    say(f"Report: {run.directory / 'report.html'}")


def plan(
    target: Annotated[str, typer.Argument(help="A recipe (name or YAML), or a model (directory, .gguf, hub:...).")],
    override: Override = None,
    json: Json = False,
) -> None:
    """What a run would do, and roughly its time and tokens here; measures the model once, for about a minute."""
    recipe = recipes.resolve(target, override or [])
    with stoppable(AGAIN):
        show_plan(recipe, json, measure=True)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model (wheel:NAME, directory, .gguf, hub:OWNER/NAME@REVISION) or a run.")
    ],
    adapter: Annotated[Path | None, typer.Option("--adapter", help="A PEFT adapter directory.")] = None,
    suite: Annotated[
        str | None, typer.Option("--suite", help="quick, standard, jailbreak, ..., a YAML file, or a table of prompts.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe whose judges (and sets) are used; a run's own, else demo.")
    ] = None,
    override: Override = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Make every answer and verdict anew.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Where results are written.")] = Path("runs/evaluation"),
    on_existing: Existing = Policy.RAISE,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Safety, over-refusal and helpfulness of a model by the gate judges; with an adapter, the paired change."""
    from selfmoa import api

    own = Path(model) / "recipe.yaml"
    source = recipe or (own if own.is_file() else "demo")
    chosen = recipes.with_model(recipes.load(source), model)
    if own.is_file():
        chosen, adapter = of_run(chosen, Path(model), adapter)
    chosen = recipes.with_overrides(with_suite(chosen, suite) if suite else chosen, override or [])
    with stoppable():
        result = api.evaluate(
            chosen,
            adapter=adapter,
            suite=bool(suite),
            cache=not no_cache,
            out=out,
            on_existing=on_existing.value,
            progress=mode(quiet),
        )
    if json:
        show_json(result)
        return
    if adapter is None:
        _show_figures(result)
    else:
        _show_result(result)
    say(f"Report: {out / 'report.html'}")


class Role(enum.StrEnum):
    """What imported prompts are."""

    ATTACK = "attack"
    BORDERLINE = "borderline"
    SAFE = "safe"


def import_(
    file: Annotated[Path, typer.Argument(help="A garak report (*.report.jsonl) or an Inspect log (.json, .eval).")],
    out: Annotated[Path, typer.Option("--out", help="Where the judged answers are written.")],
    role: Annotated[Role, typer.Option("--role", help="What the prompts are.")] = Role.ATTACK,
    recipe: Annotated[str, typer.Option("--recipe", help="Recipe whose judges grade.")] = "demo",
    override: Override = None,
    on_existing: Existing = Policy.RAISE,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Judge the answers that another tool recorded, so that they can be compared with selfmoa's."""
    from selfmoa import api

    chosen = recipes.load(recipe, override or [])
    with stoppable():
        result = api.import_results(
            file, chosen, role=suites.ROLES[role.value], out=out, on_existing=on_existing.value, progress=mode(quiet)
        )
    if json:
        show_json(result)
        return
    _show_figures(result)
    say(f"Report: {out / 'report.html'}")


def report(
    run: Annotated[Path, typer.Argument(help="A directory of a run, or of an evaluation (which has no card).")],
    unredacted: Annotated[bool, typer.Option("--unredacted", help="Show attack prompts and unsafe answers.")] = False,
) -> None:
    """Write report.html and the model card again from the run directory."""
    from selfmoa.report import write_card, write_evaluation, write_report

    made = any(any(run.glob(part)) for part in ("adapter", "stage_*", "round_*"))
    if (run / "results.json").is_file() and not made:  # nothing was aligned here
        say(f"Report: {write_evaluation(run)}")
        return
    say(f"Report: {write_report(run, unredacted=unredacted)}")
    say(f"Model card: {write_card(run)}")


def explain(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    pair_id: Annotated[str, typer.Argument(help="A pair's id, or its first characters.")],
    json: Json = False,
) -> None:
    """Why a pair exists: seed, expansion, hidden prompt, every vote, the rule, the margin in the loss."""
    from selfmoa import report as room

    if json:
        show_json(room.explain(run, pair_id))
    else:
        say(room.explain_text(run, pair_id))


def of_run(recipe: Recipe, run: Path, adapter: Path | None) -> tuple[Recipe, Path]:
    """The recipe for the model that a run aligned, and the run's adapter unless another is named."""
    found = adapter or run / "adapter"
    if not found.is_dir():
        raise UsageError(f"{run} is a run without an adapter: it has not finished. Resume it, or name --adapter.")
    from selfmoa.run import aligned_model

    name = recipes.as_name(run.resolve().name, "run")
    return recipe.model_copy(update={"name": name, "model": aligned_model(run)}), found


def with_suite(recipe: Recipe, suite: str) -> Recipe:
    """The same recipe with a suite's evaluation in place of its own."""
    return recipe.model_copy(update={"evaluate": suites.load(suite).evaluate})


def mode(quiet: bool) -> Literal["auto", "quiet"]:
    """How progress is shown."""
    return "quiet" if quiet else "auto"


@contextmanager
def stoppable(go_on: str = "run the same command with --on-existing resume to go on") -> Iterator[None]:
    """Ctrl-C ends the command with one line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. What is finished is kept; {go_on}.", err=True)
        raise typer.Exit(130) from None


def _show_figures(result: dict[str, Any]) -> None:
    show_table(("figure", "prompts", "n (unscored)", "value [95 %]", "seen from", "judge"), _figures(result))
    say("Seen from: the smallest change to another model that so many prompts would show (80 % power, see the docs).")
    for line in result["warnings"]:
        say(f"Note: {line}")


def _figures(result: dict[str, Any]) -> list[tuple[str, ...]]:
    from selfmoa.bench import counted_on

    rows: list[tuple[str, ...]] = []
    for metric in result["metrics"]:
        bounds = [metric[key] for key in ("value", "low", "high")]
        shown = "-" if None in bounds else "{:.2f} [{:.2f}, {:.2f}]".format(*bounds)
        judge = metric["judge"] + (" (proxy)" if metric["proxy"] else "")
        seen = "-" if metric["detectable"] is None else f"{100 * metric['detectable']:.0f} points"
        n = f"{metric['n']} ({metric['unscored']})"
        rows.append((metric["label"], counted_on(metric["set"]), n, shown, seen, judge))
    return rows


def _show_result(result: dict[str, Any]) -> None:
    from selfmoa.bench import Comparison, table_rows

    if not result:
        say("The run has no result yet.")
        return
    header, *rows = table_rows(Comparison.from_json(result))
    show_table(header, rows, title="Before and after")
    for line in [
        result["first_line"],
        result["headline"],
        *(f"Note: {warning}" for warning in result["warnings"]),
    ]:
        say(line)
