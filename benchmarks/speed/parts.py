"""What is measured: sampling, scoring, training, and how sampling's cost grows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed import plain
from benchmarks.speed.timing import Measured, alternate, flops

from selfmoa.generate import LanguageModel, Request
from selfmoa.judge import EvaluatorContext, Item, make
from selfmoa.recipe import Recipe, Sampling, Train
from selfmoa.records import Pair, Score
from selfmoa.train import align
from selfmoa.train._adapter import lent, quiet  # the same frame around both trainers
from selfmoa.train._align import _rows
from selfmoa.train._margins import objective_scores

__all__ = ["Part", "growth", "sampling", "scoring", "training"]


@dataclass
class Part:
    """Both ways' repetitions of one part."""

    ours: Measured
    plain: Measured
    unit: str
    equal: str
    """How far the two ways' results agree, measured."""
    same: bool
    plain_batch: int
    gflop: float
    """Of one repetition of ours."""


def _best(way: Callable[[int], float], sizes: Sequence[int]) -> int:
    """The batch size at which the plain way is cheapest, each tried once, warm."""
    costs = {}
    for size in sizes:
        start = time.perf_counter()
        work = way(size)
        costs[size] = (time.perf_counter() - start) / work
    return min(costs, key=lambda size: costs[size])


def sampling(model: LanguageModel, prompts: Sequence[str], recipe: Recipe, repeats: int, sizes: Sequence[int]) -> Part:
    """Ours against `generate`: the recipe's m, temperature, nucleus and length, the target's adapter active."""
    m, drawn = recipe.generate.m, recipe.generate.sampling
    greedy = Sampling(temperature=0.0, max_new_tokens=drawn.max_new_tokens)

    def ours(number: int) -> float:
        requests = [Request(user=prompt) for prompt in prompts for _ in range(m)]
        found = model.generate(requests, drawn, role="target", seed=number, batch_size=recipe.generate.batch_size)
        return max(1, sum(text.n_tokens for text in found))

    def theirs(number: int, size: int) -> float:
        torch.manual_seed(number)
        found = plain.generate(model, prompts, drawn, m=m, batch_size=size, role="target")
        return max(1, sum(map(len, found)))

    texts = [text.text for text in model.generate([Request(user=p) for p in prompts], greedy, role="target", seed=0)]
    rows = plain.generate(model, prompts, greedy, m=1, batch_size=1, role="target")
    same = sum(
        text == model.tokenizer.decode(row, skip_special_tokens=True) for text, row in zip(texts, rows, strict=True)
    )
    size = _best(lambda size: theirs(0, size), sizes)
    gflop = flops(ours)
    found = alternate(ours, lambda number: theirs(number, size), repeats)
    equal = f"greedy text identical on {same} of {len(prompts)} prompts"
    return Part(*found, "tokens/s", equal, same == len(prompts), size, gflop)


def scoring(
    model: LanguageModel,
    items: Sequence[Item],
    recipe: Recipe,
    made: EvaluatorContext,
    repeats: int,
    sizes: Sequence[int],
) -> Part:
    """Ours, as a round of the loop scores (steps/_judge.py), against each training judge alone in arrival order."""
    side = recipe.judges.train
    refs = (side.refusal, *side.safety, side.coherence, *side.helpfulness)
    context = replace(made, model=model, batch_size=recipe.judges.batch_size, memory={})
    judges = [make(ref, context) for ref in refs]
    alone_model: Any = plain.PlainForward(model)
    alone = replace(made, model=alone_model, batch_size=2 * max(sizes), memory={})
    alone_judges = [make(ref, alone) for ref in refs]
    chunk = recipe.judges.batch_size * 2

    def ours(_: int) -> list[Score]:
        votes: list[Score] = []
        for start in range(0, len(items), chunk):
            context.memory.clear()
            with context.reading_ahead():
                votes += [vote for judge in judges for vote in judge.score(items[start : start + chunk])]
        return votes

    def theirs(size: int) -> list[Score]:
        votes: list[Score] = []
        for judge in alone_judges:
            for start in range(0, len(items), size):
                alone.memory.clear()  # each judge is called alone, and knows nothing of what another asked
                votes += judge.score(items[start : start + size])
        return votes

    size = _best(lambda size: len(theirs(size)), sizes)
    one = {(vote.judge, vote.response_id): vote.value for vote in ours(0)}
    other = {(vote.judge, vote.response_id): vote.value for vote in theirs(size)}
    gaps = [abs((one[key] or 0.0) - (other[key] or 0.0)) for key in one]
    gflop = flops(lambda number: len(ours(number)))
    found = alternate(lambda number: len(ours(number)), lambda _: len(theirs(size)), repeats)
    equal = f"largest difference of {len(gaps)} scores {max(gaps):.1e}"
    return Part(*found, "scores/s", equal, max(gaps) <= 1e-3, size, gflop)


