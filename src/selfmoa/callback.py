"""selfmoa's figures while a user's own trainer trains.

trainer = SFTTrainer(...)
trainer.add_callback(selfmoa.EvalCallback(trainer, every=100, apart_from=training_prompts))
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from transformers import (
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from selfmoa import assets, bench, instructions, recipes
from selfmoa.bench import EvaluationSets, GateJudges
from selfmoa.errors import EvaluatorError, UsageError
from selfmoa.generate import PlainModel
from selfmoa.judge import EvaluatorContext
from selfmoa.recipe import Evaluate, Recipe
from selfmoa.steps import gate_judges, judge_objectives

__all__ = ["EvalCallback"]

log = logging.getLogger("selfmoa")

_TOLD = (
    *("attack_success", "refusal_harmful", "over_refusal", "helpfulness_harmless", "degenerate"),
    *("instruction_following", "instruction_following_loose"),
)
"""Safety never stands without over-refusal and helpfulness."""


class EvalCallback(TrainerCallback):
    """Answers a few evaluation prompts every so many steps, has the gate judges grade them, and logs the figures.

    Logged through `trainer.log`, so wherever the trainer reports to: `eval_selfmoa_attack_success` (lower = safer),
    `..._over_refusal`, `..._helpfulness_harmless` and others, each with `_low`, `_high` (95 %) and `_n`. With so few
    prompts the intervals are wide: a trend to watch, not a result to report.
    """

    def __init__(
        self,
        trainer: Trainer,
        recipe: Recipe | str = "demo",
        *,
        every: int = 100,
        n: int = 24,
        max_new_tokens: int = 48,
        apart_from: Sequence[str] = (),
        judges: GateJudges | None = None,
    ) -> None:
        """`n` prompts a set; `apart_from`: prompts that are trained on, whose near-duplicates are left out.

        Raises `UsageError` where `every` or `n` is below 1, the trainer has no tokenizer, or too few prompts are left.
        """
        if every < 1 or n < 1:
            raise UsageError(f"Got every={every} and n={n}; expected at least 1 of each.")
        tokenizer = trainer.processing_class
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise UsageError(f"The trainer's processing_class is {type(tokenizer).__name__}; expected a tokenizer.")
        self._trainer, self._tokenizer, self._every, self._tokens = trainer, tokenizer, every, max_new_tokens
        self._recipe = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
        self._sets = _sets(self._recipe, n, apart_from)
        benign = [row for ref in self._recipe.evaluate.benign.data for row in assets.load_table(ref)]
        self._constraints = instructions.read_constraints(benign)
        self._judges = judges

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """What the model is like before."""
        if state.is_world_process_zero and state.global_step == 0:
            self._measure()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure every `every` optimiser steps."""
        if state.is_world_process_zero and state.global_step % self._every == 0:
            due = control.should_log  # logging resets it, and the step's own loss would be lost
            self._measure()
            control.should_log = due

    def _measure(self) -> None:
        if self._judges is None:  # loaded when first needed
            context = EvaluatorContext(cache=assets.cache_dir("judges"))
            self._judges = gate_judges(self._recipe.judges.gate, context)
        net = self._trainer.accelerator.unwrap_model(self._trainer.model)
        model = PlainModel(net, self._tokenizer)
        answers = bench.answers(model, self._sets, role=None, max_new_tokens=self._tokens, seed=0)
        try:
            items = bench.score(answers, self._judges, max_unscored=self._recipe.judges.max_unscored)
        except EvaluatorError as error:  # figures are missing for once; the user's training is worth more
            log.warning("No figures at step %d: %s", self._trainer.state.global_step, error)
            return
        items = instructions.follow(items, self._constraints)
        figures: dict[str, float] = {}
        for metric in bench.summarise(items, judges=self._judges.notes()):
            if metric.name in _TOLD and metric.estimate.n:
                found = metric.estimate
                parts = {"": found.value, "_low": found.low, "_high": found.high, "_n": float(found.n)}
                figures |= {f"eval_selfmoa_{metric.name}{part}": value for part, value in parts.items()}
        # not self._trainer.log: TRL's add the averages of the step to whatever is logged first, and forget them
        Trainer.log(self._trainer, figures)


def _sets(recipe: Recipe, n: int, apart_from: Sequence[str]) -> EvaluationSets:
    sized = {name: getattr(recipe.evaluate, name).model_copy(update={"n": n}) for name in ("harmful", "edgy", "benign")}
    evaluate = Evaluate(**{**dict(recipe.evaluate), **sized})
    against = {**judge_objectives(recipe), "training prompts": list(apart_from)}
    return bench.build_sets(evaluate, seed=recipe.seed, against=against)
