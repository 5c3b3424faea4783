"""SFT of one role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Lora, Sft
from selfmoa.train import sft, snapshot
from train_helpers import TOPICS

SETTINGS = Sft(lr=1e-2, epochs=4, batch_size=4, warmup_steps=1, max_length=128)


@pytest.fixture
def model(tiny_model_dir: Path) -> LanguageModel:
    model = LanguageModel.load(tiny_model_dir, Lora(r=4, alpha=8, dropout=0.0))
    for role in ("expander", "hider"):
        model.add_role(role, seed=1)
    return model


def _examples(model: LanguageModel, n: int = 8) -> list[tuple[str, str]]:
    return [(model.render(Request(user=f"a {topic}")), f"[request about the {topic}]") for topic in TOPICS[:n]]


def test_loss_falls_and_only_the_role_moves(model: LanguageModel, tmp_path: Path) -> None:
    before = {role: snapshot(model, role) for role in ("target", "expander", "hider")}
    examples = _examples(model)
    likely = sum(value for value, _ in model.logprobs(examples, role="expander"))
    outcome = sft(model, "expander", examples, SETTINGS, directory=tmp_path, seed=0)
    after = {role: snapshot(model, role) for role in before}
    assert outcome.metrics[-1]["loss"] < outcome.metrics[0]["loss"] - 0.1
    assert sum(value for value, _ in model.logprobs(examples, role="expander")) > likely
    assert all(not torch.equal(before["expander"][n], w) for n, w in after["expander"].items())
    for role in ("target", "hider"):
        assert all(torch.equal(before[role][n], w) for n, w in after[role].items())
    assert model.net.active_adapter == "default" and outcome.n_train == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl"]


def test_loss_is_on_the_completion_only(model: LanguageModel, tmp_path: Path) -> None:
    """The first loss is the mean negative log-prob of completion and end token, without the prompt."""
    examples = _examples(model, 4)
    marked = [(prompt, text + model.tokenizer.eos_token) for prompt, text in examples]
    scored = model.logprobs(marked, role="expander")
    expected = -sum(value for value, _ in scored) / sum(n for _, n in scored)
    outcome = sft(model, "expander", examples, SETTINGS, directory=tmp_path, seed=0)
    assert outcome.metrics[0]["loss"] == pytest.approx(expected, abs=1e-4)


def test_big_batches_are_cut_up_without_changing_the_result(model: LanguageModel, tmp_path: Path) -> None:
    """256 examples a step do not fit in memory at once."""
    examples = _examples(model) * 4
    settings = Sft(lr=1e-2, epochs=1, batch_size=32, warmup_steps=0, max_length=128)
    outcome = sft(model, "hider", examples, settings, directory=tmp_path, seed=0)
    assert [row["step"] for row in outcome.metrics] == [1]
    scored = model.logprobs(
        [(prompt, text + model.tokenizer.eos_token) for prompt, text in _examples(model)], role="expander"
    )
    expected = -sum(value for value, _ in scored) / sum(n for _, n in scored)
    assert outcome.metrics[0]["loss"] == pytest.approx(expected, abs=1e-4)


def test_same_seed_same_bits(model: LanguageModel, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        model.add_role("hider", seed=3)
        sft(model, "hider", _examples(model), SETTINGS, directory=tmp_path, seed=0)
        found.append(snapshot(model, "hider"))
    assert all(torch.equal(found[0][n], w) for n, w in found[1].items())


def test_nothing_to_train_on_and_nan(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="None of 1 examples"):
        sft(model, "hider", [("a garden", "")], SETTINGS, directory=tmp_path, seed=0)
    entering = snapshot(model, "hider")

    def poison(_share: float, _row: dict[str, Any]) -> None:
        next(p for n, p in model.net.named_parameters() if "lora_B.hider" in n).data.fill_(float("nan"))

    with pytest.raises(TrainingError):
        sft(model, "hider", _examples(model), SETTINGS, directory=tmp_path, seed=0, on_progress=poison)
    assert all(torch.equal(entering[n], w) for n, w in snapshot(model, "hider").items())


def test_too_long_examples_are_dropped_and_counted(model: LanguageModel, tmp_path: Path) -> None:
    examples = [*_examples(model), (model.render(Request(user="numbers " * 200)), "a list")]
    outcome = sft(model, "hider", examples, SETTINGS, directory=tmp_path, seed=0)
    assert (outcome.n_train, outcome.n_dropped) == (8, 1)
