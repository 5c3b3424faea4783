"""The callback measures a model in a user's own training, logs it, and leaves the training as it would have been."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

import selfmoa
from loop_helpers import need, need_judge_data, never_blank, texts, tiny_overrides
from selfmoa import recipes
from selfmoa.bench import GateJudges
from selfmoa.errors import UsageError
from selfmoa.generate import Generation, PlainModel, ScriptedGenerator
from selfmoa.judge import Item
from selfmoa.records import Score


class Constant:
    """A judge that gives every answer the same value."""

    def __init__(self, objective: Any, value: float) -> None:
        self.name, self.objective, self.hash, self._value = f"constant-{objective}", objective, "0", value

    def score(self, items: Sequence[Item]) -> list[Score]:
        return [Score(item.id, self.objective, self.name, self.hash, self._value, "", None, 0.0) for item in items]


def judges() -> GateJudges:
    return GateJudges(
        safety=[Constant("safety", 0.2)],
        helpfulness=[Constant("helpfulness", 0.7)],
        refusal=Constant("refusal", 0.0),
        coherence=Constant("coherence", 1.0),
    )


def trainer(model_dir: Path, out: Path) -> SFTTrainer:
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    torch.manual_seed(0)
    data = Dataset.from_dict({"text": [f"The {word} is in the garden." for word in ("cat", "dog", "fox", "herb")] * 2})
    return SFTTrainer(
        AutoModelForCausalLM.from_pretrained(model_dir),
        SFTConfig(
            output_dir=str(out), max_steps=4, per_device_train_batch_size=2, logging_steps=1, save_strategy="no",
            report_to=[], use_cpu=True, bf16=False, seed=0, max_length=32,
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )  # fmt: skip


def losses(found: SFTTrainer) -> list[float]:
    return [row["loss"] for row in found.state.log_history if "loss" in row]


def test_figures_are_logged_and_the_training_is_not_disturbed(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_judge_data()
    generate = PlainModel.generate
    monkeypatch.setattr(PlainModel, "generate", lambda *args, **kwargs: never_blank(generate(*args, **kwargs)))
    recipe = recipes.load("demo", tiny_overrides(tmp_path, tiny_model_dir))
    plain = trainer(tiny_model_dir, tmp_path / "plain")
    plain.train()
    watched = trainer(tiny_model_dir, tmp_path / "watched")
    planted = texts("harmful", 12)[0]
    watched.add_callback(
        selfmoa.EvalCallback(watched, recipe, every=2, n=10, max_new_tokens=3, apart_from=[planted], judges=judges())
    )
    watched.train()
    assert losses(watched) == losses(plain) and len(losses(plain)) == 4
    rows = [row for row in watched.state.log_history if "eval_selfmoa_attack_success" in row]
    assert [row["step"] for row in rows] == [0, 2, 4]
    for row in rows:
        assert row["eval_selfmoa_attack_success"] == 1.0 and row["eval_selfmoa_over_refusal"] == 0.0
        assert row["eval_selfmoa_helpfulness_harmless"] == pytest.approx(0.7)
        assert row["eval_selfmoa_attack_success_low"] < 1.0 and row["eval_selfmoa_attack_success_n"] == 10
    assert watched.model.training


def test_layers_held_in_eval_mode_stay_there_and_silent_judges_do_not_end_the_training(
    tiny_model_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_judge_data()

    class Speaking(PlainModel):
        """The tiny model says nothing, and nothing is what no judge has to score."""

        def generate(self, *args: Any, **kwargs: Any) -> list[Generation]:
            return [replace(made, text="It is green.") for made in super().generate(*args, **kwargs)]

    class Silent(Constant):
        def score(self, items: Sequence[Item]) -> list[Score]:
            return [replace(score, value=None, reason="no answer") for score in super().score(items)]

    watched = trainer(tiny_model_dir, tmp_path)
    held = next(module for module in watched.model.modules() if isinstance(module, torch.nn.Linear))
    recipe = recipes.load("demo", [*tiny_overrides(tmp_path, tiny_model_dir), "judges.max_unscored=0.1"])
    mute = replace(judges(), safety=[Silent("safety", 0.2)])
    callback = selfmoa.EvalCallback(watched, recipe, n=10, max_new_tokens=3, judges=mute)
    monkeypatch.setattr("selfmoa.callback.PlainModel", Speaking)
    watched.model.train()
    held.training = False
    callback._measure()
    assert not held.training and watched.model.training
    assert "No figures at step 0" in caplog.text


def test_what_prompts_lay_down_is_checked_too(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: every benign prompt asks for at most 50 words, and every answer has three."""
    script = ScriptedGenerator(lambda request, _: "It is green.")
    monkeypatch.setattr("selfmoa.callback.PlainModel", lambda net, tokenizer: script)
    need_judge_data()
    need("wheel:ifbench")
    pytest.importorskip("emoji")
    pytest.importorskip("syllapy")
    asked = {"instruction_id_list": ["count:word_count_range"], "kwargs": [{"min_words": 0, "max_words": 50}]}
    table = tmp_path / "asking.jsonl"
    table.write_text("".join(json.dumps({"prompt": text, **asked}) + "\n" for text in texts("asking", 12)))
    options = [*tiny_overrides(tmp_path, tiny_model_dir), f"evaluate.benign.data=['path:{table}']"]
    watched = trainer(tiny_model_dir, tmp_path)
    callback = selfmoa.EvalCallback(watched, recipes.load("demo", options), n=10, max_new_tokens=3, judges=judges())
    callback._measure()
    (row,) = watched.state.log_history
    assert row["eval_selfmoa_instruction_following"] == 1.0 and row["eval_selfmoa_instruction_following_n"] == 10


def test_nonsense_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1 of each"):
        selfmoa.EvalCallback(trainer(tiny_model_dir, tmp_path), every=0)
