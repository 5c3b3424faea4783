"""The command line on the real model: the smoke recipe, killed and resumed. Slow; run by make test-all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from conftest import SHORT
from selfmoa.run import read_json

pytestmark = pytest.mark.slow

AS_IN_THE_STUDY = (*SHORT, "-o", "generate.m=2")
"""With these the smoke recipe gives the pairs of the study's own arm, which takes no larger m than the demo's."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "selfmoa", *words]


def pairs(run_dir: Path) -> list[dict[str, object]]:
    return [row for path in sorted(run_dir.glob("round_*/pairs.parquet")) for row in pq.read_table(path).to_pylist()]


def kill_when(run_dir: Path, pattern: str, *words: str) -> None:
    """Start (or resume) the run and SIGKILL it once a file matching the pattern exists."""
    process = subprocess.Popen(
        command("align", "smoke", "--run-dir", str(run_dir), "--quiet", "--on-existing", "resume", *words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and process.poll() is None:
        if list(run_dir.glob(pattern)):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.02)
    raise AssertionError(f"{pattern} never appeared (exit code {process.poll()})")


def test_the_run_is_complete(smoke_run: Path) -> None:
    result = read_json(smoke_run / "results.json")
    assert {"attack_success", "over_refusal"} <= {metric["name"] for metric in result["metrics"]}
    assert all(metric["n"] > 0 for metric in result["metrics"])
    assert read_json(smoke_run / "manifest.json")["finished"]
    assert pairs(smoke_run)


def test_killed_in_sampling_and_in_scoring_then_resumed_gives_the_same_pairs(smoke_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "killed"
    kill_when(run_dir, "round_01/.sampled.parts/*.parquet", *AS_IN_THE_STUDY)
    assert not (run_dir / "round_01" / "sampled.parquet").exists()
    kill_when(run_dir, "round_01/.scores.parts/*.parquet", *AS_IN_THE_STUDY)
    assert not (run_dir / "round_01" / "scores.parquet").exists()
    kill_when(run_dir, "round_01/pairs.parquet", *AS_IN_THE_STUDY)
    assert pairs(run_dir) == [pair for pair in pairs(smoke_run) if pair["round"] == 1]
    assert (run_dir / "logs" / "attempt_3.log").exists()


def test_the_finished_run_is_exported_as_the_model_that_it_is(smoke_run: Path, tmp_path: Path) -> None:
    sets = {"harmful": "set:harmbench", "edgy": "set:edgy-benign", "benign": "set:harmless-halves"}
    evaluate = {name: {"data": [ref], "n": 12} for name, ref in sets.items()} | {"max_new_tokens": 24}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"evaluate": evaluate}))
    words = ("export", str(smoke_run), "--out", str(tmp_path / "out"), "--suite", str(tmp_path / "suite.yaml"))
    done = subprocess.run(command(*words, "--quiet"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    copies = read_json(tmp_path / "out" / "export.json")["check"]["copies"]
    assert {form: copy["n"] for form, copy in copies.items()} == {"adapter": 36, "merged": 36}
    assert all(copy["same_share"] >= 0.98 for copy in copies.values())


def test_explain_and_report_read_the_finished_run(smoke_run: Path) -> None:
    pair = str(pairs(smoke_run)[0]["id"])
    for words in (("explain", str(smoke_run), pair[:8]), ("report", str(smoke_run))):
        done = subprocess.run(command(*words), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
