"""ModpoTrainer against the explicit formula and against TRL's own DPOTrainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

from selfmoa.errors import TrainingError
from selfmoa.train import ModpoTrainer, modpo_loss
from train_helpers import text_rows

A, B = 0.5, (1.5, 0.4)


def _net(directory: Path, lora: bool) -> Any:
    torch.manual_seed(3)
    net = AutoModelForCausalLM.from_pretrained(directory)
    if not lora:
        return net
    net = get_peft_model(net, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
    _disturb(net)  # an adapter that has been trained before
    return net


def _disturb(net: Any) -> None:
    torch.manual_seed(5)
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.05 * torch.randn_like(parameter))


def _dataset(n: int, scores: list[list[float]] | None = None) -> Dataset:
    columns: dict[str, Any] = text_rows(n)
    if scores is not None:
        columns["chosen_scores"] = [scores[0]] * n
        columns["rejected_scores"] = [scores[1]] * n
    return Dataset.from_dict(columns)


def _config(directory: Path, **changes: Any) -> DPOConfig:
    values: dict[str, Any] = {
        "output_dir": str(directory / "out"),
        "beta": A,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "per_device_train_batch_size": 3,
        "max_steps": 6,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "seed": 0,
        "precompute_ref_log_probs": True,
    }
    return DPOConfig(**{**values, **changes})


def _logprob(net: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """log p(answer | prompt), from plain logits."""
    tokens = torch.tensor([prompt + answer])
    logs = torch.log_softmax(net(input_ids=tokens).logits[0, :-1], dim=-1)
    return logs.gather(-1, tokens[0, 1:, None])[len(prompt) - 1 :, 0].sum()


def _logprobs(net: Any, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
    sides = [
        torch.stack([_logprob(net, row["prompt_ids"], row[name]) for row in rows])
        for name in ("chosen_ids", "rejected_ids")
    ]
    return sides[0], sides[1]


def _gradients(net: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_loss_is_the_explicit_formula(tiny_model_dir: Path, tmp_path: Path, lora: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    net = _net(tiny_model_dir, lora)
    columns = text_rows(4)
    scores = torch.rand(2, 4, 2, generator=torch.Generator().manual_seed(1))
    dataset = Dataset.from_dict({**columns, "chosen_scores": scores[0].tolist(), "rejected_scores": scores[1].tolist()})
    trainer = ModpoTrainer(model=net, args=_config(tmp_path), train_dataset=dataset, processing_class=tokenizer, b=B)
    rows = list(trainer.train_dataset)
    with torch.no_grad():
        reference = _logprobs(net, rows)
    _disturb(net)  # now the policy differs from the reference
    explicit = modpo_loss(_logprobs(net, rows), reference, (scores[0], scores[1]), a=A, b=B).mean()
    net.zero_grad()
    explicit.backward()
    expected = _gradients(net)
    net.zero_grad()
    loss = trainer.compute_loss(net, trainer.data_collator(rows))
    loss.backward()
    got = _gradients(net)
    assert float(loss) == pytest.approx(float(explicit), abs=1e-5)
    assert got.keys() == expected.keys() and got
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=1e-5, rtol=1e-4)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3


def test_robust_loss_is_its_formula_with_the_margins_inside(tiny_model_dir: Path, tmp_path: Path) -> None:
    """(-(1 - e) log sigma(x) + e log sigma(-x)) / (1 - 2 e), x = a * d logratio - b * d r (arXiv 2403.00409)."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    net = _net(tiny_model_dir, lora=True)
    config = _config(tmp_path, loss_type=["robust"], label_smoothing=0.2)
    dataset = _dataset(4, [[0.9, 0.4], [0.2, 0.6]])
    trainer = ModpoTrainer(model=net, args=config, train_dataset=dataset, processing_class=tokenizer, b=B)
    rows = list(trainer.train_dataset)
    with torch.no_grad():
        reference = _logprobs(net, rows)
    _disturb(net)
    policy = _logprobs(net, rows)
    x = A * ((policy[0] - reference[0]) - (policy[1] - reference[1])) - (1.5 * 0.7 + 0.4 * -0.2)
    logsigmoid = torch.nn.functional.logsigmoid
    expected = ((-0.8 * logsigmoid(x) + 0.2 * logsigmoid(-x)) / 0.6).mean()
    loss = trainer.compute_loss(net, trainer.data_collator(rows))
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)


def _trajectory(trainer: Any, net: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return losses, {name: p.detach().clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_zero_margins_are_trl_bit_for_bit_and_others_are_not(tiny_model_dir: Path, tmp_path: Path, lora: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    runs = []
    for scores in (None, [[0.0, 0.0], [0.0, 0.0]], [[0.9, 0.0], [0.1, 0.0]]):
        net = _net(tiny_model_dir, lora)
        own = {} if scores is None else {"b": B}
        trainer = (DPOTrainer if scores is None else ModpoTrainer)(
            model=net,
            args=_config(tmp_path),
            train_dataset=_dataset(8, scores),
            processing_class=tokenizer,
            **own,
        )
        runs.append(_trajectory(trainer, net))
    (stock, stock_weights), (zero, zero_weights), (other, other_weights) = runs
    assert len(stock) == 6 and stock == zero
    assert all(torch.equal(stock_weights[name], zero_weights[name]) for name in stock_weights)
    assert other[0] != pytest.approx(stock[0], abs=1e-3)
    assert any(not torch.equal(stock_weights[name], other_weights[name]) for name in stock_weights)


def test_logged_rewards_are_the_true_ones(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    net = _net(tiny_model_dir, True)
    trainer = ModpoTrainer(
        model=net,
        args=_config(tmp_path, max_steps=1, per_device_train_batch_size=4),
        train_dataset=_dataset(4, [[0.9, 0.2], [0.1, 0.2]]),
        processing_class=tokenizer,
        b=B,
    )
    trainer.train()
    first = trainer.state.log_history[0]
    # before the first step policy and reference are one, so the true rewards are 0 (shifted: -1.2)
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins"):
        assert first[name] == pytest.approx(0.0, abs=1e-4)
    assert first["rewards/objectives"] == pytest.approx(1.5 * 0.8, abs=1e-5)


def test_references_are_not_confused_by_a_cache(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Same data, same weights, other reference: TRL's own cache key would be the same."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    dataset = _dataset(4, [[0.0, 0.0], [0.0, 0.0]])
    found = {}
    for reference in ("previous_stage", "base"):
        net = _net(tiny_model_dir, True)
        trainer = ModpoTrainer(
            model=net,
            args=_config(tmp_path),
            train_dataset=dataset,
            processing_class=tokenizer,
            b=B,
            reference=reference,
        )
        rows = list(trainer.train_dataset)
        found[reference] = torch.tensor([row["ref_chosen_logps"] for row in rows])
        with torch.no_grad():
            if reference == "base":
                assert isinstance(net, PeftModel)
                with net.disable_adapter():
                    expected = _logprobs(net, rows)[0]
            else:
                expected = _logprobs(net, rows)[0]
        torch.testing.assert_close(found[reference], expected, atol=1e-4, rtol=0)
    assert float((found["base"] - found["previous_stage"]).abs().min()) > 1e-3


def test_infinite_loss_raises(tiny_model_dir: Path, tmp_path: Path) -> None:
    trainer = ModpoTrainer(
        model=_net(tiny_model_dir, True),
        args=_config(tmp_path),
        train_dataset=_dataset(4, [[float("inf"), 0.0], [0.0, 0.0]]),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_dir),
        b=B,
    )
    with pytest.raises(TrainingError, match="step 0"):
        trainer.train()
