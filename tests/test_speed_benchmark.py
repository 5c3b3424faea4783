"""The speed benchmark: it runs, its two ways agree, and docs/speed.md says what results.json holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from selfmoa.generate import LanguageModel, Request
from selfmoa.recipe import Lora

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.speed.__main__ import main  # noqa: E402
from benchmarks.speed.plain import PlainForward  # noqa: E402
from benchmarks.speed.table import BEGIN, END, put, table  # noqa: E402
from benchmarks.speed.timing import Measured, ratio  # noqa: E402


def _results() -> dict[str, Any]:
    """The measured ones, or of the same form where nothing was measured yet."""
    path = ROOT / "benchmarks" / "results.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    row = {"ratio": 2.0, "low": 1.8, "high": 2.2, "n": 5, "ours": 8.0, "plain": 4.0, "unit": "tokens/s"}
    part = {**row, "equal": "all", "plain_batch": 4, "peak_ours_mb": 1, "peak_plain_mb": 2, "gflops": 25.0}
    return {
        "command": "make bench",
        "machine": {"cpu": "a processor", "cores": 2, "memory_gb": 8.0},
        "versions": dict.fromkeys(("torch", "transformers", "trl", "peft"), "1"),
        "threads": 2,
        "model": "a model",
        "load_average": [1.0, 2.0],
        "roofline": {"matmul_gflops": 100.0},
        "sampling": part,
        "memory": row,
        "growth": {"prompts (ms a token)": {"1x": 3.0}},
    }


def test_the_page_says_what_was_measured() -> None:
    results, page = _results(), (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    if (ROOT / "benchmarks" / "results.json").is_file():
        assert put(page, results) == page
    else:
        assert page.split(BEGIN)[1].split(END)[0].strip() == "Not measured yet.", "no figures without their source"
    written = put(page, results)
    assert written.split(BEGIN)[1].split(END)[0].strip() == table(results).strip()
    assert put(written, results) == written
    changed = {**results, "sampling": {**results["sampling"], "ours": results["sampling"]["ours"] + 1}}
    assert put(written, changed) != written


def test_the_ratio_is_above_one_where_plain_costs_more() -> None:
    found = ratio([1.0, 1.1, 0.9, 1.0, 1.0], [2.0, 2.2, 1.8, 2.1, 2.0])
    assert found["ratio"] == 2.0 and 1.7 < found["low"] <= 2.0 <= found["high"] < 2.4
    assert Measured(seconds=[2.0], work=[4.0]).costs == [0.5]


def test_the_plain_pass_is_the_same_pass(tiny_model_dir: Path) -> None:
    model = LanguageModel.load(tiny_model_dir, Lora(r=2, alpha=4))
    plain = PlainForward(model)
    prompts = ["a garden", "the quick brown fox jumps"]
    pairs = [(model.render(Request(user=prompt)), text) for prompt in prompts for text in ("a cat sleeps", "yes", "")]
    expected, got = model.logprobs(pairs, role=None), plain.logprobs(pairs, role=None, batch_size=4)
    assert [n for _, n in got] == [n for _, n in expected]
    assert [total for total, _ in got] == pytest.approx([total for total, _ in expected], abs=1e-3)
    # not the last layer: transformers gives its states after the final norm
    states = [which.states_at(pairs, layers=(1,), batch_size=4, window=2) for which in (model, plain)]
    torch.testing.assert_close(torch.tensor(states[1]), torch.tensor(states[0]), atol=1e-4, rtol=0)


def test_it_runs_and_its_ways_agree(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    words = ["--quick", "--model", str(tiny_model_dir), "--parts", "sampling", "training", "--out", str(out)]
    assert main(words) == 0
    results = json.loads(out.read_text())
    assert {"sampling", "training", "memory", "roofline"} <= set(results)
    for name in ("sampling", "training"):
        row = results[name]
        assert row["same"] and row["low"] <= row["ratio"] <= row["high"] and row["ours"] > 0
    assert str(tiny_model_dir.parent) not in out.read_text(), "no paths of the machine"
