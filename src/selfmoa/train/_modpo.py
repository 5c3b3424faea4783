"""MODPO on TRL: sigmoid DPO against a reference whose log-probs carry the other objectives' scores."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import PeftModel
from trl import DPOTrainer  # type: ignore[attr-defined]

from selfmoa.errors import TrainingError
from selfmoa.train._margins import shift
from selfmoa.train._pack import Packing, can_pack

__all__ = ["ModpoTrainer", "finite", "modpo_loss"]

Logprobs = tuple[torch.Tensor, torch.Tensor]
"""(chosen, rejected), each of shape (N,): sums over the completion's tokens, nats."""


def modpo_loss(
    policy: Logprobs, reference: Logprobs, scores: Logprobs, *, a: float, b: Sequence[float]
) -> torch.Tensor:
    """The loss as it is written: -log sigma(a * d logratio - sum_i b_i * d r_i), shape (N,), nats.

    `scores` are (chosen, rejected) of shape (N, K), higher = better, for K further objectives. Method section
    5; presets `self_moa` (paper, eq. 2), `modpo_paper_eq1` (eq. 1), `modpo` (arXiv 2310.03708, public code).
    """
    logratio = (policy[0] - reference[0]) - (policy[1] - reference[1])
    margin = (scores[0] - scores[1]) @ torch.tensor(b, dtype=scores[0].dtype, device=scores[0].device)
    return -F.logsigmoid(a * logratio - margin)


def add_shift(example: dict[str, Any], *, a: float, b: Sequence[float]) -> dict[str, float]:
    """The columns that a pair gains: each response's shift, and its reference log-prob with it added."""
    chosen, rejected = shift(example["chosen_scores"], a, b), shift(example["rejected_scores"], a, b)
    return {
        "chosen_shift": chosen,
        "rejected_shift": rejected,
        "ref_chosen_logps": example["ref_chosen_logps"] + chosen,
        "ref_rejected_logps": example["ref_rejected_logps"] + rejected,
    }


def finite(result: Any, step: int) -> Any:
    """What a trainer's `compute_loss` gave, or `TrainingError` if the loss is NaN or infinite."""
    loss = result[0] if isinstance(result, tuple) else result
    if not bool(torch.isfinite(loss)):
        raise TrainingError(
            f"The training loss became {float(loss)} at step {step}, expected a finite number. "
            "Lower the learning rate, or look for empty or enormous answers among the pairs."
        )
    return result


class ModpoTrainer(DPOTrainer):
    """TRL's DPOTrainer with `args.beta` = a, and b_i as `b`; everything of the loss itself stays TRL's.

    Rows hold `chosen_scores` and `rejected_scores` (K numbers each) beside either TRL's text columns or
    `prompt_ids`, `chosen_ids`, `rejected_ids`, which are taken as they are: TRL would tokenise prompt and
    answer together (merging tokens across the border, unlike generation) and put a second BOS in front.

    `reference` says which policy the log-ratios are taken against: `previous_stage` is the adapter that TRL
    copied when the trainer was made (or `entering`, if given), `base` is the model without adapter.

    With `pack` pairs are read without padding and their prompt once, where the model can (equal but for rounding).
    """

    def __init__(
        self,
        *args: Any,
        b: Sequence[float],
        reference: Literal["previous_stage", "base"] = "previous_stage",
        entering: Mapping[str, torch.Tensor] | None = None,
        pack: bool = False,
        **kwargs: Any,
    ) -> None:
        self._b = tuple(b)
        self._packs: bool | None = None if pack else False
        """None: not yet known whether the model can."""
        self._reference = reference
        self._entering = entering
        config = kwargs["args"]
        config.precompute_ref_log_probs = True  # the shift is added to precomputed values only
        config.remove_unused_columns = False  # keeps the shifts for the true rewards
        super().__init__(*args, **kwargs)
        self.data_collator = _WithShift(self.data_collator)

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        if "prompt_ids" in dataset.column_names:
            return dataset
        return super()._prepare_dataset(dataset, *args, **kwargs)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        self._choose_reference()
        # the adapter TRL has just added is in training mode: its dropout would blur the reference
        assert self.model is not None
        self.model.eval()
        # TRL finds earlier values by data and weights, but not by the choice of reference: never reuse them
        self._precompute_model_hash = uuid.uuid4().hex
        dataset = super()._precompute_ref_logps(dataset, name, batch_size)
        return dataset.map(add_shift, fn_kwargs={"a": self.beta, "b": self._b}, keep_in_memory=True)

    def _choose_reference(self) -> None:
        if not isinstance(self.model, PeftModel) or "ref" not in self.model.peft_config:
            return
        if self._reference == "base":  # without it TRL switches the adapters off
            self.model.delete_adapter("ref")
        elif self._entering is not None:
            for name, parameter in self.model.named_parameters():
                if ".ref." in name:
                    parameter.data.copy_(self._entering[name.replace(".ref.", ".")])

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        if self._packs is None:
            self._packs = can_pack(model, inputs)
        return super().compute_ref_log_probs(Packing(model) if self._packs else model, inputs)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss; `rewards/*` in the logs become the true ones, against the unshifted reference."""
        shifts = inputs.pop("chosen_shift"), inputs.pop("rejected_shift")
        seen = _Seen(Packing(model) if self._packs else model)
        result = super().compute_loss(seen, inputs, return_outputs, num_items_in_batch)
        self._log_true_rewards(seen.log_probs.sum(dim=1).chunk(2), inputs, shifts)
        return finite(result, self.state.global_step)

    def _log_true_rewards(self, logps: Sequence[torch.Tensor], inputs: dict[str, Any], shifts: Logprobs) -> None:
        chosen = self.beta * (logps[0] - (inputs["ref_chosen_logps"] - shifts[0]))
        rejected = self.beta * (logps[1] - (inputs["ref_rejected_logps"] - shifts[1]))
        values = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/objectives": self.beta * (shifts[0] - shifts[1]),
        }
        assert self.model is not None
        logged = self._metrics["train" if self.model.training else "eval"]
        done = len(logged["logps/chosen"]) - 1  # TRL has just added this batch to its own list; replace its entry
        for name, value in values.items():
            mean = self.accelerator.gather(value).mean().item()
            logged[name] = [*logged[name][:done], mean]


class _Seen:
    """The model as TRL calls it; remembers the log-probs of single answers, which TRL keeps to itself."""

    def __init__(self, net: Any) -> None:
        self._net = net
        self.log_probs = torch.zeros(0)

    def __call__(self, **inputs: Any) -> Any:
        output = self._net(**inputs)
        self.log_probs = output.log_probs.detach()
        return output


class _WithShift:
    """TRL's collator, which passes known columns only, plus the shifts."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self._collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self._collator(rows)
        for name in ("chosen_shift", "rejected_shift"):
            if name in rows[0]:  # not yet there while the reference is being computed
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch
