"""Run a study: every arm and seed an ordinary run, one after the other, whatever becomes of the others."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from selfmoa import api, compare, recipes
from selfmoa.errors import AssetError, RunExistsError, SelfMoaError, UsageError, first_line
from selfmoa.recipe import Recipe
from selfmoa.run import read_json, write_json
from selfmoa.study._spec import Arm, Study, arm_recipe
from selfmoa.study._summary import summarise

__all__ = ["ArmRun", "StudyResult", "run_study"]

Mode = Literal["auto", "quiet"]


@dataclass(frozen=True, slots=True)
class ArmRun:
    """What became of one arm and seed."""

    arm: str
    seed: int
    directory: Path
    status: Literal["finished", "failed", "not run"]
    reason: str = ""
    """Empty where it finished. Not run: an asset is not at hand."""


@dataclass(frozen=True)
class StudyResult:
    """All of it; `summaries` are those of the finished arms, in the study's order."""

    study: Study
    directory: Path
    runs: tuple[ArmRun, ...]
    summaries: tuple[dict[str, Any], ...]
    smoke: bool = False

    def finished(self, seed: int) -> list[ArmRun]:
        """The finished arms of one seed, in the study's order."""
        return [run for run in self.runs if run.seed == seed and run.status == "finished"]

    @property
    def complete(self) -> bool:
        """True where some arm finished and none failed; arms whose data are not at hand do not count."""
        states = {run.status for run in self.runs}
        return "finished" in states and "failed" not in states


def run_study(
    study: Study, out: Path, *, smoke: bool = False, isolated: bool = True, progress: Mode = "auto"
) -> StudyResult:
    """Run what is not finished of a study below `out`; a finished arm is read.

    An arm is the run directory `out/ARM-SEED`; what arms have in common is made once and kept in `out/common`. Each arm
    runs in a process of its own (`isolated`), so that its peak memory is its own and its end is not that of the study.
    Summaries are written to `out/summaries/ARM-SEED.json`, what became of each arm to `out/study.json`. Raises
    `RunExistsError` where `out` holds something else.
    """
    _claim(study, out, smoke)
    runs: list[ArmRun] = []
    for seed in study.seeds:
        for arm in study.arms:
            runs.append(_run_arm(study, arm, seed, out, runs, smoke=smoke, isolated=isolated, progress=progress))
    summaries = {
        run.directory.name: summarise(run.directory, run.arm, run.seed) for run in runs if run.status == "finished"
    }
    for name, summary in summaries.items():
        write_json(out / "summaries" / f"{name}.json", summary)
    for path in (out / "summaries").glob("*.json"):
        if path.stem not in summaries:  # of an arm that failed now, or that the study has no more
            path.unlink()
    result = StudyResult(study, out, tuple(runs), tuple(summaries.values()), smoke)
    write_json(out / "study.json", {**_told(study, smoke), "runs": [_row(run) for run in runs]})
    return result


def _claim(study: Study, out: Path, smoke: bool) -> None:
    told = read_json(out / "study.json")
    if out.exists() and any(out.iterdir()) and told is None:
        raise RunExistsError(f"{out} holds no study. Give another --out.")
    if told is not None and (told["name"], told["smoke"]) != (study.name, smoke):
        raise RunExistsError(f"{out} holds another study ({told['name']}). Give another --out.")
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    write_json(out / "study.json", {**_told(study, smoke), "runs": (told or {}).get("runs", [])})


def _told(study: Study, smoke: bool) -> dict[str, Any]:
    return {"schema": 1, "smoke": smoke, **study.model_dump(mode="json", exclude={"home"})}


def _row(run: ArmRun) -> dict[str, Any]:
    return {**asdict(run), "directory": run.directory.name}


def _run_arm(
    study: Study,
    arm: Arm,
    seed: int,
    out: Path,
    earlier: Sequence[ArmRun],
    *,
    smoke: bool,
    isolated: bool,
    progress: Mode,
) -> ArmRun:
    directory = out / f"{arm.name}-{seed}"

    def ended(status: Literal["finished", "failed", "not run"], reason: str = "") -> ArmRun:
        return ArmRun(arm.name, seed, directory, status, reason)

    try:
        recipe = arm_recipe(study, arm, seed, smoke=smoke, pairs=_pairs_of(arm, seed, earlier))
        if not _finished(directory, recipe):
            _align(recipe, directory, out / "common", isolated=isolated, progress=progress)
        _same_items(directory, seed, earlier)
    except AssetError as error:
        return ended("not run", first_line(error))
    except BrokenProcessPool:
        return ended("failed", "its process was killed, probably for want of memory")
    except SelfMoaError as error:
        return ended("failed", str(error))
    except Exception as error:  # an arm that fails in a way nobody foresaw stops no other either
        return ended("failed", f"{type(error).__name__}: {first_line(error)}")
    return ended("finished")


def _pairs_of(arm: Arm, seed: int, earlier: Sequence[ArmRun]) -> int | None:
    """How many pairs the arm may train on; None where it is not held to another arm."""
    if arm.pairs_of is None:
        return None
    for run in earlier:
        if (run.arm, run.seed, run.status) == (arm.pairs_of, seed, "finished"):
            pairs = int(summarise(run.directory, run.arm, seed)["cost"]["pairs"])
            if pairs < 2:
                raise UsageError(f"pairs_of: {arm.pairs_of} trained on {pairs} pairs.")
            return pairs
        if (run.arm, run.seed, run.status) == (arm.pairs_of, seed, "not run"):
            raise AssetError(f"pairs_of: {arm.pairs_of} was not run: {run.reason}")
    raise UsageError(f"pairs_of: {arm.pairs_of} has not finished with seed {seed}, so the number is not known.")


def _finished(directory: Path, recipe: Recipe) -> bool:
    manifest = read_json(directory / "manifest.json") or {}
    same = manifest.get("recipe_hash") == recipes.fingerprint(recipe)
    return same and bool(manifest.get("finished")) and (directory / "results.json").is_file()


def _align(recipe: Recipe, directory: Path, common: Path, *, isolated: bool, progress: Mode) -> None:
    if not isolated:
        _work(recipe, directory, common, progress)
        return
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=_end_with_parent) as pool:
        pool.submit(_work, recipe, directory, common, progress).result()


def _end_with_parent() -> None:
    """An arm does not outlive a study that was killed: it would go on unseen, beside the next attempt at it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)  # what the arm has finished is on the disk

    threading.Thread(target=watch, daemon=True).start()


def _work(recipe: Recipe, directory: Path, common: Path, progress: Mode) -> None:
    api.align(recipe, run_dir=directory, on_existing="resume", progress=progress, common=common)


def _same_items(directory: Path, seed: int, earlier: Sequence[ArmRun]) -> None:
    """Raise `UsageError` where the arm answered other prompts, or had other judges, than the first of its seed."""
    first = next((run for run in earlier if run.seed == seed and run.status == "finished"), None)
    if first is not None:
        compare.load_arms([str(first.directory), str(directory)])


def compared(result: StudyResult) -> Iterator[tuple[int, compare.ComparedArms]]:
    """The paired comparison of each seed that two arms or more finished; all against the first."""
    for seed in result.study.seeds:
        done = result.finished(seed)
        if len(done) > 1:
            tolerance = recipes.load(done[0].directory / "recipe.yaml").evaluate.tolerance
            yield seed, compare.compare_arms(compare.load_arms([str(run.directory) for run in done]), tolerance)
