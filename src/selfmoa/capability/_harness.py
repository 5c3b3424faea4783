"""lm-eval: an optional package, imported only where something is measured."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selfmoa.assets import capability_sets
from selfmoa.capability._items import Answered
from selfmoa.capability._tasks import Written, draw
from selfmoa.errors import AssetError, DependencyError, UsageError, first_line, nearest

__all__ = ["Harness", "list_tasks", "require_harness", "silent"]

_BATCH = 16
_ABSENT = "The capability figures are measured by lm-eval, which is not installed."


def require_harness() -> None:
    """Raise `DependencyError` where lm-eval is not installed; imports nothing."""
    if find_spec("lm_eval") is None:
        raise DependencyError(f'{_ABSENT} Run: pip install "selfmoa[capability]"')


def list_tasks(include: Path | None, *, own: Sequence[str]) -> Any:
    """lm-eval's list of tasks: those in a directory and, where any of its `own` is named, all of those (slower).

    Raises `UsageError` for the first of `own` that lm-eval does not know, naming the nearest known one.
    """
    require_harness()
    with silent():
        from lm_eval.tasks import TaskManager

        found = TaskManager(include_path=str(include) if include else None, include_defaults=bool(own))
    for name in own:
        if name not in found.all_tasks:
            hint = nearest(name, [*capability_sets(), *found.all_tasks])
            if "Did you mean" not in hint:  # lm-eval knows thousands, too many to list
                hint = nearest(name, capability_sets())
            raise UsageError(f"There is no task {name!r}, in selfmoa or in lm-eval.{hint}")
    return found


class Harness:
    """lm-eval round one model that is in memory. Nothing is generated: choices are compared by their likelihood."""

    def __init__(self, net: Any, tokenizer: Any, tasks: Any) -> None:
        """`tasks` is what `list_tasks` gave."""
        self._tasks = tasks
        with silent():
            from lm_eval.models.huggingface import HFLM

            self._model = HFLM(pretrained=net, tokenizer=tokenizer, batch_size=_BATCH)

    def answer(self, task: Written, *, n: int | None = None, seed: int = 0) -> list[Answered]:
        """Every question of a task, or n drawn by seed, evenly over the parts of a group of tasks."""
        with silent():
            parts = self._load(task)
            chosen = _chosen(parts, n, seed)
            from lm_eval.evaluator import evaluate

            asked = {name: parts[name] for name in chosen}
            found = evaluate(self._model, {"tasks": asked}, samples=chosen, bootstrap_iters=0, log_samples=True)
        assert found is not None  # None on other ranks than the first; there is one
        return [
            _answered(task.name, part, sample)
            for part, samples in found["samples"].items()
            for sample in _first_filter(samples)
        ]

    def _load(self, task: Written) -> dict[str, Any]:
        """The task, or the parts of a group, by lm-eval's names."""
        try:
            parts: dict[str, Any] = self._tasks.load([task.harness_name])["tasks"]
        except Exception as error:
            raise AssetError(
                f"The questions of {task.name} cannot be loaded: {first_line(error)} "
                f"Tasks of lm-eval's own need the hub or its cache; without network: {', '.join(capability_sets())}."
            ) from error
        for part in parts.values():
            if part.OUTPUT_TYPE != "multiple_choice" or "acc" not in part.aggregation():
                raise UsageError(f"{task.name} has no accuracy of choices ({part.OUTPUT_TYPE}); name another task.")
            if part.get_config("num_fewshot") is None:
                part.set_config(key="num_fewshot", value=0)
            part.set_fewshot_seed(seed=0)
        return parts


def _chosen(parts: Mapping[str, Any], n: int | None, seed: int) -> dict[str, list[int]]:
    """lm-eval's name -> places of the questions that are asked, for parts that give at least one."""
    places = [(name, place) for name, part in parts.items() for place in range(len(part.eval_docs))]
    subjects, ids = [name for name, _ in places], [f"{name} {place}" for name, place in places]
    chosen: dict[str, list[int]] = {}
    for taken in draw(subjects, ids, n, seed):
        name, place = places[taken]
        chosen.setdefault(name, []).append(place)
    return chosen


def _first_filter(samples: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A task with several filters lists each question once a filter."""
    return (sample for sample in samples if sample["filter"] == samples[0]["filter"])


def _answered(task: str, part: str, sample: Mapping[str, Any]) -> Answered:
    doc = sample["doc"]
    ours = part.startswith("selfmoa_")
    norm = sample.get("acc_norm")
    return Answered(
        task=task,
        subject=str(doc["subject"]) if ours else part,
        item=str(doc["id"]) if ours else f"{part} {sample['doc_id']}",
        choices=len(sample["filtered_resps"]),
        acc=bool(sample["acc"]),
        acc_norm=None if norm is None else bool(norm),
    )


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """lm-eval's bars and advice would drown the run's own lines; what is wrong is raised."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
