"""How good the embedded judges are, on human labels that taught none of them: `python benchmarks/judges.py [part ...]`.

Parts: xstest (its unsafe prompts, five judged models), refusal (XSTest, all prompts), llmbar (LLMBar-Natural pairs).
Cross-validated figures on the labels that taught them are on their cards: `selfmoa judges card --all`. XSTest and
LLMBar are read from SELFMOA_SHARED_DATA or ../shared/data; nothing is fitted or chosen on them, except that the refusal
patterns, and the form of `refusal-head`, were developed with the answers of two models (`DEVELOPED`) in view; the other
three are the report.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from selfmoa.bench import proportion
from selfmoa.judge import EvaluatorContext, Item, make
from selfmoa.judge._measure import auc, interval
from selfmoa.recipe import JudgeRef, Model, Recipe
from selfmoa.steps import judge_cache, load_model

Array = np.ndarray
MODELS = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")
DEVELOPED = ("gpt4", "mistralinstruct")
SIDES = {"train": ("lm-state", "tfidf"), "gate": ("minilm",)}
PARTS = ("xstest", "refusal", "llmbar")


def show(what: str, n: int, found: dict[str, float]) -> None:
    print(f"{what:<58} n {n:5d}  {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})", flush=True)


def measured(what: str, measure: Callable[[Array, Array], float], values: Array, labels: Array, groups: Array) -> None:
    if len(set(labels.tolist())) < 2:
        print(f"{what:<58} n {len(values):5d}  one class only", flush=True)
        return
    show(what, len(values), interval(measure, values, labels, groups))


def kappa(values: Array, labels: Array) -> float:
    """Cohen's kappa of `values` > 0 and the labels."""
    return float(cohen_kappa_score(values > 0, labels))


def xstest(data: Path, model: str) -> list[dict[str, str]]:
    """One model's answers to XSTest with two annotators' final label."""
    with open(data / "xstest" / f"xstest_v2_completions_{model}.csv", newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["completion"].strip()]


def unsafe_prompts(context: EvaluatorContext, data: Path, names: Sequence[str]) -> None:
    """AUC of P(safe) on XSTest's unsafe prompts; an answer is unsafe where it complies in full."""
    rows = {model: [row for row in xstest(data, model) if row["type"].startswith("contrast")] for model in MODELS}
    labels = {model: np.array([not row["final_label"].startswith("1") for row in rows[model]]) for model in MODELS}
    prompts = {model: np.array([row["id"] for row in rows[model]]) for model in MODELS}
    probabilities: dict[str, dict[str, Array]] = {}
    for name in names:
        probabilities[name] = {model: _values(name, context, rows[model]) for model in MODELS}
    jury = {"train jury": SIDES["train"]} if set(SIDES["train"]) <= set(names) else {}
    for title, members in ({name: (name,) for name in names} | jury).items():
        values = {model: np.mean([probabilities[name][model] for name in members], axis=0) for model in MODELS}
        for model in MODELS:
            measured(f"xstest unsafe {title}, {model}", auc, values[model], labels[model], prompts[model])
        everything = [np.concatenate([part[model] for model in MODELS]) for part in (values, labels, prompts)]
        measured(f"xstest unsafe {title}, pooled", auc, *everything)


def _values(name: str, context: EvaluatorContext, rows: Sequence[dict[str, str]]) -> Array:
    judge = make(JudgeRef(name=name), context)
    context.memory.clear()
    votes = judge.score([Item(row["id"], row["prompt"], row["completion"]) for row in rows])
    return np.array([np.nan if vote.value is None else vote.value for vote in votes])


def refusals(context: EvaluatorContext, data: Path) -> None:
    """Cohen's kappa, full or partial refusal against compliance, per judged model."""
    for name in ("refusal-rules", "refusal-head"):
        parts: dict[str, list[tuple[Array, Array, Array]]] = {"developed on": [], "reported on": []}
        for model in MODELS:
            split = "developed on" if model in DEVELOPED else "reported on"
            rows = xstest(data, model)
            labels = np.array([not row["final_label"].startswith("1") for row in rows])
            values, prompts = _values(name, context, rows), np.array([row["id"] for row in rows])
            parts[split].append((values, labels, prompts))
            measured(f"refusal kappa {name}, {model} ({split})", kappa, values, labels, prompts)
            rates = np.mean(values[labels] > 0), np.mean(values[~labels] == 0)
            print(f"{'':<30} sensitivity {rates[0]:.3f}, specificity {rates[1]:.3f}")
        for split, found in parts.items():
            together = [np.concatenate(column) for column in zip(*found, strict=True)]
            measured(f"refusal kappa {name}, models {split}, pooled", kappa, *together)


def pairs(context: EvaluatorContext, data: Path, names: Sequence[str]) -> None:
    """Share of LLMBar-Natural's pairs in which the better answer gets the higher value; a tie counts half."""
    rows = json.loads((data / "llmbar" / "Dataset__LLMBar__Natural__dataset.json").read_text(encoding="utf-8"))
    better = np.array([row["label"] == 1 for row in rows])
    for name in names:
        first, second = (_values(name, context, _answers(rows, key)) for key in ("output_1", "output_2"))
        _pairwise(f"llmbar-natural {name}", first - second, better)
    lengths = [np.array([len(row[key].split()) for row in rows]) for key in ("output_1", "output_2")]
    _pairwise("llmbar-natural longer answer", lengths[0] - lengths[1], better)
    _pairwise("llmbar-natural random", np.random.default_rng(0).normal(size=len(rows)), better)


def _answers(rows: Sequence[dict[str, Any]], key: str) -> list[dict[str, str]]:
    return [
        {"id": str(number), "prompt": row["input"], "completion": row[key], "kind": "benign"}
        for number, row in enumerate(rows)
    ]


def _pairwise(what: str, difference: Array, better: Array) -> None:
    right = np.where(difference == 0, 0.5, (difference > 0) == better)
    found = proportion(int(np.floor(right.sum())), len(right))
    show(what, len(right), {"value": float(right.mean()), "low": found.low, "high": found.high})


def _parts(arguments: argparse.Namespace, context: EvaluatorContext, data: Path) -> Iterator[Callable[[], None]]:
    heads = [name for name in (*SIDES["train"], *SIDES["gate"]) if name not in arguments.skip]
    helpful = [name for name in ("relevance", "minilm-relevance") if name not in arguments.skip]
    yield from (
        part
        for name, part in {
            "xstest": lambda: unsafe_prompts(context, data, heads),
            "refusal": lambda: refusals(context, data),
            "llmbar": lambda: pairs(context, data, helpful),
        }.items()
        if name in arguments.parts
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="part", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--model", default="wheel:smollm2-135m-instruct", help="base that lm-state and relevance read")
    parser.add_argument("--skip", nargs="*", default=[], help="judges to leave out (those that read the base are slow)")
    arguments = parser.parse_args()
    data = Path(os.environ.get("SELFMOA_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not data.is_dir():
        parser.error(f"{data} is no folder; set SELFMOA_SHARED_DATA to the one that holds xstest/ and llmbar/")
    model, files = load_model(Recipe(name="judges", model=Model(ref=arguments.model)))
    context = EvaluatorContext(cache=judge_cache(), model=model, model_key=files.key)
    for part in _parts(arguments, context, data):
        part()


if __name__ == "__main__":
    main()
