"""What a run would do and cost, shown."""

from __future__ import annotations

from typing import Any

from selfmoa.cli._show import say, show_json, show_table
from selfmoa.recipe import Recipe

__all__ = ["show_plan"]


def show_plan(recipe: Recipe, json: bool, *, measure: bool = False) -> None:
    """Work, assets and cost of a run; `measure` runs the calibration where there is none."""
    from selfmoa import api, assets

    assets.check_paths(recipe)
    plan = api.plan(recipe, measure=measure)
    if json:
        show_json(plan)
        return
    show_table(("what", "how much"), list(plan["work"].items()), title=f"Plan of {recipe.name}")
    rows = [
        (item["ref"], "cached" if item["cached"] else f"fetch {item['size_mb']} MB", item["licence"])
        for item in plan["assets"]
    ]
    show_table(("asset", "state", "licence"), rows)
    _show_estimate(plan["estimate"], recipe)


def _show_estimate(found: dict[str, Any] | None, recipe: Recipe) -> None:
    if found is None:
        say(f"Time and memory: not measured on this machine yet; `selfmoa plan` with {recipe.model.ref} does.")
        return
    steps = [
        (name, _minutes(step["seconds"]), f"{step['tokens']:,}" if step["tokens"] else "-")
        for name, step in found["steps"].items()
    ]
    total = ("all", _minutes(found["seconds"]), f"{found['tokens']:,}")
    show_table(("step", "time", "tokens"), [*steps, total], title="Estimate for this machine")
    say(
        f"Memory: about {found['peak_mb']:,} MB; judges that are models of their own need more. Fetching, the judges' "
        "first training and judges of your own take further time, as does other work on the machine."
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
