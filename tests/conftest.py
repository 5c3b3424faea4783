"""Shared fixtures: tiny random models and a tiny tokenizer, made in the test; nothing is downloaded."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# read by torch when it is first imported: no test pays for the import just to set this
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MKL_NUM_THREADS", "2")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
CORPUS = [
    "Please tell me how to plant a small garden with herbs and flowers.",
    "The quick brown fox jumps over the lazy dog while the cat sleeps.",
    "I cannot help with that request, but here is something else to read.",
    "What is the capital of the country? Sure, here is a short answer.",
    "[harmful request about X] [harmful request about Y] user assistant system",
    "A list of numbers: 0 1 2 3 4 5 6 7 8 9, and so on until ten.",
]

SHARED_DATA = Path(os.environ.get("SELFMOA_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SHORT = ["-o", "evaluate.max_new_tokens=8"]


def build_tokenizer(*, chat_template: str | None = CHATML) -> Any:
    """A byte-level BPE tokenizer of 512 tokens: any text can be encoded and decoded back."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|pad|>",
        model_max_length=512,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def build_model(architecture: str, tokenizer: Any, *, seed: int = 0) -> Any:
    """A random float32 model: hidden 32, 2 layers, 4 heads; llama, qwen2, gemma2 or gemma3."""
    import torch
    import transformers

    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    # query_pre_attn_scalar stays at 256: a GGUF file has no field for it
    gemma = {"head_dim": 8, "sliding_window": 64}
    families: dict[str, tuple[Any, dict[str, Any]]] = {
        "llama": (transformers.LlamaConfig, {}),
        "qwen2": (transformers.Qwen2Config, {}),
        "gemma2": (transformers.Gemma2Config, gemma),
        "gemma3": (transformers.Gemma3TextConfig, gemma),
    }
    config, extra = families[architecture]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config(**size, **extra))
    return model.float().eval()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """ChatML tokenizer of 512 tokens; treat as read-only (session scope)."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def make_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`make_model_dir(architecture="llama", chat_template=True)` -> a directory with model and tokenizer.

    gemma2 gets a template that refuses a system role, as the real one does. They are shared: do not
    write into them.
    """
    made: dict[tuple[str, bool], Path] = {}

    def make(architecture: str = "llama", chat_template: bool = True) -> Path:
        key = (architecture, chat_template)
        if key not in made:
            template = (NO_SYSTEM if architecture == "gemma2" else CHATML) if chat_template else None
            tokenizer = build_tokenizer(chat_template=template)
            directory = tmp_path_factory.mktemp(f"{architecture}{'-chat' if chat_template else ''}")
            build_model(architecture, tokenizer).save_pretrained(directory)
            tokenizer.save_pretrained(directory)
            made[key] = directory
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_model_dir(make_model_dir: Callable[..., Path]) -> Path:
    """A random Llama with the ChatML tokenizer; treat as read-only (session scope)."""
    return make_model_dir("llama", True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The shared data directory (SELFMOA_SHARED_DATA or ../shared/data); skips where absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared data not found: set SELFMOA_SHARED_DATA")
    return SHARED_DATA


@pytest.fixture(scope="session")
def smoke_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped study, every arm tiny, on the real model by the command line (slow; about 13 minutes); read-only."""
    import subprocess
    import sys

    from loop_helpers import need
    from selfmoa import assets, recipes

    need(*(info.ref for info in assets.plan(recipes.load("smoke"))))
    out = tmp_path_factory.mktemp("smoke") / "main"
    words = ["study", "main", "--smoke", "--out", str(out), "--quiet", *SHORT]
    done = subprocess.run(
        [sys.executable, "-m", "selfmoa", *words],
        capture_output=True,
        text=True,
        check=False,
        env={"SELFMOA_DATA": str(SHARED_DATA), **os.environ},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Attack success" in done.stdout
    return out


@pytest.fixture(scope="session")
def smoke_run(smoke_study: Path) -> Path:
    """The smoke recipe on the real model: the study's own arm; treat as read-only."""
    return smoke_study / "ours-0"


@pytest.fixture
def tiny_recipe(tiny_model_dir: Path, tmp_path: Path) -> Any:
    """A recipe of the whole loop at sizes that a random model gets through in seconds."""
    from loop_helpers import need_judge_data, tiny_overrides
    from selfmoa import recipes

    need_judge_data()
    return recipes.load("paper/qwen2.5-1.5b", tiny_overrides(tmp_path, tiny_model_dir))


@pytest.fixture
def own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of earlier evaluations are kept in this test's directory."""
    from selfmoa import assets

    usual = assets.cache_dir
    monkeypatch.setattr(
        assets, "cache_dir", lambda *parts: tmp_path / "answers" if parts == ("evaluations",) else usual(*parts)
    )


@pytest.fixture
def audit_run(tmp_path: Path) -> tuple[Path, Any]:
    """A finished run with judged answers, and what people would say of each of them."""
    from audit_fixture import build_run

    run = tmp_path / "run"
    return run, build_run(run)
