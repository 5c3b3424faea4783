"""A run small enough for a random model: content-free seeds, embedded judges, a handful of tokens."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from selfmoa import assets
from selfmoa.generate import Generation

NEEDED = ("wheel:pyrit-human-scores", "wheel:minilm-l6-v2")


def need_judge_data() -> None:
    need(*NEEDED)


def need(*refs: str) -> None:
    """Skip a test whose wheels are not at hand: it runs where they are, without a network."""
    missing = [ref for ref in refs if not assets.is_cached(ref)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not cached: run selfmoa assets pull --suite standard")


def never_blank(made: list[Generation]) -> list[Generation]:
    """What a random model wrote; its answers are often blank, and those nobody judges."""
    return [replace(one, text=one.text if one.text.strip() else "It is green.") for one in made]


def write_table(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"prompt": text, "kind": f"k{i % 3}"}) + "\n" for i, text in enumerate(texts)))
    return f"path:{path}"


def texts(name: str, n: int) -> list[str]:
    """Content-free prompts that share no word with each other, so that none is another's near-duplicate."""
    rng = random.Random(name)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(n * 5)]
    return ["Describe " + " ".join(words[5 * i : 5 * i + 5]) for i in range(n)]


def tiny_overrides(directory: Path, model: Path) -> list[str]:
    """Overrides that turn any recipe into a run of about a minute on a random model."""
    seeds = write_table(directory / "seeds.jsonl", texts("seed", 36))
    benign = write_table(directory / "benign.jsonl", texts("benign", 16))
    sets = {name: write_table(directory / f"{name}.jsonl", texts(name, 12)) for name in ("harmful", "edgy", "plain")}
    return [
        f"model.ref=path:{model}",
        "model.lora.r=4",
        "model.load_in_4bit=false",
        f"seeds.attack=[{{ref: '{seeds}', hazard: kind}}]",
        f"seeds.benign=['{benign}']",
        "seeds.templates=[]",
        "attack.k=8",
        "attack.tries=2",
        "attack.rewritten=1",
        "attack.fall_back=false",
        "attack.bleu_max=1.0",
        "attack.expansion_length=[0.0, 50.0]",
        "attack.safety_max=1.0",
        "attack.helpfulness_min=0.0",
        "attack.retrain_at=1",
        "attack.hidden_max_tokens=64",
        "attack.expand.sampling.max_new_tokens=8",
        "attack.expand.sft.epochs=1",
        "attack.expand.sft.max_pairs=8",
        "attack.expand.sft.batch_size=4",
        "attack.hider.sampling.max_new_tokens=8",
        "attack.hider.sft.epochs=1",
        "attack.hider.sft.max_pairs=8",
        "attack.hider.sft.batch_size=4",
        "generate.m=4",
        "generate.sampling.max_new_tokens=8",
        "judges.train={safety: [tfidf], helpfulness: [relevance], refusal: refusal-rules, coherence: coherence}",
        "judges.gate={safety: [minilm], helpfulness: [minilm-relevance], refusal: refusal-head, "
        "coherence: degeneration}",
        "judges.max_unscored=1.0",
        "prefer.std_min=0.0",
        "prefer.delta_min=0.0",
        "train.align_at=4",
        "train.epochs=1",
        "train.max_length=256",
        "loop.n_rounds=2",
        "loop.min_stage_pairs=2",
        "stage.n_harmless=4",
        "stage.n_harmful=4",
        "stage.max_new_tokens=4",
        f"evaluate.harmful={{data: ['{sets['harmful']}'], n: 10}}",
        f"evaluate.edgy={{data: ['{sets['edgy']}'], n: 10}}",
        f"evaluate.benign={{data: ['{sets['plain']}'], n: 10}}",
        "evaluate.max_new_tokens=4",
    ]
