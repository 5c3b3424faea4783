"""Safety against helpfulness along one weight: points of an adapter, or of two, each evaluated on the same prompts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from selfmoa import api, assets, compare, suites
from selfmoa.bench import plain_json
from selfmoa.errors import RefusedError, RunExistsError, UsageError
from selfmoa.recipe import Recipe
from selfmoa.release._check import of_run
from selfmoa.release._export import require_adapter, require_run
from selfmoa.run import aligned_model, read_json, require_base, resets, write_json

__all__ = ["AT", "front"]

AT = (0.0, 0.25, 0.5, 0.75, 1.0)
SCHEMA = 1


def front(
    run: Path,
    out: Path,
    *,
    at: Sequence[float] = AT,
    soup: Path | None = None,
    suite: str = "quick",
    choose: float | None = None,
    progress: Literal["auto", "quiet"] = "auto",
) -> dict[str, Any]:
    """Evaluate the run's adapter at shares `at` of its change, in [0, 1], and write `out/front.json` and `front.html`.

    0 is the base, 1 the run's result. With `soup`, another run of the same base, a point is that share of this run's
    adapter and the rest of the other's. What is finished is read: the same call goes on after a stop. `choose` copies
    one of the points to `out/adapter`.

    Raises `UsageError` where there is no adapter, bases differ, or `choose` is no point, `RefusedError` where it would
    be a reset checkpoint without alignment.
    """
    points = sorted(set(at))
    _check(run, soup, points, choose)
    _claim(run, soup, suite, out)
    api.quiet_libraries()
    adapters = {point: out / "adapters" / f"at-{point:g}" for point in points}
    for point, adapter in adapters.items():
        _write(run, soup, point, adapter)
    recipe = of_run(run, suite)
    for adapter in adapters.values():
        _evaluate(recipe, run, adapter, out / adapter.name, progress)
    found = compare.compare_arms(
        compare.load_arms([str(out / adapter.name) for adapter in adapters.values()]), recipe.evaluate.tolerance
    )
    from selfmoa.report import write_comparison

    write_comparison(found, out / "front.html")
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run.resolve().name,
        "soup": soup.resolve().name if soup else None,
        "suite": suites.load(suite).name,
        "reset_control": resets(run),
        "figures": list(compare.FRONT),
        "points": [_point(found, arm.name, point) for point, arm in zip(points, found.arms, strict=True)],
        "chosen": choose,
    }
    if choose is not None:
        shutil.rmtree(out / "adapter", ignore_errors=True)
        shutil.copytree(adapters[choose], out / "adapter")
        chosen = next(point for point in told["points"] if point["at"] == choose)
        write_json(out / "adapter" / "point.json", {**{key: told[key] for key in _OF_POINT}, **chosen})
    write_json(out / "front.json", told)
    return told


_CLAIM = "front_of.json"
_OF_POINT = ("run", "soup", "suite", "reset_control")


def _check(run: Path, soup: Path | None, points: Sequence[float], choose: float | None) -> None:
    for directory in filter(None, (run, soup)):
        require_run(directory)
        require_adapter(directory)
    outside = [point for point in points if not 0.0 <= point <= 1.0]
    if outside or len(points) < 2:
        raise UsageError(f"Got points {', '.join(f'{p:g}' for p in points)}; expected two or more in [0, 1].")
    if choose is not None and choose not in points:
        raise UsageError(
            f"{choose:g} is none of the points {', '.join(f'{p:g}' for p in points)}; only they are known."
        )
    if choose == 0.0 and resets(run) and soup is None:
        raise RefusedError("Point 0 is the reset checkpoint, whose safety was trained away. It is not given out.")
    keys = {(read_json(one / "manifest.json") or {}).get("model", {}).get("key") for one in (run, soup) if one}
    if len(keys) > 1:
        raise UsageError(f"{run} and {soup} start from different models; adapters of one base can be merged.")
    require_base(run, assets.resolve_model(aligned_model(run).ref).key)


def _claim(run: Path, soup: Path | None, suite: str, out: Path) -> None:
    """Raise `RunExistsError` where `out` holds anything but points of the same adapters on the same suite."""
    asked = {"run": str(run.resolve()), "soup": str(soup.resolve()) if soup else None, "suite": suite}
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and read_json(out / _CLAIM) != asked:
        raise RunExistsError(f"{out} exists and holds something else than points of {run}. Give another --out.")
    write_json(out / _CLAIM, asked)


def _write(run: Path, soup: Path | None, point: float, out: Path) -> None:
    from selfmoa.train import write_scaled, write_soup

    if soup is None:
        write_scaled(run / "adapter", point, out)
    else:
        base = assets.resolve_model(aligned_model(run).ref).directory
        write_soup(base, run / "adapter", soup / "adapter", point, out)


def _evaluate(recipe: Recipe, run: Path, adapter: Path, out: Path, progress: Literal["auto", "quiet"]) -> None:
    """Base and point on the suite, unless it is done; the base's answers are made once."""
    from selfmoa.train import lora_shape

    r, alpha = lora_shape(adapter)
    lora = recipe.model.lora.model_copy(update={"r": r, "alpha": alpha})
    model = recipe.model.model_copy(update={"lora": lora})
    api.evaluate(
        recipe.model_copy(update={"model": model}),
        adapter=adapter,
        trained_in=run,
        suite=True,
        out=out,
        on_existing="resume" if out.exists() else "raise",
        progress=progress,
    )


def _point(found: compare.ComparedArms, arm: str, at: float) -> dict[str, Any]:
    figures = [figure for figure in found.figures if figure.arm == arm and figure.estimate.n]
    told: dict[str, Any] = plain_json(
        {
            "at": at,
            "on_front": arm in found.front,
            "figures": {
                figure.metric: {**asdict(figure.estimate), "judge": figure.judge, "unit": figure.unit}
                for figure in figures
            },
        }
    )
    return told
