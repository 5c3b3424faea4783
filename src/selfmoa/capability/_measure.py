"""Measure a model, in memory or from a directory, and write what was found."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfmoa.assets import capability_table, resolve_model
from selfmoa.capability._figures import Capability, to_json
from selfmoa.capability._harness import Harness, list_tasks, require_harness, silent
from selfmoa.capability._items import Answered
from selfmoa.capability._tasks import Written, harness_name, name_of, write_task
from selfmoa.errors import UsageError
from selfmoa.recipe import DataRef
from selfmoa.run import write_json, write_table

if TYPE_CHECKING:
    from selfmoa.generate import LanguageModel

__all__ = ["check_tasks", "measure_capability", "measure_directory", "write_capability"]


def check_tasks(tasks: Sequence[str]) -> None:
    """Raise `DependencyError` without lm-eval and `UsageError` for a task that is not known, before anything is run."""
    require_harness()
    foreign = _foreign(_tables(tasks))
    if foreign:
        list_tasks(None, own=foreign)


def measure_capability(
    model: LanguageModel | Path,
    tasks: Sequence[str],
    *,
    n: int | None = 100,
    seed: int = 0,
    adapter: str | Path | None = None,
    tasks_dir: Path | None = None,
    on_task: Callable[[str], None] | None = None,
) -> Capability:
    """Accuracy on multiple-choice questions by lm-eval, in [0, 1], higher = better.

    Zero-shot, no chat template: the choice of highest log-likelihood after the question is the answer (`acc`; with
    log-likelihoods a character, `acc_norm`). At most `n` questions a task, drawn by `seed` in proportion to its
    subjects; None = all. Tasks: registered sets (`mmlu`), `path:FILE` with prompt, choices and gold, or lm-eval's own
    by name (`hellaswag`, which needs the hub).

    `model` is a resident one, whose `adapter` is a role (None = the base), or a directory, whose `adapter` is a PEFT
    directory of any shape. The tasks are written to `tasks_dir` in lm-eval's format. Raises `DependencyError` without
    lm-eval, `UsageError` for an unknown task, `ModelError` for a model or adapter that cannot be loaded.
    """
    require_harness()
    with contextlib.ExitStack() as stack:
        directory = tasks_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="selfmoa-")))
        return _ask(_lay_out(tasks, directory, n=n, seed=seed), model, adapter, on_task)


def measure_directory(
    ref: str,
    tasks: Sequence[str],
    *,
    n: int | None = 100,
    seed: int = 0,
    adapter: Path | None = None,
    out: Path,
    on_task: Callable[[str], None] | None = None,
) -> tuple[Capability, Capability | None]:
    """A model by reference and, with an adapter, the model under it, on the same questions.

    Written to `out`: capability.json, capability.parquet, and tasks/ for lm-eval's own command line, which stands in
    capability.json under `reproduce`. Raises what `measure_capability` raises.
    """
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} holds no adapter_config.json; expected an adapter as PEFT writes it.")
    require_harness()
    directory = resolve_model(ref).directory
    given = [None, adapter] if adapter else [None]
    asked = _lay_out(tasks, out / "tasks", n=n, seed=seed)
    arms = [_ask(asked, directory, arm, on_task) for arm in given]
    before, after = arms[0], arms[1] if adapter else None
    # lm-eval's own tasks are not drawn on its command line
    ours = [harness_name(task) for task in tasks if capability_table(task)]
    facts = {
        "model": ref,
        "adapter": str(adapter) if adapter else None,
        "n": n,
        "seed": seed,
        "few_shot": 0,
        "chat_template": False,
        "judge": f"lm-eval {version('lm_eval')}",
        "reproduce": [_command(directory, arm, ours, out) for arm in given] if ours else [],
    }
    write_capability(out, before, after, facts=facts)
    return before, after


def write_capability(
    directory: Path, before: Capability, after: Capability | None = None, *, facts: dict[str, Any] | None = None
) -> None:
    """Write capability.json (figures, `facts` on how they were made), capability.parquet (a row a question and arm)."""
    write_json(directory / "capability.json", {**(facts or {}), **to_json(before, after)})
    arms = {"before": before} | ({"after": after} if after else {})
    rows = [{"arm": arm, **asdict(item)} for arm, found in arms.items() for item in found.items]
    write_table(directory / "capability.parquet", rows)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Tasks that lie ready for any number of models."""

    tasks: tuple[tuple[Written, int | None], ...]
    """Each with the number that lm-eval draws: questions of ours are drawn when they are written."""
    seed: int
    known: Any
    """What `list_tasks` gave."""


def _lay_out(tasks: Sequence[str], directory: Path, *, n: int | None, seed: int) -> _Asked:
    tables = _tables(tasks)
    directory.mkdir(parents=True, exist_ok=True)
    laid: list[tuple[Written, int | None]] = []
    for task, data in tables.items():
        if data:
            laid.append((write_task(directory, task, data, n=n, seed=seed), None))
        else:
            laid.append((Written(name_of(task), name_of(task)), n))
    return _Asked(tuple(laid), seed, list_tasks(directory, own=_foreign(tables)))


def _ask(
    asked: _Asked, model: LanguageModel | Path, adapter: str | Path | None, on_task: Callable[[str], None] | None
) -> Capability:
    items: list[Answered] = []
    with _opened(model, adapter) as (net, tokenizer):
        harness = Harness(net, tokenizer, asked.known)
        for task, n in asked.tasks:
            items += harness.answer(task, n=n, seed=asked.seed)
            if on_task:
                on_task(task.name)
    return Capability(tuple(items))


def _command(model: Path, adapter: Path | None, names: Sequence[str], out: Path) -> str:
    """lm-eval's command line for one arm."""
    import torch

    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    peft = f",peft={adapter}" if adapter else ""
    words = ["lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype={dtype}{peft}"]
    return shlex.join([*words, "--include_path", str(out / "tasks"), "--tasks", ",".join(names)])


@contextlib.contextmanager
def _opened(model: LanguageModel | Path, adapter: str | Path | None) -> Iterator[tuple[Any, Any]]:
    """The torch model and its tokenizer, with the adapter at work."""
    if isinstance(model, Path):
        from selfmoa.generate import load_plain

        with silent():
            loaded = load_plain(model, Path(adapter) if adapter else None)
        yield loaded
        return
    with model.using(str(adapter) if adapter else None):
        yield model.net, model.tokenizer


def _tables(tasks: Sequence[str]) -> dict[str, DataRef | None]:
    """Task -> its table, None for lm-eval's own.

    Raises `UsageError` where nothing is named, two tasks have one name, or a set is not registered.
    """
    if not tasks:
        raise UsageError("No task is named; expected at least one, e.g. mmlu.")
    twice = [name for name, times in Counter(map(name_of, tasks)).items() if times > 1]
    if twice:
        raise UsageError(f"The task {twice[0]!r} is named twice; its figures would be mixed.")
    return {task: capability_table(task) for task in tasks}


def _foreign(tables: Mapping[str, DataRef | None]) -> list[str]:
    """Tasks of lm-eval's own, by its names."""
    return [name_of(task) for task, data in tables.items() if data is None]
