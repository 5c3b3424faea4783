"""The shipped study on the real model, every arm tiny: what its run (`smoke_study`) left behind. Slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import SHARED_DATA
from selfmoa.run import read_json

pytestmark = pytest.mark.slow

PEOPLE = SHARED_DATA / "hh-rlhf-harmless-test" / "test.jsonl.gz"
ARMS = {"original", "paper", "ours", "static_dpo"} | ({"human_modpo"} if PEOPLE.is_file() else set())


def costs(study: Path) -> dict[str, dict[str, Any]]:
    return {arm: read_json(study / "summaries" / f"{arm}-0.json")["cost"] for arm in ARMS}


def test_every_arm_finishes_and_one_without_its_data_says_which(smoke_study: Path) -> None:
    told = {run["arm"]: (run["status"], run["reason"]) for run in read_json(smoke_study / "study.json")["runs"]}
    if "human_modpo" not in ARMS:
        status, reason = told.pop("human_modpo")
        assert status == "not run" and "hh-rlhf-harmless-test" in reason
    assert told == dict.fromkeys(ARMS, ("finished", ""))
    assert {path.stem for path in (smoke_study / "summaries").glob("*.json")} == {f"{arm}-0" for arm in ARMS}
    assert "Attack success" in (smoke_study / "study.html").read_text()


def test_the_untrained_model_is_asked_once_for_all_arms(smoke_study: Path) -> None:
    befores = [smoke_study / f"{arm}-0" / "evaluation" / "before.parquet" for arm in ARMS]
    assert len({path.stat().st_ino for path in befores}) == 1


def test_every_arm_is_charged_what_it_trained(smoke_study: Path) -> None:
    found = costs(smoke_study)
    assert found["original"]["trained_tokens"] == 0 < found["ours"]["trained_tokens"]
    assert found["static_dpo"]["pairs"] <= found["ours"]["pairs"]
    assert "human_modpo" not in found or found["human_modpo"]["pairs"] == 24
