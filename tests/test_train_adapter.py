"""Snapshots, the line search over an update, and the loan of the resident model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from selfmoa.errors import UsageError
from selfmoa.generate import LanguageModel
from selfmoa.recipe import Lora
from selfmoa.train import restore, scale_update, snapshot
from selfmoa.train._adapter import lent
from selfmoa.train._watch import saturated

Weights = dict[str, torch.Tensor]


@pytest.fixture
def model(tiny_model_dir: Path) -> LanguageModel:
    return LanguageModel.load(tiny_model_dir, Lora(r=4, alpha=8, dropout=0.0))


def _disturb(model: LanguageModel, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    restore(model, "target", {n: w + scale * torch.randn_like(w) for n, w in snapshot(model, "target").items()})


def _deltas(weights: Weights) -> Weights:
    """B@A of each layer."""
    return {n: weights[n.replace("lora_A", "lora_B")] @ w for n, w in weights.items() if "lora_A" in n}


def test_snapshot_is_a_copy(model: LanguageModel) -> None:
    before = snapshot(model, "target")
    _disturb(model, 0.1, 1)
    after = snapshot(model, "target")
    assert before.keys() == after.keys() and before
    assert all(not torch.equal(before[n], after[n]) for n in before)
    restore(model, "target", before)
    assert all(torch.equal(before[n], w) for n, w in snapshot(model, "target").items())
    with pytest.raises(UsageError, match="snapshot"):
        restore(model, "target", {})


def test_scaling_a_fresh_adapter_is_exact(model: LanguageModel) -> None:
    before = snapshot(model, "target")
    _disturb(model, 0.1, 1)
    after = snapshot(model, "target")
    scale_update(model, before, 0.45)
    got, trained = _deltas(snapshot(model, "target")), _deltas(after)
    for name, delta in trained.items():
        torch.testing.assert_close(got[name], 0.45 * delta)


def test_scaling_a_continued_adapter_is_off_by_the_second_order_term(model: LanguageModel) -> None:
    _disturb(model, 0.1, 1)
    before = snapshot(model, "target")
    _disturb(model, 0.02, 2)
    after = snapshot(model, "target")
    for step in (0.7, 0.45):  # tried in turn, as the stage does
        scale_update(model, before, step, after=after)
        got, old, new = _deltas(snapshot(model, "target")), _deltas(before), _deltas(after)
        for name in got:
            b_name = name.replace("lora_A", "lora_B")
            error = -step * (1 - step) * (after[b_name] - before[b_name]) @ (after[name] - before[name])
            torch.testing.assert_close(got[name], old[name] + step * (new[name] - old[name]) + error)


def test_what_was_trained_in_another_type_can_be_scaled(model: LanguageModel) -> None:
    """TRL trains the adapter of 4-bit weights in bfloat16."""
    _disturb(model, 0.1, 1)
    before = snapshot(model, "target")
    after = {name: (2 * weight).bfloat16() for name, weight in before.items()}
    scale_update(model, before, 0.5, after=after)
    for name, weight in snapshot(model, "target").items():
        torch.testing.assert_close(weight, 1.5 * before[name], rtol=0.01, atol=1e-4)


def test_ends_of_the_scale_are_bit_for_bit(model: LanguageModel) -> None:
    before = snapshot(model, "target")
    _disturb(model, 0.1, 1)
    after = snapshot(model, "target")
    scale_update(model, before, 1.0)
    assert all(torch.equal(after[n], w) for n, w in snapshot(model, "target").items())
    scale_update(model, before, 0.0)
    assert all(torch.equal(before[n], w) for n, w in snapshot(model, "target").items())
    with pytest.raises(UsageError, match="share"):
        scale_update(model, before, 1.5)


def test_loan_returns_the_model_as_it_was(model: LanguageModel) -> None:
    model.add_role("hider", seed=1)
    net = model.net
    flags = {name: p.requires_grad for name, p in net.named_parameters()}
    entering = snapshot(model, "hider")
    with pytest.raises(KeyboardInterrupt), lent(model, "hider"):
        assert net.active_adapter == "hider"
        net.train()
        net.add_adapter("ref", net.peft_config["default"])
        net.get_base_model().forward = lambda *args, **kwargs: None
        restore(model, "hider", {n: w + 1 for n, w in entering.items()})
        raise KeyboardInterrupt
    assert net.active_adapter == "default" and "ref" not in net.peft_config and not net.training
    assert "forward" not in net.get_base_model().__dict__
    assert {name: p.requires_grad for name, p in net.named_parameters()} == flags
    assert all(torch.equal(entering[n], w) for n, w in snapshot(model, "hider").items())


@pytest.mark.parametrize(
    ("accuracies", "logprobs", "expected"),
    [
        ([0.9, 1.0, 1.0], [-10.0, -11.0, -12.0], True),
        ([0.9, 1.0, 1.0], [-10.0, -11.0, -10.5], False),
        ([1.0, 0.9, 1.0], [-10.0, -11.0, -12.0], False),
        ([1.0, 1.0], [-10.0, -11.0], False),
    ],
)
def test_saturation(accuracies: list[float], logprobs: list[float], expected: bool) -> None:
    rows = [{"reward_accuracy": a, "chosen_logprob": p} for a, p in zip(accuracies, logprobs, strict=True)]
    assert saturated(rows) is expected
