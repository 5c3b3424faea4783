"""What is watched while a trainer runs: metrics, the best epoch, saturation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from selfmoa.errors import StorageError
from selfmoa.generate import give_back_memory

__all__ = ["OnProgress", "TrainOutcome", "Watch", "saturated"]

OnProgress = Callable[[float, dict[str, Any]], None]
"""Called after every optimiser step with the share done in [0, 1] and the latest metrics."""

_NAMES = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "rewards/chosen": "reward_chosen",
    "rewards/rejected": "reward_rejected",
    "rewards/margins": "reward_margin",
    "rewards/accuracies": "reward_accuracy",
    "rewards/objectives": "objective_margin",
    "logps/chosen": "chosen_logprob",
    "logps/rejected": "rejected_logprob",
    "mean_token_accuracy": "token_accuracy",
    "num_tokens": "tokens",
}


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """What a training did.

    A row of `metrics` has `split` (train | validation), `step`, `epoch`, `loss` and, for alignment, the
    *true* rewards a * (log p - log p_ref) without the shift (`reward_chosen`, `reward_rejected`,
    `reward_margin`, `reward_accuracy` in [0, 1]), the other objectives' margin sum_i b_i * d r_i
    (`objective_margin`), and the summed log-probs in nats (`chosen_logprob`, `rejected_logprob`).
    The same rows are in `metrics.jsonl`.
    """

    loss: float
    """Mean training loss over all steps, nats."""
    metrics: list[dict[str, Any]]
    trained_tokens: int
    """Tokens trained on, every epoch counted; a prompt counts with both of its answers, though it is read once."""
    seconds: float
    n_train: int
    n_validation: int
    best_epoch: float | None
    """The epoch whose weights were kept; None without validation (the last one is kept)."""
    n_dropped: int = 0
    """Examples left out: prompt longer than the limit, empty answer, or filtered by the preset."""
    n_missing_scores: int = 0
    """Scores that were missing and counted as margin 0."""
    stopped: str = ""
    """Why training ended early, empty if it did not."""


def saturated(evaluations: list[dict[str, Any]]) -> bool:
    """True if the last two evaluations have true-reward accuracy 1.0 and a falling chosen log-prob.

    From there on training only pushes both answers' likelihoods down, which can un-align a model
    (likelihood displacement; docs/method.md, Loss).
    """
    if len(evaluations) < 3:
        return False
    before, middle, last = (row["chosen_logprob"] for row in evaluations[-3:])
    perfect = all(row["reward_accuracy"] >= 1.0 for row in evaluations[-2:])
    return perfect and before > middle > last


class Watch(TrainerCallback):
    """Writes metrics to JSONL, reports progress, keeps the best epoch's weights, stops on saturation."""

    def __init__(
        self,
        path: Path,
        *,
        on_progress: OnProgress | None = None,
        take: Callable[[], dict[str, torch.Tensor]] | None = None,
    ) -> None:
        self.metrics: list[dict[str, Any]] = []
        self.best: tuple[float, float, dict[str, torch.Tensor]] | None = None
        """(validation loss, epoch, weights)"""
        self.stopped = ""
        self._path = path
        self._on_progress = on_progress
        self._take = take
        self._write("", "w")

    @property
    def tokens(self) -> int:
        """Tokens trained on so far."""
        return max((int(row.get("tokens", 0)) for row in self.metrics), default=0)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        logs = logs or {}
        if "train_runtime" in logs:  # the summary at the end repeats what is known
            return
        validation = "eval_loss" in logs
        known = {_NAMES.get(key.removeprefix("eval_")): value for key, value in logs.items()}
        row = {
            "split": "validation" if validation else "train",
            "step": state.global_step,
            "epoch": round(float(state.epoch or 0.0), 4),
            **{name: value for name, value in known.items() if name is not None},
        }
        self.metrics.append(row)
        self._write(json.dumps(row) + "\n", "a")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        give_back_memory()  # not at each step: the next one needs it all again

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._on_progress is not None:
            self._on_progress(
                min(1.0, state.global_step / max(state.max_steps, 1)),
                self.metrics[-1] if self.metrics else {},
            )

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        evaluations = [row for row in self.metrics if row["split"] == "validation"]
        last = evaluations[-1]
        # the evaluation before the first step is the baseline of the curves, not a candidate
        better = self.best is None or last["loss"] < self.best[0]
        if state.global_step and self._take is not None and better:
            self.best = last["loss"], last["epoch"], self._take()
        if saturated(evaluations):
            self.stopped = "saturated: every validation pair is won and the chosen log-prob keeps falling"
            control.should_training_stop = True

    def _write(self, text: str, mode: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error}. Free space or choose another run directory."
            ) from error
