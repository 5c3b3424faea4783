"""The sampling engine against transformers' own `generate`, and its nucleus against the definition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft.tuners.lora import Linear
from scipy.stats import chisquare
from transformers import GenerationConfig

from selfmoa.generate import LanguageModel, Request, _merge, _sampling
from selfmoa.generate._parallel import ROWS, side_by_side
from selfmoa.recipe import Lora, Sampling

PROMPTS = ["a", "Tell me how to plant a garden.", "a", "word " * 70, "The quick brown fox", "a"]


def plain(model: LanguageModel, prompt: str, tokens: int) -> list[int]:
    """One prompt, alone, with transformers' own loop."""
    ids = torch.tensor([model.tokenizer(prompt, add_special_tokens=False)["input_ids"]])
    config = GenerationConfig(
        do_sample=False, max_new_tokens=tokens, eos_token_id=model.tokenizer.eos_token_id, pad_token_id=0
    )
    output = model.net.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    kept: list[int] = output[0, ids.shape[1] :].tolist()
    return kept[: kept.index(model.tokenizer.eos_token_id)] if model.tokenizer.eos_token_id in kept else kept


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2", "gemma3"])
def test_greedy_text_is_that_of_transformers(make_model_dir: Callable[..., Path], architecture: str) -> None:
    """80 tokens: beyond the sliding window of 64; equal and unequal prompts in one batch."""
    model = LanguageModel.load(make_model_dir(architecture, True), Lora(r=4, alpha=8))
    greedy = Sampling(temperature=0.0, max_new_tokens=80)
    rendered = [model.render(Request(user=prompt)) for prompt in PROMPTS]
    made = model.generate([Request(user=prompt) for prompt in PROMPTS], greedy, role="target", seed=0)
    with torch.inference_mode():
        expected = [plain(model, prompt, 80) for prompt in rendered]
    assert [item.text for item in made] == [model.tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]
    assert [item.n_tokens for item in made] == [len(ids) for ids in expected]


