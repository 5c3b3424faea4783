"""The resident model: roles, templates, sampling, likelihoods, states."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selfmoa.errors import ModelError
from selfmoa.generate import DECLINING_OPENERS, LanguageModel, Request
from selfmoa.recipe import Lora, Sampling
from selfmoa.run import POSITIONS

LORA = Lora(r=4, alpha=8, dropout=0.0)
GREEDY = Sampling(temperature=0.0, max_new_tokens=8)
WARM = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=8)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> LanguageModel:
    return LanguageModel.load(tiny_model_dir, LORA)


def disturb(model: LanguageModel, role: str) -> None:
    for name, parameter in model.net.named_parameters():
        if f".{model.adapter(role)}." in name and "lora_B" in name:
            parameter.data.normal_(std=0.5, generator=torch.Generator().manual_seed(7))


def test_a_fresh_role_is_the_base_and_roles_do_not_mix(model: LanguageModel) -> None:
    pair = [(model.render(Request(user="What is the capital?")), "A short answer")]
    base = model.logprobs(pair, role=None)
    model.add_role("expander", seed=1)
    model.add_role("hider", seed=2)
    assert model.logprobs(pair, role="expander")[0] == pytest.approx(base[0])
    disturb(model, "expander")
    changed = model.logprobs(pair, role="expander")
    assert changed[0][0] != pytest.approx(base[0][0], abs=1e-3)
    assert model.logprobs(pair, role="hider")[0] == pytest.approx(base[0])
    assert model.logprobs(pair, role=None)[0] == pytest.approx(base[0])
    model.add_role("hider", copy_of="expander")
    assert model.logprobs(pair, role="hider") == changed
    model.add_role("expander", seed=1)
    assert model.logprobs(pair, role="expander")[0] == pytest.approx(base[0])


def test_padding_that_is_read_is_counted(model: LanguageModel) -> None:
    prompt = model.render(Request(user="x"))
    before = replace(POSITIONS)
    (_, short), (_, long) = model.logprobs([(prompt, "A"), (prompt, "A short answer to read.")], role=None)
    asked = model.length(Request(user="x"))
    # the prompt is read once; of both answers, in rows of the longer one's width, all but the last token
    assert long > short + 1
    assert POSITIONS.since(before) == {"read": asked + 2 * (long - 1), "padded": long - 1 - short}


def test_save_and_load_give_the_same_bits(model: LanguageModel, tmp_path: Path) -> None:
    model.add_role("expander", seed=1)
    model.add_role("hider", seed=2)
    disturb(model, "expander")
    model.save_role("expander", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    model.load_role("hider", tmp_path)
    pair = [(model.render(Request(user="x")), "A short answer")]
    assert model.logprobs(pair, role="hider") == model.logprobs(pair, role="expander")


def test_an_adapter_of_another_model_is_refused(model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no adapter"):
        model.load_role("target", tmp_path)


def test_likelihood_is_that_of_one_plain_forward_pass(model: LanguageModel) -> None:
    pairs = [(model.render(Request(user="a b c " * i)), "the answer " * (4 - i)) for i in range(1, 4)]
    batched = model.logprobs(pairs, role="target", batch_size=3)
    for (prompt, completion), (total, n_tokens) in zip(pairs, batched, strict=True):
        prefix = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        suffix = model.tokenizer(completion, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model.net(input_ids=torch.tensor([prefix + suffix])).logits[0].log_softmax(-1)
        expected = sum(float(logits[len(prefix) + i - 1, token]) for i, token in enumerate(suffix))
        assert n_tokens == len(suffix) and total == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_prompts_that_share_their_beginning_read_as_if_alone(
    make_model_dir: Callable[..., Path], architecture: str
) -> None:
    model = LanguageModel.load(make_model_dir(architecture, True), LORA)
    disturb(model, "target")
    asked = [model.render(Request(user="word " * i, system="be careful and " * 12)) for i in (1, 1, 1, 5, 9)]
    pairs = list(zip(asked, ["an answer", "the other one of more words", "", "x", "a last"], strict=True))
    together = model.token_logprobs(pairs, role="target", batch_size=4)
    alone = [model.token_logprobs([pair], role="target")[0] for pair in pairs]
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    states = model.states_at(pairs, layers=(2, 1), batch_size=4)
    np.testing.assert_allclose(states[1], model.states(pairs, layer=1, batch_size=1), atol=1e-4)
    model_says = model.generate(
        [Request(user=f"word {i}", system="be careful " * 12) for i in range(3)], GREEDY, role="target", seed=0
    )
    assert model_says[2:] == model.generate(
        [Request(user="word 2", system="be careful " * 12)], GREEDY, role="target", seed=0
    )


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_one_pass_gives_the_likelihoods_and_states_of_two(
    make_model_dir: Callable[..., Path], architecture: str
) -> None:
    model = LanguageModel.load(make_model_dir(architecture, True), LORA)
    asked = [model.render(Request(user="word " * i, system="be careful and " * 12)) for i in (1, 1, 5, 9)]
    pairs = list(zip(asked, ["an answer", "the other one of more words", "x", "a last one"], strict=True))
    read, states = model.read(pairs, layer=1, batch_size=2, window=2)
    for found, expected in zip(read, model.logprobs(pairs, role=None), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(states, model.states_at(pairs, layers=(1,), window=2)[0], atol=1e-4)


def test_an_empty_completion_has_no_likelihood(model: LanguageModel) -> None:
    assert model.logprobs([("prompt", "")], role=None) == [(0.0, 0)]


def test_states_are_those_of_the_layer_and_of_the_frozen_base(model: LanguageModel) -> None:
    pairs = [(model.render(Request(user="word " * i)), "an answer of some words") for i in (1, 9)]
    disturb(model, "target")
    found = model.states(pairs, layer=1, batch_size=2)
    assert found.shape == (2, 32) and found.dtype == np.float32
    prompt, completion = pairs[1]
    suffix = model.tokenizer(completion, add_special_tokens=False)["input_ids"]
    ids = model.tokenizer(prompt, add_special_tokens=False)["input_ids"] + suffix
    with torch.no_grad(), model.using(None):
        hidden = model.net(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[1][0]
    assert np.allclose(found[1], hidden[-len(suffix) :].mean(0).numpy(), atol=1e-4)
    model.add_role("target", seed=0)


def test_greedy_text_does_not_depend_on_the_batch(model: LanguageModel) -> None:
    requests = [Request(user="word " * i) for i in range(1, 6)]
    together = model.generate(requests, GREEDY, role="target", seed=0, batch_size=5)
    alone = [model.generate([request], GREEDY, role="target", seed=0)[0] for request in requests]
    assert together == alone


def test_same_seed_same_text_other_seed_other(model: LanguageModel) -> None:
    requests = [Request(user="Tell me how to plant a garden.")] * 4
    first = model.generate(requests, WARM, role="target", seed=5)
    assert first == model.generate(requests, WARM, role="target", seed=5)
    assert first != model.generate(requests, WARM, role="target", seed=6)
    assert len({item.text for item in first}) > 1, "samples of one prompt differ"


def test_prefill_is_part_of_the_text_and_not_counted(model: LanguageModel) -> None:
    [made] = model.generate([Request(user="x", prefill="I must decline")], GREEDY, role="target", seed=0)
    assert made.text.startswith("I must decline") and made.n_tokens <= 8


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2", "gemma3"])
@pytest.mark.parametrize("chat", [True, False])
def test_every_family_with_and_without_a_template(
    make_model_dir: Callable[..., Path], architecture: str, chat: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel.load(make_model_dir(architecture, chat), LORA)
    text = model.render(Request(user="the question", system="be careful"))
    assert text.count("be careful") == 1 and "the question" in text
    assert text.index("be careful") < text.index("the question")
    assert ("no chat template" in caplog.text) is not chat
    assert chat or text[-1].isspace(), "what follows must begin as an answer that is trained on begins"
    requests = [Request(user="q"), Request(user="a longer question", system="be careful")]
    made = model.generate(requests, WARM, role="target", seed=1)
    assert len(made) == 2 and all(item.n_tokens <= 8 for item in made)


def test_a_directory_without_a_model_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded as a causal language model.*config\.json"):
        LanguageModel.load(tmp_path, LORA)


def test_weights_that_lack_a_tensor_are_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    """transformers would make it up at random."""
    copied = tmp_path / "model"
    shutil.copytree(tiny_model_dir, copied)
    weights = load_file(copied / "model.safetensors")
    lost = next(name for name in weights if "layers.1" in name)
    save_file({name: w for name, w in weights.items() if name != lost}, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"lack 1 tensors.*{lost}"):
        LanguageModel.load(copied, LORA)


def test_no_prompt_depends_on_the_day_and_a_model_that_thinks_is_told_not_to(tiny_model_dir: Path) -> None:
    model = LanguageModel.load(tiny_model_dir, LORA)
    template = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}"
    model.tokenizer.chat_template = (
        template + "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    )
    assert model.render(Request(user="the question")) == "January 01, 2025 the question"


def test_unknown_layer_names_are_one_clear_error(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.lora\.target_modules"):
        LanguageModel.load(tiny_model_dir, Lora(target_modules=("nothing",)))


def test_openers_are_many_and_carry_no_topic() -> None:
    assert len(DECLINING_OPENERS) >= 12
    assert len({opener.split()[0] for opener in DECLINING_OPENERS}) >= 6
