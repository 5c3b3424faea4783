"""Packed pairs against TRL's padded batch: log-probs, loss, gradients; and models that cannot be packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig

from selfmoa.train import ModpoTrainer
from selfmoa.train._pack import Packing, can_pack, pack
from test_train_modpo import _config, _dataset, _gradients, _net, _trajectory

SCORES = [[0.9, 0.4], [0.2, 0.6]]


def _trainer(directory: Path, out: Path, *, packed: bool, data: Dataset | None = None, **changes: Any) -> ModpoTrainer:
    config: DPOConfig = _config(out, **changes)
    return ModpoTrainer(
        model=_net(directory, lora=True),
        args=config,
        train_dataset=data or _dataset(6, SCORES),
        processing_class=AutoTokenizer.from_pretrained(directory),
        b=(1.5, 0.4),
        pack=packed,
    )


def test_loss_and_gradients_are_those_of_the_padded_batch(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = []
    for packed in (False, True):
        trainer = _trainer(tiny_model_dir, tmp_path, packed=packed)
        assert trainer._packs is packed
        net = trainer.model
        torch.manual_seed(7)
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        rows = list(trainer.train_dataset)
        loss = trainer.compute_loss(net, trainer.data_collator(rows))
        loss.backward()
        references = torch.tensor([[row["ref_chosen_logps"], row["ref_rejected_logps"]] for row in rows])
        found.append((loss.detach(), _gradients(net), references))
    (plain, gradients, references), (loss, packed_gradients, packed_references) = found
    torch.testing.assert_close(loss, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(packed_references, references, atol=1e-4, rtol=0)
    assert gradients.keys() == packed_gradients.keys() and gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-5, rtol=0)
    assert max(float(gradient.abs().max()) for gradient in gradients.values()) > 1e-3


def test_a_training_stays_on_the_padded_one(tiny_model_dir: Path, tmp_path: Path) -> None:
    runs = []
    for packed in (False, True):
        trainer = _trainer(tiny_model_dir, tmp_path, packed=packed)
        runs.append(_trajectory(trainer, trainer.model)[0])
    assert len(runs[0]) == 6 and runs[1] == pytest.approx(runs[0], abs=1e-4)


def test_nothing_is_padded_and_no_prompt_read_twice() -> None:
    # two pairs: prompts of 3 and 2 tokens, answers of 2 and 1, 1 and 3
    rows = [[1, 2, 3, 10, 11], [4, 5, 12, 0, 0], [1, 2, 3, 13, 0], [4, 5, 14, 15, 16]]
    lengths, starts = torch.tensor([5, 3, 4, 5]), torch.tensor([3, 2, 3, 2])
    ids, columns = torch.tensor(rows), torch.arange(5)
    given = columns < lengths[:, None]
    labels = ids.where(given & (columns >= starts[:, None]), -100)
    packed = pack(ids, given.long(), labels)
    assert packed.inputs["input_ids"].tolist() == [[1, 2, 3, 10, 11, 3, 13, 4, 5, 12, 5, 14, 15, 16]]
    assert packed.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 2, 3, 0, 1, 2, 1, 2, 3, 4]]
    mask = packed.inputs["attention_mask"][0, 0]
    assert mask[6].nonzero().flatten().tolist() == [0, 1, 5, 6], "the rejected answer sees its prompt and itself"
    assert mask[13].nonzero().flatten().tolist() == [7, 10, 11, 12, 13]
    predicted = packed.inputs["labels"][:, 1:].flatten()[packed.source]
    assert torch.equal(predicted.where(packed.asked, -100), labels[:, 1:])


def test_what_all_prompts_begin_with_is_read_once() -> None:
    # a beginning of 2 tokens, prompts of 4 and 3, answers of 1 and 2, 1 and 1
    rows = [[1, 2, 3, 4, 10, 0], [1, 2, 5, 11, 0, 0], [1, 2, 3, 4, 12, 13], [1, 2, 5, 14, 0, 0]]
    lengths, starts = torch.tensor([5, 4, 6, 4]), torch.tensor([4, 3, 4, 3])
    ids, columns = torch.tensor(rows), torch.arange(6)
    given = columns < lengths[:, None]
    labels = ids.where(given & (columns >= starts[:, None]), -100)
    packed = pack(ids, given.long(), labels)
    assert packed.inputs["input_ids"].tolist() == [[1, 2, 3, 4, 10, 4, 12, 13, 5, 11, 5, 14]]
    assert packed.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 3, 4, 5, 2, 3, 2, 3]]
    mask = packed.inputs["attention_mask"][0, 0]
    assert mask[7].nonzero().flatten().tolist() == [0, 1, 2, 5, 6, 7]
    assert mask[11].nonzero().flatten().tolist() == [0, 1, 10, 11]
    assert mask[1].nonzero().flatten().tolist() == [0, 1]
    predicted = packed.inputs["labels"][:, 1:].flatten()[packed.source]
    assert torch.equal(predicted.where(packed.asked, -100), labels[:, 1:])


def test_every_row_has_the_common_beginning(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _trainer(tiny_model_dir, tmp_path, packed=False)
    batch = trainer.data_collator(list(trainer.train_dataset))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    asked = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}
    inputs = {**asked, "use_cache": False, "fused_lm_head": True}
    with torch.no_grad():
        plain = trainer.model(**inputs).log_probs
        for room in (1, 40, 1024):
            monkeypatch.setattr("selfmoa.train._pack._ROW", room)
            torch.testing.assert_close(Packing(trainer.model)(**inputs).log_probs, plain, atol=1e-4, rtol=0)


def test_a_sliding_window_is_not_packed(tiny_model_dir: Path, tmp_path: Path) -> None:
    trainer = _trainer(tiny_model_dir, tmp_path, packed=True)
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert can_pack(trainer.model, batch)
    trainer.model.config.sliding_window = 8
    assert not can_pack(trainer.model, batch)


def test_a_model_that_reads_no_such_mask_is_not_packed(tiny_model_dir: Path, tmp_path: Path) -> None:
    """One that ignores positions reads something else, and is found out by its log-probs."""
    trainer = _trainer(tiny_model_dir, tmp_path, packed=True)
    batch = trainer.data_collator(list(trainer.train_dataset))
    net = trainer.model
    net.register_forward_pre_hook(
        lambda _module, args, inputs: (args, {**inputs, "position_ids": None}), with_kwargs=True
    )
    assert not can_pack(net, batch)
