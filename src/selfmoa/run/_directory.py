"""The run directory as an interface."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from selfmoa import recipes
from selfmoa.errors import RecipeError, RunExistsError, StorageError
from selfmoa.recipe import Recipe
from selfmoa.run._cache import cache_key
from selfmoa.run._common import give, take
from selfmoa.run._machine import describe_machine, git_state, peak_memory_mb, versions
from selfmoa.run._positions import POSITIONS
from selfmoa.run._progress import Progress
from selfmoa.run._storage import read_json, read_records, write_json, write_records, write_text

__all__ = ["OnExisting", "Run", "open_run"]

OnExisting = Literal["raise", "resume", "overwrite"]
Record = TypeVar("Record")
Input = TypeVar("Input")


class Run:
    """One run: its directory, journal, usage and what is finished.

    Every step asks `records` or `batched` for its result. A finished step is read from its file, an
    unfinished one goes on at its first unfinished batch; so resuming a run is running it again.
    """

    def __init__(self, directory: Path, recipe: Recipe, progress: Progress, common: Path | None = None) -> None:
        self.directory = directory
        self._common = common
        self.recipe = recipe
        self.progress = progress
        self.manifest: dict[str, Any] = read_json(directory / "manifest.json") or {}
        self._usage: dict[str, dict[str, float]] = read_json(directory / "usage.json") or {}
        self._charged: set[str] = set()
        """Entries of the usage that grew in the present `common` step."""
        self._seen = self._read_journal()
        self._written = 0
        """Tokens written by this process; what is read from a finished step is not written again."""

    @property
    def result(self) -> dict[str, Any] | None:
        """The before/after comparison (results.json), None while the run is unfinished."""
        found: dict[str, Any] | None = read_json(self.directory / "results.json")
        return found

    def round(self, number: int) -> Path:
        """Directory of a round (1, 2, ...)."""
        return self.directory / f"round_{number:02d}"

    def stage(self, number: int) -> Path:
        """Directory of an alignment stage (1, 2, ...)."""
        return self.directory / f"stage_{number:02d}"

    # -- steps ---------------------------------------------------------------------------------------

    def records(
        self,
        path: Path,
        kind: type[Record],
        make: Callable[[], Sequence[Record]],
        *,
        again: Callable[[Sequence[Record]], bool] = lambda _: False,
    ) -> list[Record]:
        """Read a finished table, or make and write it; a table of which `again` says so is made anew."""
        found = read_records(path, kind)
        if found is not None and not again(found):
            return found
        made = list(make())
        write_records(path, made, kind)
        return made

    def batched(
        self,
        path: Path,
        kind: type[Record],
        batches: Sequence[Sequence[Input]],
        make: Callable[[int, Sequence[Input]], Sequence[Record]],
        *,
        label: str,
        again: Callable[[Sequence[Record]], bool] = lambda _: False,
        check: Callable[[Sequence[Record]], None] = lambda _: None,
    ) -> list[Record]:
        """Like `records`, batch by batch: each finished batch is a file until all are merged into `path`.

        `check` sees all of them before that and raises where they are of no use; a resumed run then makes those batches
        anew of which `again` says so.

        `make(number, batch)` must depend on nothing but its arguments and finished steps, so that a
        resumed run gives what an uninterrupted one gives.
        """
        found = read_records(path, kind)
        if found is not None:
            return found
        parts = path.with_name(f".{path.stem}.parts")
        merged: list[Record] = []
        total = sum(len(batch) for batch in batches)
        with self.progress.task(label, total) as task:
            for number, batch in enumerate(batches):
                part = parts / f"{number:05d}.parquet"
                merged.extend(self.records(part, kind, partial(self._made, make, number, batch), again=again))
                task.advance(len(batch))
        check(merged)
        write_records(path, merged, kind)
        shutil.rmtree(parts, ignore_errors=True)
        return merged

    def _made(
        self, make: Callable[[int, Sequence[Input]], Sequence[Record]], number: int, batch: Sequence[Input]
    ) -> Sequence[Record]:
        made = make(number, batch)
        self._written += sum(getattr(record, "n_tokens", 0) for record in made)
        return made

    def json(self, path: Path, make: Callable[[], Any]) -> Any:
        """Read a finished JSON file or make and write it."""
        found = read_json(path)
        if found is None:
            write_json(path, make())
            found = read_json(path)
        return found

    @property
    def shares(self) -> bool:
        """True where the run is one of a study's, so that `common` does something."""
        return self._common is not None

    @contextmanager
    def common(self, step: str, files: Sequence[Path], *inputs: object) -> Iterator[None]:
        """Around a step whose `files` depend on nothing but `inputs`, so that runs of a study make them once.

        Files that another run made are put in place before; those that this run makes are kept for the others. Either
        way the run is charged what they cost.
        """
        if self._common is None:
            yield
            return
        place = self._common / cache_key(step, *inputs)
        for name, spent in (take(place, files, self.directory) or {}).items():
            self._charge(name, spent)
        self._charged = set()
        yield
        # whole entries: what an interrupted attempt at the step spent counts as well
        give(place, files, self.directory, {name: self._usage[name] for name in self._charged})

    # -- journal and usage ---------------------------------------------------------------------------

    def event(self, event: str, key: str, **facts: Any) -> None:
        """Append one event to the journal; an event that a resumed run repeats is written once."""
        if (event, key) in self._seen:
            return
        self._seen.add((event, key))
        line = json.dumps({"time": _now(), "event": event, "id": key, **facts}, ensure_ascii=False)
        self._append("journal.jsonl", line)

    def metrics(self, stage: int | str, rows: Sequence[dict[str, Any]]) -> None:
        """Put a training's rows into metrics.jsonl in place of those that an interrupted attempt left."""
        path = self.directory / "metrics.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        mine = json.dumps({"stage": stage})[:-1] + ","
        kept = [line for line in text.splitlines() if line.endswith("}") and not line.startswith(mine)]
        new = [json.dumps({"stage": stage, **row}) for row in rows]
        write_text(path, "".join(f"{line}\n" for line in [*kept, *new]))

    @contextmanager
    def measured(self, name: str) -> Iterator[dict[str, float]]:
        """Add time, tokens, places read (and of these padding) and peak memory of a step to usage.json.

        Tokens of batched records are counted by themselves; add others (trained on) to `tokens` in what is yielded.
        """
        start, written, places = time.monotonic(), self._written, replace(POSITIONS)
        spent = {"tokens": 0.0}
        try:
            yield spent
        finally:
            tokens, peak = spent["tokens"] + self._written - written, round(peak_memory_mb(), 1)
            seconds = time.monotonic() - start
            self._charge(name, {"seconds": seconds, "tokens": tokens, **POSITIONS.since(places), "peak_mb": peak})

    def _charge(self, name: str, spent: Mapping[str, float]) -> None:
        self._charged.add(name)
        entry = self._usage.setdefault(name, {"seconds": 0.0, "tokens": 0.0, "peak_mb": 0.0})
        entry["seconds"] = round(entry["seconds"] + spent["seconds"], 2)
        entry["tokens"] += spent["tokens"]
        for places in ("read", "padded"):  # absent where another version began the run
            entry[places] = entry.get(places, 0.0) + spent.get(places, 0.0)
        entry["peak_mb"] = max(entry["peak_mb"], spent["peak_mb"])
        write_json(self.directory / "usage.json", self._usage)

    def update_manifest(self, **facts: Any) -> None:
        """Add facts to manifest.json."""
        self.manifest.update(facts)
        write_json(self.directory / "manifest.json", self.manifest)

    def finish(self) -> None:
        """Mark the run as finished."""
        if not self.manifest.get("finished"):
            self.update_manifest(finished=_now(), peak_memory_mb=round(peak_memory_mb(), 1))

    def _append(self, name: str, line: str) -> None:
        try:
            with (self.directory / name).open("a", encoding="utf-8") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise StorageError(f"{self.directory / name} cannot be written: {error.strerror}.") from error

    def _read_journal(self) -> set[tuple[str, str]]:
        path = self.directory / "journal.jsonl"
        seen = set()
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        if text and not text.endswith("\n"):  # the last line of a killed run was cut: the next event starts a new one
            self._append("journal.jsonl", "")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                seen.add((entry["event"], entry["id"]))
            except (ValueError, KeyError, TypeError):  # a cut line
                continue
        return seen


