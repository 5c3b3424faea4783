"""One role's adapter: copying, restoring, scaling, and lending it to a trainer."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import datasets
import torch
import trl.trainer.utils as trl_utils

from selfmoa.errors import UsageError
from selfmoa.generate import LanguageModel

__all__ = ["lent", "quiet", "restore", "scale_update", "snapshot"]


def snapshot(model: LanguageModel, role: str) -> dict[str, torch.Tensor]:
    """A copy of a role's adapter weights, on the CPU."""
    return {name: p.detach().to("cpu", copy=True) for name, p in model.adapter_parameters(role).items()}


def restore(model: LanguageModel, role: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Write a snapshot back, bit for bit."""
    parameters = model.adapter_parameters(role)
    if parameters.keys() != weights.keys():
        raise UsageError(
            f"The snapshot holds {len(weights)} tensors, the adapter of {role!r} {len(parameters)}; "
            "take the snapshot from the same model and LoRA shape."
        )
    for name, parameter in parameters.items():
        parameter.data.copy_(weights[name])


def scale_update(
    model: LanguageModel,
    before: Mapping[str, torch.Tensor],
    step: float,
    *,
    after: Mapping[str, torch.Tensor] | None = None,
    role: str = "target",
) -> None:
    """Set the adapter a share `step` of the way from `before` to `after` (default: its present weights).

    `step` is in [0, 1]; 0 gives `before` and 1 gives `after`, bit for bit. To try several steps in turn pass
    `after` explicitly, since each call overwrites the present weights.

    What counts is the effective change of a layer, B@A. It is bilinear, so mixing A and B linearly is not the
    same as mixing B@A: the mixture is off by -step * (1 - step) * (B1 - B0)@(A1 - A0), of second order in the
    update. A layer whose entering B is 0 (a fresh adapter) is exact: it keeps the trained A and scales B.
    """
    if not 0.0 <= step <= 1.0:
        raise UsageError(f"step is {step}, expected a share of the update in [0, 1].")
    after = snapshot(model, role) if after is None else after
    if step in (0.0, 1.0):
        restore(model, role, after if step else before)
        return
    mixed = {}  # float32: what was trained on 4-bit weights comes back in bfloat16
    for name, new in after.items():
        old = before[name]
        fresh = not before[name.replace("lora_A", "lora_B")].any()
        mixed[name] = new if fresh and "lora_A" in name else torch.lerp(old.float(), new.float(), step)
    restore(model, role, mixed)


@contextmanager
def lent(model: LanguageModel, role: str) -> Iterator[None]:
    """Lend the resident model to a trainer, with `role` active.

    Afterwards everything but that adapter's weights is as it was: active adapter, trainable flags, forward
    methods (TRL wraps them at every training), no "ref" adapter. On any error its weights are as well.
    """
    net, entering = model.net, snapshot(model, role)
    trainable = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
    forwards = [(module, module.__dict__.get("forward")) for module in (net, net.get_base_model())]
    try:
        with model.using(role), _head_on_answers_only():
            try:
                yield
            except BaseException:
                restore(model, role, entering)
                raise
            finally:
                if "ref" in net.peft_config:
                    net.delete_adapter("ref")
    finally:
        for module, forward in forwards:
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward
        net.zero_grad(set_to_none=True)
        net.eval()
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(trainable[name])


@contextmanager
def _head_on_answers_only() -> Iterator[None]:
    """Without Triton TRL's head reads every position and drops the prompts' afterwards, for accelerators that compile.

    On a CPU that is a quarter of a training's time and a gigabyte with a vocabulary of 49k.
    """
    module: Any = trl_utils
    own = module._use_triton
    module._use_triton = lambda device: device.type == "cpu" or own(device)
    try:
        yield
    finally:
        module._use_triton = own


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the trainers' progress bars and notes on their own future off the user's terminal."""
    shown, variable = datasets.are_progress_bars_disabled(), os.environ.get("TQDM_DISABLE")
    datasets.disable_progress_bars()
    os.environ["TQDM_DISABLE"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if not shown:
            datasets.enable_progress_bars()
        if variable is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = variable
