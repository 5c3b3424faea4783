"""One alignment stage on a tiny model."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.trainer.utils as trl_utils

from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Lora, Train
from selfmoa.train import _adapter, align, restore, snapshot
from selfmoa.train._align import split_by_attack
from selfmoa.train._tokens import encode, end_of_turn, fit
from train_helpers import pair, pairs

Weights = dict[str, torch.Tensor]


def _settings(**changes: Any) -> Train:
    values: dict[str, Any] = {
        "lr": 1e-2,
        "epochs": 2,
        "batch_size": 4,
        "micro_batch_size": 2,
        "warmup_steps": 1,
    }
    return Train(**{**values, **changes})


def _load(directory: Path, *, dropout: float = 0.0) -> LanguageModel:
    return LanguageModel.load(directory, Lora(r=4, alpha=8, dropout=dropout))


@pytest.fixture
def model(tiny_model_dir: Path) -> LanguageModel:
    return _load(tiny_model_dir)


def _equal(left: Weights, right: Weights) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _validation(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["split"] == "validation"]


def test_stage_learns_logs_and_touches_only_the_target(model: LanguageModel, tmp_path: Path) -> None:
    model.add_role("expander", seed=1)
    others = snapshot(model, "expander")
    base = {n: p.detach().clone() for n, p in model.net.named_parameters() if "lora_" not in n}
    before = snapshot(model, "target")
    shares: list[float] = []
    outcome = align(
        model,
        pairs(24),
        _settings(epochs=3),
        directory=tmp_path,
        seed=0,
        on_progress=lambda share, _row: shares.append(share),
    )
    assert (outcome.n_train, outcome.n_validation, outcome.n_dropped) == (22, 2, 0)
    first, *_, last = _validation(outcome.metrics)
    assert first["step"] == 0 and first["reward_margin"] == pytest.approx(0.0, abs=1e-4)
    assert last["reward_margin"] > 0.1 and last["reward_accuracy"] == 1.0
    assert last["loss"] < first["loss"]
    assert not _equal(before, snapshot(model, "target"))
    assert _equal(others, snapshot(model, "expander"))
    assert all(torch.equal(base[n], p) for n, p in model.net.named_parameters() if n in base)
    assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == outcome.metrics
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl"]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert outcome.trained_tokens > 22 * 2 * 3 * 10 and outcome.seconds > 0
    assert set(model.net.peft_config) == {"default", "expander"}
    assert "forward" not in model.net.get_base_model().__dict__


def test_best_epoch_is_kept(model: LanguageModel, tmp_path: Path) -> None:
    settings = {"reference": "base", "lr": 0.05}
    outcome = align(model, pairs(24), _settings(epochs=3, **settings), directory=tmp_path, seed=0)
    losses = {row["epoch"]: row["loss"] for row in _validation(outcome.metrics) if row["step"]}
    assert outcome.best_epoch == min(losses, key=lambda epoch: losses[epoch])
    last = max(losses)
    assert losses[outcome.best_epoch] < losses[last], "or the last would do as well"
    again = align(model, pairs(24), _settings(epochs=1, **settings), directory=tmp_path, seed=0)
    assert _validation(again.metrics)[0]["loss"] == pytest.approx(losses[outcome.best_epoch], abs=1e-4)


def test_same_seed_same_bits(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = []
    for seed in (0, 0, 1):
        model = _load(tiny_model_dir, dropout=0.1)
        align(model, pairs(22), _settings(epochs=1), directory=tmp_path, seed=seed)
        found.append(snapshot(model, "target"))
    assert _equal(found[0], found[1])
    assert not _equal(found[0], found[2])


def test_dropout_trains_but_does_not_blur_the_reference(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = []
    for dropout in (0.0, 0.5):
        model = _load(tiny_model_dir, dropout=dropout)
        torch.manual_seed(4)
        restore(model, "target", {n: w + 0.2 * torch.randn_like(w) for n, w in snapshot(model, "target").items()})
        outcome = align(model, pairs(22), _settings(epochs=1), directory=tmp_path, seed=0)
        assert _validation(outcome.metrics)[0]["reward_chosen"] == pytest.approx(0.0, abs=1e-4)
        found.append(outcome.metrics[-1]["loss"])
    assert found[0] != found[1]


def test_reference_of_the_second_stage(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = _load(tiny_model_dir)
    align(model, pairs(22), _settings(), directory=tmp_path, seed=0)
    entering = snapshot(model, "target")
    first, trained = {}, {}
    for reference in ("previous_stage", "base"):
        restore(model, "target", entering)
        outcome = align(model, pairs(22), _settings(reference=reference), directory=tmp_path, seed=1)
        first[reference] = _validation(outcome.metrics)[0]["reward_margin"]
        trained[reference] = snapshot(model, "target")
    assert first["previous_stage"] == pytest.approx(0.0, abs=1e-4)
    assert first["base"] > 0.01  # the first stage's gain, seen from the base
    assert not _equal(trained["previous_stage"], trained["base"])


def test_fresh_adapter_keeps_the_entering_policy_as_reference(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = _load(tiny_model_dir)
    align(model, pairs(22), _settings(), directory=tmp_path, seed=0)
    settings = _settings(continue_adapter=False, lr=1e-9)
    outcome = align(model, pairs(22), settings, directory=tmp_path, seed=1)
    # the policy starts again from the base, which likes the chosen answers less than the entering one did
    assert _validation(outcome.metrics)[0]["reward_margin"] < -0.01
    assert all(float(w.abs().max()) < 1e-6 for n, w in snapshot(model, "target").items() if "lora_B" in n)


def test_margin_reaches_the_loss(tiny_model_dir: Path, tmp_path: Path) -> None:
    losses = []
    for safety in (0.2, 0.9):
        made = pairs(8, rejected_safety=safety)
        outcome = align(_load(tiny_model_dir), made, _settings(), directory=tmp_path, seed=0)
        losses.append(outcome.metrics[0]["loss"])
    # self_moa: ln(1 + e^(0.099 * 0.7)) against ln 2
    assert losses == pytest.approx([0.728400, 0.693147], abs=2e-4)


def test_missing_scores_are_counted_and_do_not_count(model: LanguageModel, tmp_path: Path) -> None:
    outcome = align(model, pairs(6, chosen_safety=None), _settings(), directory=tmp_path, seed=0)
    assert outcome.n_missing_scores == 6 and outcome.n_validation == 0 and outcome.best_epoch is None
    assert outcome.metrics[0]["loss"] == pytest.approx(0.693147, abs=2e-4)
    assert outcome.metrics[0]["objective_margin"] == 0.0


def test_sft_term_is_added(tiny_model_dir: Path, tmp_path: Path) -> None:
    plain = align(_load(tiny_model_dir), pairs(8), _settings(), directory=tmp_path, seed=0)
    settings = _settings(loss_type=("sigmoid", "sft"), loss_weights=(1.0, 0.5))
    both = align(_load(tiny_model_dir), pairs(8), settings, directory=tmp_path, seed=0)
    assert both.metrics[0]["loss"] > plain.metrics[0]["loss"] + 1.0  # a random model: about ln 512 a token


def test_nan_raises_and_the_target_is_what_entered(model: LanguageModel, tmp_path: Path) -> None:
    align(model, pairs(8), _settings(), directory=tmp_path, seed=0)
    entering, steps = snapshot(model, "target"), []

    def poison(share: float, _row: dict[str, Any]) -> None:
        steps.append(share)
        if len(steps) == 2:
            next(p for n, p in model.net.named_parameters() if "lora_B.default" in n).data.fill_(float("nan"))

    with pytest.raises(TrainingError, match="step 2"):
        align(model, pairs(8), _settings(epochs=4), directory=tmp_path, seed=1, on_progress=poison)
    assert _equal(entering, snapshot(model, "target"))
    assert set(model.net.peft_config) == {"default"} and not model.net.training


def test_only_the_first_tokens_of_an_answer_are_trained_on(tiny_model_dir: Path, tmp_path: Path) -> None:
    def trained(tail: str, limit: int | None) -> tuple[Weights, int]:
        model = _load(tiny_model_dir)
        made = pairs(8, chosen=f"one two three four five six{tail}", rejected=f"seven eight nine ten{tail}")
        settings = _settings(epochs=1, answer_tokens=limit)
        outcome = align(model, made, settings, directory=tmp_path / f"{tail} {limit}", seed=0)
        return snapshot(model, "target"), outcome.trained_tokens

    short, n_short = trained(" a", 3)
    other, n_other = trained(" another end", 3)
    assert _equal(short, other) and n_short == n_other, "what comes later does not matter"
    whole, n_whole = trained(" a", None)
    assert not _equal(short, whole) and n_short < n_whole


def test_nothing_to_train_on(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="None of 2 pairs"):
        align(model, pairs(2, chosen=""), _settings(), directory=tmp_path, seed=0)
    long = pairs(2, prompt="numbers " * 200)
    with pytest.raises(UsageError, match="max_length"):
        align(model, long, _settings(max_length=32), directory=tmp_path, seed=0)
    worse = pairs(2, chosen_safety=0.1, rejected_safety=0.9)
    with pytest.raises(UsageError, match="less safe"):
        align(model, worse, _settings(loss="modpo_paper_eq1"), directory=tmp_path, seed=0)


def test_validation_keeps_the_pairs_of_a_prompt_together() -> None:
    made = pairs(40)
    held = split_by_attack(made, 0.1, 0)
    assert len([item for item in made if item.attack_id in held]) == 4
    assert split_by_attack(made, 0.1, 0) == held != split_by_attack(made, 0.1, 1)
    assert split_by_attack(made, 0.0, 0) == set()
    assert split_by_attack([pair(0), pair(1)], 0.9, 0) == set()


def test_tokens_are_those_of_generation(model: LanguageModel) -> None:
    tokenizer = model.tokenizer
    assert end_of_turn(model) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    prompt = model.render(Request(user="a garden"))
    ids = encode(model, prompt)
    assert ids.count(tokenizer.bos_token_id) == prompt.count(tokenizer.bos_token)
    assert tokenizer.decode(ids) == prompt
    assert fit([1, 2], [3, 4, 5], 4) == [3, 4]
    assert fit([1, 2], [3], 2) is None


def test_end_of_turn_is_the_templates_own(make_model_dir: Any) -> None:
    """Gemma's turns end with another token than the tokenizer's eos."""
    model = _load(make_model_dir("gemma2", True))
    tokenizer = model.tokenizer
    tokenizer.eos_token = "<|endoftext|>"
    assert end_of_turn(model) == tokenizer.convert_tokens_to_ids("<|im_end|>")  # stops generation, by the config
    model.net.generation_config.eos_token_id = None
    assert end_of_turn(model) == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_answers_cut_by_length_get_no_end(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = []
    for unfinished in ((), [f"c{index}" for index in range(8)]):
        outcome = align(_load(tiny_model_dir), pairs(8), _settings(), directory=tmp_path, seed=0, unfinished=unfinished)
        found.append(outcome.trained_tokens)
    assert found[0] - found[1] == 8 * 2  # one token an answer and epoch


def test_the_head_reads_answers_only_and_the_result_is_the_same(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the patch of TRL's private switch every position of the prompts goes through the head."""
    found = {}
    asked: list[int] = []
    head = trl_utils._ChunkedLogProbFunction.apply

    def counted(hidden: torch.Tensor, *rest: Any) -> Any:
        asked.append(len(hidden))
        return head(hidden, *rest)

    monkeypatch.setattr(trl_utils._ChunkedLogProbFunction, "apply", counted)
    for name, frame in (("answers", _adapter._head_on_answers_only), ("all", nullcontext)):
        monkeypatch.setattr(_adapter, "_head_on_answers_only", frame)
        asked.clear()
        model = _load(tiny_model_dir)
        outcome = align(model, pairs(8), _settings(answer_tokens=3), directory=tmp_path / name, seed=0)
        found[name] = ([row["loss"] for row in outcome.metrics if "loss" in row], snapshot(model, "target"), sum(asked))
    (losses, weights, few), (plain, expected, many) = found["answers"], found["all"]
    assert few * 3 < many and losses == pytest.approx(plain, abs=1e-5)
    for key, weight in expected.items():
        torch.testing.assert_close(weights[key], weight, atol=1e-4, rtol=0)
    assert not trl_utils._use_triton(torch.device("cpu")), "only while lent"
