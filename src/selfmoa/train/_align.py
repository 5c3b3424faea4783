"""Alignment of the target on preference pairs: one stage (docs/method.md, Loss)."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig  # type: ignore[attr-defined]

from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Train
from selfmoa.records import Pair
from selfmoa.train._adapter import lent, quiet, restore, snapshot
from selfmoa.train._margins import Margins, filter_modpo_paper_eq1, objective_scores
from selfmoa.train._modpo import ModpoTrainer
from selfmoa.train._tokens import encode, end_of_turn, fit
from selfmoa.train._watch import OnProgress, TrainOutcome, Watch

__all__ = ["align", "common_arguments", "require_finite", "split_by_attack"]

_FEWEST_PAIRS = 20
"""With fewer there is no validation: a tenth of them would be one pair."""

_REFERENCE_BATCH = 8
"""Pairs read at a time for the reference's log-probs: no gradients, so little memory."""

Row = dict[str, Any]


def align(
    model: LanguageModel,
    pairs: Sequence[Pair],
    train: Train,
    *,
    directory: Path,
    seed: int,
    on_progress: OnProgress | None = None,
    ignore_safety_on_harmless: bool = True,
    unfinished: Collection[str] = (),
) -> TrainOutcome:
    """Train the role `target` in place on the pairs; metrics go to `directory/metrics.jsonl`.

    `ignore_safety_on_harmless` is False for the paper's pairing only. `unfinished` are ids of responses that
    ended at the length limit: no end of turn is put behind them, or the model would learn to break off.
    Equal arguments give the same adapter bit for bit on a CPU.

    Raises `UsageError` if no pair is left, `TrainingError` if the loss is not finite; then, and on Ctrl-C, the target
    is what it was.
    """
    start = time.perf_counter()
    filtered = train.loss == "modpo_paper_eq1"
    used = filter_modpo_paper_eq1(pairs, ignore_safety_on_harmless=ignore_safety_on_harmless) if filtered else pairs
    margins = objective_scores(used, train, ignore_safety_on_harmless=ignore_safety_on_harmless)
    kept = _rows(model, used, margins, train, set(unfinished))
    if not kept:
        raise UsageError(
            f"None of {len(pairs)} pairs can be trained on: answers empty, prompts of train.max_length "
            f"({train.max_length}) tokens or more, or chosen less safe. Raise it or gather more pairs."
        )
    fraction = train.validation_fraction if train.epochs >= 1 and len(kept) >= _FEWEST_PAIRS else 0.0
    held_out = split_by_attack([pair for pair, _ in kept], fraction, seed)
    training = [row for pair, row in kept if pair.attack_id not in held_out]
    validation = [row for pair, row in kept if pair.attack_id in held_out]
    take = partial(snapshot, model, "target") if validation else None
    watch = Watch(directory / "metrics.jsonl", on_progress=on_progress, take=take)
    with lent(model, "target"), quiet():
        loss = _run(model, (training, validation), train, watch, directory, seed)
    return TrainOutcome(
        loss=loss,
        metrics=watch.metrics,
        trained_tokens=watch.tokens,
        seconds=time.perf_counter() - start,
        n_train=len(training),
        n_validation=len(validation),
        best_epoch=watch.best[1] if watch.best else None,
        n_dropped=len(pairs) - len(kept),
        n_missing_scores=margins.missing,
        stopped=watch.stopped,
    )


def split_by_attack(pairs: Sequence[Pair], fraction: float, seed: int) -> set[str]:
    """Attack ids held out for validation: about `fraction` of the pairs, never all of them.

    Pairs of one prompt stay on one side, or validation would measure memory.
    """
    sizes: dict[str, int] = {}
    for pair in pairs:
        sizes[pair.attack_id] = sizes.get(pair.attack_id, 0) + 1
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    wanted, held, held_out = fraction * len(pairs), 0, set()
    for attack_id in order[:-1]:
        if held + sizes[attack_id] / 2 > wanted:  # nearer to the wanted number without it
            continue
        held_out.add(attack_id)
        held += sizes[attack_id]
    return held_out


