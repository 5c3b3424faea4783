"""What the target knows, beside what it refuses: the capability figures of an evaluation."""

from __future__ import annotations

from selfmoa import capability
from selfmoa.bench import Metric, MetricChange
from selfmoa.capability import Answered, Capability
from selfmoa.run import read_records
from selfmoa.steps._session import Evaluation, Judged

__all__ = ["ask", "changes", "figures", "original"]


def ask(session: Evaluation, name: str) -> None:
    """Put the questions to the target as it is now; nothing where the recipe names no task."""
    settings, run = session.recipe.evaluate.capability, session.run
    if not settings.tasks:
        return
    directory = run.directory / "evaluation"

    def answered() -> tuple[Answered, ...]:
        with run.progress.task(f"capability {name}", total=len(settings.tasks), unit="tasks") as task:
            found = capability.measure_capability(
                session.model,
                settings.tasks,
                n=settings.n,
                seed=session.recipe.evaluation_seed,
                adapter="target",
                tasks_dir=directory / "capability_tasks",
                on_task=lambda done: task.advance(note=done),
            )
        return found.items

    with run.measured(f"capability {name}"):
        run.records(directory / f"capability_{name}.parquet", Answered, answered)


def figures(session: Judged) -> list[Metric]:
    """The figures of one model, also written to capability.json; none where nothing was asked."""
    before = _read(session, "before")
    if before is None:
        return []
    capability.write_capability(session.run.directory, before)
    return capability.metrics(before)


def original(session: Judged) -> list[Metric]:
    """The figures of the model before a safety reset; none where nothing was asked."""
    found = _read(session, "original")
    return capability.metrics(found) if found else []


def changes(session: Judged) -> list[MetricChange]:
    """The figures before and after, also written to capability.json; none where nothing was asked."""
    before, after = _read(session, "before"), _read(session, "after")
    if before is None or after is None:
        return []
    capability.write_capability(session.run.directory, before, after)
    return capability.metric_changes(before, after, session.recipe.evaluate.tolerance)


def _read(session: Judged, name: str) -> Capability | None:
    items = read_records(session.run.directory / "evaluation" / f"capability_{name}.parquet", Answered)
    return Capability(tuple(items)) if items else None