def lively(directory: Path) -> LanguageModel:
    """With a target adapter that changes something."""
    model = LanguageModel.load(directory, Lora(r=4, alpha=8))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.net.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def test_a_merged_adapter_writes_the_same_and_leaves_the_base_as_it_was(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lively(tiny_model_dir)
    requests, greedy = [Request(user=prompt) for prompt in PROMPTS], Sampling(temperature=0.0, max_new_tokens=24)
    own = {name: parameter.detach().clone() for name, parameter in model.net.named_parameters()}
    fast = model.generate(requests, greedy, role="target", seed=0)
    assert all(torch.equal(parameter, own[name]) for name, parameter in model.net.named_parameters())
    base = model.generate(requests, greedy, role=None, seed=0)
    monkeypatch.setattr(_merge, "_LARGEST_COPY", 0)
    assert model.generate(requests, greedy, role="target", seed=0) == fast
    assert base != fast


def test_an_adapter_on_other_layers_than_plain_linear_ones_is_not_left_out(tiny_model_dir: Path) -> None:
    """4-bit weights and embeddings have LoRA layers of their own kind; on a CPU the embedding stands for them."""
    lora = Lora(r=4, alpha=8, target_modules=("embed_tokens",))
    model = LanguageModel.load(tiny_model_dir, lora)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.net.named_parameters():
        if "lora_embedding" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    requests, greedy = [Request(user=prompt) for prompt in PROMPTS], Sampling(temperature=0.0, max_new_tokens=12)
    adapted = model.generate(requests, greedy, role="target", seed=0)
    assert adapted != model.generate(requests, greedy, role=None, seed=0)


def test_the_base_comes_back_whatever_happens_while_merged(tiny_model_dir: Path) -> None:
    model = lively(tiny_model_dir)
    layer = next(module for module in model.net.modules() if isinstance(module, Linear)).get_base_layer()
    own = layer.weight.detach().clone()
    with pytest.raises(KeyboardInterrupt), torch.inference_mode(), _merge.merged(model.net):
        assert not torch.equal(layer.weight, own)
        raise KeyboardInterrupt
    assert torch.equal(layer.weight, own)
    model.net.to(torch.bfloat16)
    with torch.inference_mode(), _merge.merged(model.net):
        assert torch.equal(layer.weight, own.to(torch.bfloat16)), "merging would round"


def test_batches_side_by_side_give_what_they_give_one_by_one(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel.load(tiny_model_dir, Lora(r=4, alpha=8))
    monkeypatch.setitem(ROWS, "cpu", 2)
    requests = [Request(user=prompt) for prompt in PROMPTS * 4]
    warm = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=12)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            texts = [one.text for one in model.generate(requests, warm, role="target", seed=0)]
            pairs = [(model.render(one), text) for one, text in zip(requests, texts, strict=True)]
            found.append((texts, model.logprobs(pairs, role=None), model.states_at(pairs, layers=(1, 2))))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert found[0][0] == found[1][0] and len(set(found[0][0])) > len(PROMPTS)
    assert np.array(found[1][1]) == pytest.approx(np.array(found[0][1]), abs=1e-4)
    assert found[1][2] == pytest.approx(found[0][2], abs=1e-5)


def test_a_batch_that_fails_fails_all_and_threads_stay() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("broken")
        return number

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match="broken"):
            list(side_by_side(work, range(5), torch.device("cpu")))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_finished_answers_leave_and_the_others_go_on_as_if_alone(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel.load(tiny_model_dir, Lora(r=4, alpha=8))
    requests = [Request(user=prompt) for prompt in PROMPTS]
    greedy = Sampling(temperature=0.0, max_new_tokens=24)
    whole = model.generate(requests, greedy, role="target", seed=0)
    # end each answer at a token of its own, so that rows finish at different times
    words = [model.tokenizer(item.text, add_special_tokens=False)["input_ids"] for item in whole]
    ends = {words[1][5], words[3][11]}
    monkeypatch.setattr(_sampling, "_ends", lambda net, tokenizer: ends)
    made = model.generate(requests, greedy, role="target", seed=0)
    for one, ids in zip(made, words, strict=True):
        stop = next((place for place, token in enumerate(ids) if token in ends), None)
        assert one.finish == ("length" if stop is None else "eos")
        assert one.n_tokens == (24 if stop is None else stop)
        assert one.text == model.tokenizer.decode(ids[:stop], skip_special_tokens=True)


@pytest.mark.parametrize(
    "candidates", [(2, 3), (2, 4), (1024,)], ids=["wider than all candidates", "than the first", "within"]
)
def test_draws_follow_the_nucleus(monkeypatch: pytest.MonkeyPatch, candidates: tuple[int, ...]) -> None:
    """Probabilities 0.4 0.3 0.15 0.1 0.05 at top_p 0.8: the first three (0.7 < 0.8 <= 0.85), renormalised."""
    monkeypatch.setattr(_sampling, "_CANDIDATES", candidates)
    shares = torch.tensor([0.05, 0.4, 0.15, 0.3, 0.1])
    logits = shares.log().repeat(20_000, 1) * 2.0  # undone by temperature 2
    generator = torch.Generator().manual_seed(0)
    top_p = 0.8 if candidates == (1024,) else 0.9  # at 0.9 a fourth is needed, beyond three candidates
    drawn = _sampling.pick(logits, Sampling(temperature=2.0, top_p=top_p), generator)
    counts = torch.bincount(drawn, minlength=5).tolist()
    nucleus = {1: 0.4, 3: 0.3, 2: 0.15} | ({4: 0.1} if top_p == 0.9 else {})
    assert {place for place, count in enumerate(counts) if count} == set(nucleus)
    total = sum(nucleus.values())
    expected = [20_000 * share / total for share in nucleus.values()]
    assert chisquare([counts[place] for place in nucleus], expected).pvalue > 1e-3


def test_top_p_one_draws_from_everything() -> None:
    logits = torch.tensor([0.5, 0.25, 0.25]).log().repeat(20_000, 1)
    drawn = _sampling.pick(logits, Sampling(temperature=1.0, top_p=1.0), torch.Generator().manual_seed(0))
    assert chisquare(torch.bincount(drawn, minlength=3).tolist(), [10_000, 5_000, 5_000]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("piece", "goes_on", "text"), [("▁it", True, " it could"), ("▁it", False, "it could"), ("it", True, "it could")]
)
def test_what_goes_on_keeps_the_blank_that_sentencepiece_drops(piece: str, goes_on: bool, text: str) -> None:
    tokenizer: Any = SimpleNamespace(decode=lambda *_, **__: "it could", convert_ids_to_tokens=lambda _: piece)
    assert _sampling._text(tokenizer, [7, 8], goes_on=goes_on) == text