def open_run(
    recipe: Recipe,
    directory: Path,
    *,
    on_existing: OnExisting = "raise",
    progress: Progress | None = None,
    common: Path | None = None,
) -> Run:
    """Make or reopen the run directory (mode 0700) and start attempt N with its own log.

    `common` is where the runs of a study keep what they share (see `Run.common`).

    Raises `RunExistsError` if it exists and the policy is `raise`, or if it holds another recipe's run.
    """
    progress = progress or Progress()
    if directory.exists() and not directory.is_dir():
        raise RunExistsError(f"{directory} is a file; give a directory as --run-dir.")
    if directory.exists() and any(directory.iterdir()):
        _check_existing(recipe, directory, on_existing)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        (directory / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"{directory} cannot be made: {error.strerror}.") from error
    if not (directory / "recipe.yaml").exists():
        write_text(directory / "recipe.yaml", recipes.dump(recipe))
    run = Run(directory, recipe, progress, common)
    attempt = int(run.manifest.get("attempts", 0)) + 1
    _log_to(directory / "logs" / f"attempt_{attempt}.log")
    run.update_manifest(
        name=recipe.name,
        selfmoa=_version(),
        versions=versions(),
        git=git_state(),
        machine=describe_machine(),
        seed=recipe.seed,
        recipe_hash=recipes.fingerprint(recipe),
        attempts=attempt,
        started=run.manifest.get("started", _now()),
    )
    run.event("attempt", str(attempt), pid=os.getpid())
    return run


def _check_existing(recipe: Recipe, directory: Path, on_existing: OnExisting) -> None:
    if on_existing == "raise":
        raise RunExistsError(
            f"{directory} exists. Use --on-existing resume to go on, --on-existing overwrite to start anew, "
            "or name another directory."
        )
    saved = directory / "recipe.yaml"
    if on_existing == "overwrite":
        if not saved.is_file() or "recipe_hash" not in (read_json(directory / "manifest.json") or {}):
            raise RunExistsError(
                f"{directory} is not a run directory (no recipe.yaml with its manifest.json); it is not overwritten."
            )
        shutil.rmtree(directory)
        return
    if not saved.is_file():
        raise RunExistsError(
            f"{directory} holds no recipe.yaml, so there is nothing to resume. Name another directory."
        )
    try:
        same = recipes.fingerprint(recipes.load(saved)) == recipes.fingerprint(recipe)
    except RecipeError as error:
        raise RunExistsError(f"{saved} is of another version of selfmoa: {error}") from error
    if not same:
        raise RunExistsError(
            f"{directory} is the run of another recipe (see {saved}). Resume with that recipe, or name "
            "another directory."
        )


def _log_to(path: Path) -> None:
    log = logging.getLogger("selfmoa")
    for handler in [item for item in log.handlers if isinstance(item, logging.FileHandler)]:
        log.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _version() -> str:
    import selfmoa

    return selfmoa.__version__


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
