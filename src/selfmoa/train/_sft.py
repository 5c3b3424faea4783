"""Supervised fine-tuning of one role on (prompt, completion) examples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from selfmoa.errors import UsageError
from selfmoa.generate import LanguageModel
from selfmoa.recipe import Sft
from selfmoa.train._adapter import lent, quiet
from selfmoa.train._align import common_arguments, require_finite
from selfmoa.train._modpo import finite
from selfmoa.train._tokens import encode, end_of_turn, fit
from selfmoa.train._watch import OnProgress, TrainOutcome, Watch

__all__ = ["sft"]

_MICRO_BATCH = {"cuda": 8, "cpu": 1}
"""Examples in memory at once; the loss is a mean over the whole batch's tokens, however it is cut up.

One on a CPU: nothing is padded, and what it holds for the gradients grows with the tokens, 2.5 MB each at 135M.
"""


class _FiniteSFTTrainer(SFTTrainer):
    """TRL's SFTTrainer that refuses a loss that is not finite."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return finite(super().compute_loss(*args, **kwargs), self.state.global_step)


def sft(
    model: LanguageModel,
    role: str,
    examples: Sequence[tuple[str, str]],
    settings: Sft,
    *,
    directory: Path,
    seed: int,
    on_progress: OnProgress | None = None,
) -> TrainOutcome:
    """Train a role's adapter in place to continue rendered prompts; the loss is on the completion only.

    Metrics go to `directory/metrics.jsonl`. Raises `UsageError` if no example fits `settings.max_length`,
    `TrainingError` if the loss is not finite; then the adapter is what it was.
    """
    start = time.perf_counter()
    end = end_of_turn(model)
    rows = [row for prompt, text in examples if (row := _row(model, prompt, text, end, settings.max_length))]
    if not rows:
        raise UsageError(
            f"None of {len(examples)} examples can be trained on: completions empty or prompts of max_length "
            f"({settings.max_length}) tokens or more. Raise max_length or give shorter prompts."
        )
    watch = Watch(directory / "metrics.jsonl", on_progress=on_progress)
    with lent(model, role), quiet():
        trainer = _FiniteSFTTrainer(
            model=model.net,
            args=_config(model, settings, directory, seed),
            train_dataset=Dataset.from_list(rows),
            processing_class=model.tokenizer,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        loss = float(trainer.train().training_loss)
        require_finite(model, role)
    return TrainOutcome(
        loss=loss,
        metrics=watch.metrics,
        trained_tokens=watch.tokens,
        seconds=time.perf_counter() - start,
        n_train=len(rows),
        n_validation=0,
        best_epoch=None,
        n_dropped=len(examples) - len(rows),
    )


def _config(model: LanguageModel, settings: Sft, directory: Path, seed: int) -> Any:
    most = _MICRO_BATCH.get(model.device.type, _MICRO_BATCH["cpu"])
    micro = max(size for size in range(1, most + 1) if settings.batch_size % size == 0)
    return SFTConfig(
        **common_arguments(model, directory, seed),
        max_length=None,  # cut already
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_size // micro,
        warmup_steps=settings.warmup_steps,
    )


def _row(model: LanguageModel, prompt: str, text: str, end: int, max_length: int) -> dict[str, list[int]] | None:
    before, answer = encode(model, prompt), encode(model, text)
    fitted = fit(before, [*answer, end] if answer else [], max_length)
    if fitted is None:
        return None
    return {"input_ids": before + fitted, "labels": [-100] * len(before) + fitted}