def training(model: LanguageModel, pairs: Sequence[Pair], settings: Train, repeats: int) -> Part:
    """Ours against TRL's DPOTrainer: plain DPO on the same pairs in the same order, from the same fresh adapter."""
    margins = objective_scores(pairs, settings)
    rows = [row for _, row in _rows(model, pairs, margins, settings, set())]
    plain_rows = [{name: row[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in rows]
    losses: dict[str, list[float]] = {}

    def ours(_: int) -> float:
        model.add_role("target", seed=0)
        with tempfile.TemporaryDirectory() as place:
            outcome = align(model, pairs, settings, directory=Path(place), seed=0)
        losses["ours"] = [row["loss"] for row in outcome.metrics]
        return len(pairs)

    def theirs(_: int) -> float:
        model.add_role("target", seed=0)
        with tempfile.TemporaryDirectory() as place, lent(model, "target"), quiet():
            losses["plain"] = plain.train(model, plain_rows, settings, Path(place), 0)
        return len(pairs)

    gflop = flops(ours)
    theirs(0)  # warm, as ours is now
    found = alternate(ours, theirs, repeats)
    steps = len(losses["plain"])
    gap = max(abs(x - y) for x, y in zip(losses["ours"], losses["plain"], strict=True))
    equal = f"largest difference of the loss over {steps} steps {gap:.1e}"
    return Part(*found, "pairs/s", equal, gap <= 1e-4, settings.micro_batch_size, gflop)


def growth(model: LanguageModel, prompts: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds a sampled token at 1x, 2x, 4x the prompts and 1x, 2x, 4x the length, medians; weights by roles."""

    def cost(n: int, length: int) -> float:
        drawn = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=length)
        requests = [Request(user=prompt) for prompt in (prompts * (n // len(prompts) + 1))[:n] for _ in range(2)]
        costs = []
        for number in range(repeats):
            start = time.perf_counter()
            found = model.generate(requests, drawn, role="target", seed=number)
            costs.append((time.perf_counter() - start) / max(1, sum(text.n_tokens for text in found)))
        return round(1000 * sorted(costs)[len(costs) // 2], 3)

    return {
        "prompts (ms a token)": {f"{times}x": cost(8 * times, 24) for times in (1, 2, 4)},
        "length (ms a token)": {f"{times}x": cost(8, 16 * times) for times in (1, 2, 4)},
        "roles (MB of weights)": _weights(model),
    }


def _weights(model: LanguageModel) -> dict[str, float]:
    """MB of weights that one trained role needs, and all four: the reference is the base, the others are adapters."""

    def size(weights: Iterable[torch.Tensor]) -> float:
        return sum(one.numel() * one.element_size() for one in weights) / 2**20

    for role in ("expander", "hider"):
        model.add_role(role)
    attackers = sum(size(model.adapter_parameters(role).values()) for role in ("expander", "hider"))
    everything = size(model.net.parameters())
    return {"target on the base": round(everything - attackers, 1), "and expander and hider": round(everything, 1)}
