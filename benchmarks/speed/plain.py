"""The plain ways: transformers' `generate`, one padded forward pass a judge, TRL's own DPOTrainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Sampling, Train

__all__ = ["PlainForward", "StockTrainer", "generate", "train"]


def generate(
    model: LanguageModel, prompts: Sequence[str], sampling: Sampling, *, m: int, batch_size: int, role: str | None
) -> list[list[int]]:
    """`m` answers a prompt by `model.generate`, prompts in arrival order, `batch_size` at a time; tokens of each."""
    tokenizer, rows = model.tokenizer, []
    tokenizer.padding_side = "left"
    drawn: dict[str, Any] = {"do_sample": False}
    if sampling.temperature:
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    ends = model.net.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends, tokenizer.eos_token_id}
    with model.using(role), torch.inference_mode():
        for start in range(0, len(prompts), batch_size):
            texts = [model.render(Request(user=prompt)) for prompt in prompts[start : start + batch_size]]
            tokens = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            tokens.pop("token_type_ids", None)
            found = model.net.generate(
                **tokens,
                **drawn,
                num_return_sequences=m,
                max_new_tokens=sampling.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
            )
            rows += [_until(row, ends) for row in found[:, tokens["input_ids"].shape[1] :].tolist()]
    return rows


def _until(row: list[int], ends: set[int]) -> list[int]:
    return row[: next((place for place, token in enumerate(row) if token in ends), len(row))]


class PlainForward:
    """The resident model for judges, which reads prompt and answer together, padded, in arrival order."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def logprobs(
        self, pairs: Sequence[tuple[str, str]], *, role: str | None, batch_size: int
    ) -> list[tuple[float, int]]:
        """As `LanguageModel.logprobs`."""
        found = []
        for tokens, mask, spans in self._batches(pairs, batch_size):
            with self._model.using(role), torch.inference_mode():
                logits = self._model.net(input_ids=tokens, attention_mask=mask).logits
                logs = logits[:, :-1].float().log_softmax(dim=-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
            found += [
                (float(logs[row, begin - 1 : end - 1].sum()), end - begin) for row, (begin, end) in enumerate(spans)
            ]
        return found

    def states_at(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        layers: Sequence[int],
        batch_size: int,
        window: int | None = None,
    ) -> np.ndarray:
        """As `LanguageModel.states_at`."""
        rows: list[list[np.ndarray]] = [[] for _ in layers]
        for tokens, mask, spans in self._batches(pairs, batch_size):
            with self._model.using(None), torch.inference_mode():
                body = self._model.net.get_base_model().model
                seen = body(input_ids=tokens, attention_mask=mask, output_hidden_states=True).hidden_states
            for number, layer in enumerate(layers):
                for row, (begin, end) in enumerate(spans):
                    found = seen[layer][row, min(begin, end - 1) : end]
                    parts = [found.mean(dim=0)]
                    if window is not None:
                        parts.append(torch.stack([part.mean(dim=0) for part in found.split(window)]).amax(dim=0))
                    rows[number].append(torch.cat(parts).numpy())
        return np.array(rows)

    def _batches(self, pairs: Sequence[tuple[str, str]], batch_size: int) -> Any:
        """(tokens, mask, (begin, end) of each answer), right-padded."""
        encode = self._model.tokenizer
        for start in range(0, len(pairs), batch_size):
            texts = [
                [encode(text, add_special_tokens=False)["input_ids"] if text else [] for text in pair]
                for pair in pairs[start : start + batch_size]
            ]
            width = max(len(prompt) + len(answer) for prompt, answer in texts)
            tokens = torch.full((len(texts), width), int(encode.pad_token_id))
            mask = torch.zeros_like(tokens)
            for row, (prompt, answer) in enumerate(texts):
                length = len(prompt) + len(answer)
                tokens[row, :length], mask[row, :length] = torch.tensor([*prompt, *answer]), 1
            yield tokens, mask, [(len(prompt), len(prompt) + len(answer)) for prompt, answer in texts]


class StockTrainer(DPOTrainer):
    """TRL's own; only the tokens are taken as they are, so that both trainers read the same."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset


def train(
    model: LanguageModel, rows: Sequence[dict[str, Any]], settings: Train, directory: Path, seed: int
) -> list[float]:
    """Losses of every optimiser step; gradient checkpointing, on in TRL's defaults, is off as in ours."""
    config = DPOConfig(
        output_dir=str(directory),
        seed=seed,
        data_seed=seed,
        bf16=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        gradient_checkpointing=False,
        optim="adamw_torch_fused",
        lr_scheduler_type="linear",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
        beta=settings.coefficients()[0],
        disable_dropout=False,
        max_length=None,
        learning_rate=settings.lr,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.micro_batch_size,
        gradient_accumulation_steps=settings.batch_size // settings.micro_batch_size,
        warmup_steps=settings.warmup_steps,
    )
    trainer = StockTrainer(
        model=model.net, args=config, train_dataset=Dataset.from_list(list(rows)), processing_class=model.tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]
