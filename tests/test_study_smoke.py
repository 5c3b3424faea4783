"""The shipped study on the real model, every arm tiny: about 12 minutes on 2 cores, too long for make test-all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selfmoa import assets, recipes
from selfmoa.run import read_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("SELFMOA_TEST_STUDY"), reason="takes 12 minutes: set SELFMOA_TEST_STUDY=1"),
]


@pytest.fixture(scope="module", autouse=True)
def embedded_assets() -> None:
    missing = [info.ref for info in assets.plan(recipes.load("smoke")) if not assets.is_cached(info.ref)]
    if missing:
        pytest.skip(f"{missing[0]} not cached: run selfmoa assets pull")


def test_the_main_study_runs_end_to_end(tmp_path: Path) -> None:
    data = os.environ.get("SELFMOA_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    out = tmp_path / "out"
    words = ["study", "main", "--smoke", "--quiet", "--out", str(out)]
    words += ["-o", "evaluate.max_new_tokens=8", "-o", "stage.n_harmless=8", "-o", "stage.steps=[1.0]"]
    done = subprocess.run(
        [sys.executable, "-m", "selfmoa", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SELFMOA_DATA": data},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = {run["arm"]: (run["status"], run["reason"]) for run in read_json(out / "study.json")["runs"]}
    assert set(told) == {"original", "paper", "ours", "static_dpo", "human_modpo"}
    if not (Path(data) / "hh-rlhf-harmless-test" / "test.jsonl.gz").is_file():
        status, reason = told.pop("human_modpo")
        assert status == "not run" and "hh-rlhf-harmless-test" in reason
    assert all(found == ("finished", "") for found in told.values()), told
    assert {path.stem for path in (out / "summaries").glob("*.json")} == {f"{arm}-0" for arm in told}
    befores = [out / f"{arm}-0" / "evaluation" / "before.parquet" for arm in told]
    assert len({path.stat().st_ino for path in befores}) == 1, "the untrained model is asked once"
    costs = {arm: read_json(out / "summaries" / f"{arm}-0.json")["cost"] for arm in told}
    assert costs["original"]["trained_tokens"] == 0 < costs["ours"]["trained_tokens"]
    assert costs["static_dpo"]["pairs"] <= costs["ours"]["pairs"]
    assert "Attack success" in (out / "study.html").read_text() and "Attack success" in done.stdout
    if costs.get("human_modpo"):
        assert costs["human_modpo"]["pairs"] == 24
