"""Pooling over seeds: by hand, coverage with few seeds, shared prompts, and what cannot be pooled."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from selfmoa import recipes
from selfmoa.bench import Estimate, Measured, pool
from selfmoa.compare import pool_runs, pooled_csv, pooled_json
from selfmoa.errors import UsageError
from selfmoa.run import write_json, write_records, write_text
from test_compare import items

Z = 1.959963984540054


def change(value: float, error: float, n: int = 100) -> Estimate:
    return Estimate(value, value - Z * error, value + Z * error, n)


def test_by_hand() -> None:
    """DerSimonian and Laird with Hartung and Knapp's error, worked out from their formulas."""
    effects, variances = np.array([0.1, 0.4, 0.25]), np.array([0.01, 0.01, 0.02])
    fixed = 1 / variances
    mean = (fixed * effects).sum() / fixed.sum()
    q = (fixed * (effects - mean) ** 2).sum()
    tau2 = (q - 2) / (fixed.sum() - (fixed**2).sum() / fixed.sum())
    weights = 1 / (variances + tau2)
    value = (weights * effects).sum() / weights.sum()
    hk = (weights * (effects - value) ** 2).sum() / (2 * weights.sum())
    half = t.ppf(0.975, 2) * max(hk, 1 / weights.sum()) ** 0.5
    found = pool([change(e, v**0.5) for e, v in zip(effects, variances, strict=True)], [{}] * 3)
    assert tau2 > 0 and found.seed_sd == pytest.approx(tau2**0.5)
    assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))


def test_seeds_that_scatter_less_than_chance_are_no_gain() -> None:
    """No scatter at all: the plain error of the mean, and no variance below zero."""
    found = pool([change(0.2, 0.1)] * 4, [{}] * 4)
    assert (found.value, found.seed_sd, found.runs) == (pytest.approx(0.2), 0.0, 4)
    assert found.high - 0.2 == pytest.approx(t.ppf(0.975, 3) * 0.05)
    assert found.detectable == pytest.approx((t.ppf(0.975, 3) + t.ppf(0.8, 3)) * 0.05)


def test_one_run_says_nothing_about_seeds() -> None:
    nothing = Estimate(float("nan"), float("nan"), float("nan"), 0)
    found = pool([change(0.2, 0.1), nothing], [{}, {}])
    assert found.runs == 1 and np.isnan(found.value)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seeds", [2, 4])
def test_the_interval_covers_prompts_and_seeds(seeds: int, shared: bool, n: int = 60, runs: int = 400) -> None:
    """True change 0.1; prompts, seeds and their interplay scatter. With the same prompts all runs err together."""
    rng, held = np.random.default_rng(seeds), 0
    for _ in range(runs):
        common = rng.normal(0, 0.4, n)
        changes, asked = [], []
        for seed in range(seeds):
            prompts = common if shared else rng.normal(0, 0.4, n)
            values = 0.1 + rng.normal(0, 0.05) + prompts + rng.normal(0, 0.2, n)
            changes.append(change(float(values.mean()), float(values.std(ddof=1)) / n**0.5, n))
            asked.append({f"p{i if shared else (seed, i)}": float(value) for i, value in enumerate(values)})
        found = pool(changes, asked)
        held += found.low <= 0.1 <= found.high
    assert held / runs > 0.92, held / runs


def run(root: Path, seed: int, **over: object) -> Path:
    """A run whose prompts are its own: after it, fewer answers are unsafe."""
    where = root / f"seed{seed}"
    before, after = items(0.6, 0.1, 0.7, seed=seed), items(0.3, 0.1, 0.7, seed=100 + seed)
    renamed = [[_named(item, seed) for item in side] for side in (before, after)]
    write_records(where / "evaluation" / "before.parquet", renamed[0], Measured)
    write_records(where / "evaluation" / "after.parquet", renamed[1], Measured)
    write_json(where / "results.json", {"metrics": [{"name": "attack_success", "judge": over.pop("judge", "minilm")}]})
    options = [f"seed={seed}", *(f"{key}={value}" for key, value in over.items())]
    write_text(where / "recipe.yaml", recipes.dump(recipes.load("demo", options)))
    return where


def _named(item: Measured, seed: int) -> Measured:
    return replace(item, prompt_id=f"{seed}-{item.prompt_id}")


def test_runs_of_other_seeds_and_prompts_are_pooled_figure_by_figure(tmp_path: Path) -> None:
    found = pool_runs([run(tmp_path, seed) for seed in range(3)])
    figure = next(one for one in found.figures if one.metric == "attack_success")
    assert found.names == ("seed0", "seed1", "seed2") and figure.pooled.runs == 3 and figure.judge == "minilm"
    again = pool(figure.changes, [{}] * 3)
    assert (figure.pooled.low, figure.pooled.high) == (again.low, again.high), "no prompt is shared"
    assert figure.pooled.low < figure.pooled.value < 0
    told = json.loads(json.dumps(pooled_json(found), allow_nan=False))
    lines = {line["metric"]: line for line in csv.DictReader(io.StringIO(pooled_csv(found)))}
    assert told["runs"] == ["seed0", "seed1", "seed2"] and len(told["figures"]) == len(lines)
    assert float(lines["attack_success"]["change"]) == figure.pooled.value
    assert float(lines["attack_success"]["detectable"]) == figure.pooled.detectable
    assert float(lines["attack_success"]["seed1 change"]) == figure.changes[1].value
    assert "win_rate" in lines


def test_what_cannot_be_pooled_is_refused(tmp_path: Path) -> None:
    one = run(tmp_path, 0)
    with pytest.raises(UsageError, match="Got 1 run to pool"):
        pool_runs([one])
    with pytest.raises(UsageError, match="have the seed 0"):
        pool_runs([one, one])
    with pytest.raises(UsageError, match=r"different recipes \(attack\)"):
        pool_runs([one, run(tmp_path, 1, **{"attack.k": 48})])
    with pytest.raises(UsageError, match="'minilm' and by 'tfidf'"):
        pool_runs([one, run(tmp_path, 2, judge="tfidf")])
    (one / "evaluation" / "after.parquet").unlink()
    with pytest.raises(UsageError, match="holds no after side"):
        pool_runs([one, run(tmp_path, 1)])


def test_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "selfmoa", "compare", *(str(run(tmp_path, seed)) for seed in (0, 1)), "--pool"]
    done = subprocess.run([*words, "--out", str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pooled change" in done.stdout.replace("\n", " ") or "pooled" in done.stdout
    assert {path.name for path in out.iterdir()} == {"pooled.html", "pooled.json", "pooled.csv"}
    page = (out / "pooled.html").read_text()
    assert "could well be missed" in page and "could well" in done.stdout, "two seeds leave much open"
    assert "2 runs of one recipe" in page and "Attack success" in page and "[harmful prompt" not in page
