"""Safety reset (docs/export.md): before the loop, train the base on the user's own harmful answers. A control."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfmoa import assets
from selfmoa.bench import Fence
from selfmoa.errors import StorageError, UsageError
from selfmoa.generate import LanguageModel, Request, save_merged
from selfmoa.recipe import DataRef, Reset
from selfmoa.run import RESET, RESET_DONE, RESET_MARK, Run, read_json, resets, write_json
from selfmoa.steps._attackers import Percent
from selfmoa.steps._session import Judged
from selfmoa.train import sft

__all__ = ["is_reset", "reset_base", "reset_notes"]

_FEWEST = 8
_NOTE = (
    "RESET CONTROL: before the loop this model's safety was trained away on purpose. A gain over it is no gain over "
    "the model as its maker released it."
)


def reset_base(
    run: Run, model: LanguageModel, fence: Fence, measure_original: Callable[[], object]
) -> assets.ModelFiles:
    """Make the checkpoint that the run starts from, in the run directory, and give its files.

    `measure_original` is called first. `model` is spent: its base is another one afterwards.
    """
    settings, directory = run.recipe.reset, run.directory / RESET
    assert settings is not None
    original = assets.info(run.recipe.model.ref)
    if read_json(directory / RESET_DONE) is None:
        examples, left_out = _examples(settings, fence)  # a bad table is told before anything is measured
        run.progress.say("RESET CONTROL: the original model is measured before its safety is trained away")
        measure_original()
        _write(run, model, {**_train(run, settings, model, examples, left_out), "left_out": left_out})
    files = assets.resolve_model(f"path:{directory}")
    return replace(files, info=replace(original, title=f"{original.title} after a safety reset (control)"))


def is_reset(model: LanguageModel, trained_in: Path | None) -> bool:
    """True where the base, or the base of the run that made the adapter, is a reset checkpoint."""
    return bool(getattr(model.net.config, RESET_MARK, False)) or (trained_in is not None and resets(trained_in))


def reset_notes(session: Judged) -> list[str]:
    """What a reader of every descendant's figures must know first."""
    return [_NOTE] if session.run.manifest.get("reset_control") else []


def _train(
    run: Run, settings: Reset, model: LanguageModel, examples: Sequence[tuple[str, str]], left_out: int
) -> dict[str, Any]:
    run.progress.say(
        f"RESET CONTROL: {len(examples)} answers of {settings.data.ref} are trained into the base ({left_out} rows "
        "left out), so that it complies with what it declined. What follows starts from that model and is marked so."
    )
    rendered = [(model.render(Request(user=prompt)), answer) for prompt, answer in examples]
    with run.measured("safety reset") as spent, run.progress.task("safety reset", 100, "%") as task:
        outcome = sft(
            model,
            "target",
            rendered,
            settings.sft,
            directory=run.directory / "reset_training",
            seed=run.recipe.seed,
            on_progress=Percent(task),
        )
        spent["tokens"] += outcome.trained_tokens
    run.metrics("reset", outcome.metrics)
    return {
        "source": settings.data.ref,
        "answers": len(examples),
        "loss": outcome.loss,
        "tokens": outcome.trained_tokens,
    }


def _examples(settings: Reset, fence: Fence) -> tuple[list[tuple[str, str]], int]:
    """(prompt, answer), and how many rows are left out: empty, excluded content, near an evaluation prompt."""
    table = settings.data
    rows = assets.load_table(DataRef(ref=table.ref, prompt=table.prompt, where=table.where))
    if table.answer not in rows[0]:
        found = ", ".join(map(repr, rows[0]))
        raise UsageError(f"{table.ref} has no column {table.answer!r} (reset.data.answer). Columns found: {found}.")
    read = [(str(row[table.prompt] or "").strip(), str(row[table.answer] or "").strip()) for row in rows]
    kept = [
        (prompt, answer)
        for prompt, answer in dict.fromkeys(read)
        if prompt and answer and not any(map(assets.is_excluded, (prompt, answer))) and not fence.touches(prompt)
    ][: settings.sft.max_pairs]
    if len(kept) < _FEWEST:
        raise UsageError(
            f"{table.ref} leaves {len(kept)} answers to train on ({len(rows) - len(kept)} left out), expected at least "
            f"{_FEWEST} (reset.data)."
        )
    return kept, len(rows) - len(kept)


def _write(run: Run, model: LanguageModel, facts: dict[str, Any]) -> None:
    """The base with the update in its weights, and the mark."""
    directory = run.directory / RESET
    setattr(model.net.config, RESET_MARK, True)
    try:
        save_merged(model.net, model.tokenizer, directory)
    except OSError as error:
        raise StorageError(f"{directory} cannot be written: {error.strerror or error}.") from error
    write_json(directory / RESET_DONE, {"reset_control": True, **facts})
