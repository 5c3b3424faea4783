"""Do 60 human labels mend a judge? The refusal rate of XSTest's five models by regular expressions, against people.

    python benchmarks/ppi_xstest.py ../shared/data/xstest [--labels 60] [--draws 1000] [--json]

For each model the judge (`refusal-rules`) reads all 450 answers and people's labels of a few random ones are shown.
Three estimates of the rate of full refusals are compared with what people said of all 450:
uncorrected = the judge's rate with its Wilson interval; borrowed = corrected with the sensitivity and specificity
that the judge has on the other four models; PPI++ = `selfmoa.bench.ppi_mean` on the labelled few.
Data: https://github.com/paul-rottger/exaggerated-safety (completions with two annotators and a final label).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from selfmoa.bench import Stratum, ppi_mean, proportion, rogan_gladen
from selfmoa.judge import classify_refusal

MODELS = ("gpt4", "llama2new", "llama2orig", "mistralguard", "mistralinstruct")


@dataclass(frozen=True)
class Row:
    """One model; biases are signed (estimate - people's rate), coverage is the share of intervals that hold it."""

    model: str
    n: int
    human: float
    sensitivity: float
    specificity: float
    uncorrected_bias: float
    uncorrected_covers: bool
    borrowed_bias: float
    labels: int
    ppi_bias: float
    ppi_coverage: float
    ppi_width: float
    published_coverage: float
    """The same with the interval as published: normal quantile, no small-sample care."""
    labels_only_width: float
    """Mean width of an interval from the labels alone (t interval)."""


def read(directory: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    """(people, judge): does each answer refuse in full?"""
    with (directory / f"xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    human = np.array([row["final_label"].startswith("2") for row in rows], dtype=float)
    judge = np.array([classify_refusal(row["completion"]) == "full" for row in rows], dtype=float)
    return human, judge


def rates(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The judge's sensitivity and specificity over some models."""
    human = np.concatenate([pair[0] for pair in pairs]).astype(bool)
    judge = np.concatenate([pair[1] for pair in pairs])
    return float(judge[human].mean()), float(1 - judge[~human].mean())


def simulate(directory: Path, *, labels: int = 60, draws: int = 1000, seed: int = 0) -> list[Row]:
    """One row a model."""
    data = {model: read(directory, model) for model in MODELS}
    return [_simulate(model, data, labels, draws, seed) for model in MODELS]


def _simulate(model: str, data: dict[str, tuple[np.ndarray, np.ndarray]], labels: int, draws: int, seed: int) -> Row:
    human, judge = data[model]
    truth, observed = float(human.mean()), float(judge.mean())
    sensitivity, specificity = rates([data[model]])
    borrowed = rogan_gladen(observed, *rates([data[other] for other in MODELS if other != model]))
    rng = np.random.default_rng(seed)
    found = np.empty((draws, 5))
    for number in range(draws):
        order = rng.permutation(len(human))
        shown, rest = order[:labels], order[labels:]
        strata = [Stratum(human[shown], judge[shown], judge[rest])]
        made, published = (ppi_mean(strata, small_sample=careful).estimate for careful in (True, False))
        alone = ppi_mean([Stratum(human[shown], np.zeros(labels), np.zeros(len(rest)))]).estimate
        found[number] = (
            made.value,
            made.low <= truth <= made.high,
            made.high - made.low,
            published.low <= truth <= published.high,
            alone.high - alone.low,
        )
    plain = proportion(int(judge.sum()), len(judge))
    value, covered, width, published_covered, alone_width = found.mean(0)
    return Row(
        model=model,
        n=len(human),
        human=truth,
        sensitivity=sensitivity,
        specificity=specificity,
        uncorrected_bias=observed - truth,
        uncorrected_covers=plain.low <= truth <= plain.high,
        borrowed_bias=(observed if borrowed is None else borrowed) - truth,
        labels=labels,
        ppi_bias=float(value - truth),
        ppi_coverage=float(covered),
        ppi_width=float(width),
        published_coverage=float(published_covered),
        labels_only_width=float(alone_width),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows for a terminal."""
    lines = [
        "                                     | uncorrected   | borrowed | PPI++                            | labels",
        "model            people   sens  spec | bias   covers | bias     | bias    covers width (published) | width",
    ]
    for row in rows:
        lines.append(
            f"{row.model:<16} {row.human:6.3f}   {row.sensitivity:4.2f}  {row.specificity:4.2f} | "
            f"{row.uncorrected_bias:+.3f} {'yes' if row.uncorrected_covers else 'no':>6} | "
            f"{row.borrowed_bias:+.3f}   | "
            f"{row.ppi_bias:+.4f} {row.ppi_coverage:6.3f} {row.ppi_width:.3f} ({row.published_coverage:9.3f}) | "
            f"{row.labels_only_width:.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder with xstest_v2_completions_*.csv")
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = simulate(chosen.directory, labels=chosen.labels, draws=chosen.draws, seed=chosen.seed)
    if chosen.json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=1)
    else:
        print(f"{chosen.labels} labels a model, {chosen.draws} draws")
        print(table(rows))


if __name__ == "__main__":
    main()