def _rows(
    model: LanguageModel, pairs: Sequence[Pair], margins: Margins, train: Train, unfinished: set[str]
) -> list[tuple[Pair, Row]]:
    """The pairs whose two answers leave at least one token to learn from, with their tokens and scores."""
    end = [end_of_turn(model)]

    def answer(text: str, response_id: str, prompt: list[int]) -> list[int] | None:
        tokens = encode(model, text)
        closing = [] if response_id in unfinished else end
        return fit(prompt, (tokens + closing)[: train.answer_tokens], train.max_length) if tokens else None

    rows = []
    for pair, *scores in zip(pairs, margins.chosen, margins.rejected, strict=True):
        prompt = encode(model, model.render(Request(user=pair.prompt)))
        chosen = answer(pair.chosen, pair.chosen_id, prompt)
        rejected = answer(pair.rejected, pair.rejected_id, prompt)
        if chosen is not None and rejected is not None:
            row = {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
            rows.append((pair, {**row, "chosen_scores": scores[0], "rejected_scores": scores[1]}))
    return rows


def _run(
    model: LanguageModel,
    sets: tuple[list[Row], list[Row]],
    train: Train,
    watch: Watch,
    directory: Path,
    seed: int,
) -> float:
    a, b = train.coefficients()
    entering = None
    if not train.continue_adapter:
        entering = snapshot(model, "target")  # the policy that entered stays the reference
        model.add_role("target", seed=seed)
    validate = bool(sets[1])
    config = DPOConfig(
        **common_arguments(model, directory, seed),
        beta=a,
        loss_type=list(train.loss_type),
        loss_weights=list(train.loss_weights),
        label_smoothing=train.label_smoothing if isinstance(train.label_smoothing, float) else 0.0,
        f_divergence_type=train.f_divergence,
        disable_dropout=False,  # TRL's default would silence LoRA's dropout
        max_length=None,  # cut already
        learning_rate=train.lr,
        num_train_epochs=train.epochs,
        per_device_train_batch_size=train.micro_batch_size,
        per_device_eval_batch_size=train.micro_batch_size,
        precompute_ref_batch_size=max(train.micro_batch_size, _REFERENCE_BATCH),
        gradient_accumulation_steps=train.batch_size // train.micro_batch_size,
        warmup_steps=train.warmup_steps,
        eval_strategy="epoch" if validate else "no",
        eval_on_start=validate,
    )
    trainer = ModpoTrainer(
        model=model.net,
        args=config,
        train_dataset=Dataset.from_list(sets[0]),
        eval_dataset=Dataset.from_list(sets[1]) if validate else None,
        processing_class=model.tokenizer,
        callbacks=[watch],
        b=b,
        reference=train.reference,
        entering=entering,
        pack=True,
    )
    trainer.remove_callback(PrinterCallback)
    loss = float(trainer.train().training_loss)
    if watch.best is not None:
        restore(model, "target", watch.best[2])
    require_finite(model, "target")
    return loss


def require_finite(model: LanguageModel, role: str) -> None:
    """Raise `TrainingError` if a weight of the adapter is NaN or infinite."""
    bad = [name for name, weight in snapshot(model, role).items() if not bool(torch.isfinite(weight).all())]
    if bad:
        raise TrainingError(
            f"{len(bad)} tensors of the trained adapter are not finite (first: {bad[0]}); "
            "it was thrown away. Lower the learning rate."
        )


def common_arguments(model: LanguageModel, directory: Path, seed: int) -> dict[str, Any]:
    """Arguments that every training shares: right for a CPU, bfloat16 on CUDA, nothing saved or reported."""
    cuda = model.device.type == "cuda"
    return {
        "output_dir": str(directory),
        "seed": seed,
        "data_seed": seed,
        "bf16": cuda,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "gradient_checkpointing": False,
        "optim": "adamw_torch_fused",
        "lr_scheduler_type": "linear",
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
    }
