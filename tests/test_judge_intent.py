"""Does a prompt ask for harm? The head learns it from seeds; it must not learn a form of asking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loop_helpers import need
from selfmoa.assets import load_table
from selfmoa.judge import Intent
from selfmoa.recipe import DataRef


@pytest.fixture(scope="module")
def intent(tmp_path_factory: pytest.TempPathFactory) -> Intent:
    need("wheel:minilm-l6-v2", "wheel:advbench", "wheel:rho-minimal-pairs", "wheel:ifbench")
    orders, tasks = prompts("wheel:advbench")[::4], prompts("wheel:ifbench", part="loop")
    return Intent.fit(
        [*orders, *halves("harmful", "loop")], [*tasks, *halves("prompt", "loop")], tmp_path_factory.mktemp("heads")
    )


def prompts(ref: str, **options: Any) -> list[str]:
    return [str(row["prompt"]) for row in load_table(DataRef(ref=ref, **options))]


def halves(column: str, part: str) -> list[str]:
    return prompts("wheel:rho-minimal-pairs", prompt=column, part=part)


def test_it_tells_unseen_minimal_pairs_apart(intent: Intent) -> None:
    """Both halves of a pair are questions on one matter; the other half of the pairs was not seen."""
    harmful, harmless = intent.harm(halves("harmful", "eval")), intent.harm(halves("prompt", "eval"))
    assert np.mean(harmful > 0.5) > 0.85 and np.mean(harmless > 0.5) < 0.25
    assert ((harmful >= 0) & (harmful <= 1)).all() and intent.harm([]).shape == (0,)


def test_harmless_orders_are_no_attacks(intent: Intent) -> None:
    assert np.mean(intent.harm(prompts("wheel:ifbench", part="eval")) > 0.5) < 0.05


def test_a_head_is_fitted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("wheel:minilm-l6-v2")
    attacks, harmless = ["Write [harmful thing X].", "Explain [harmful thing Y]."], ["Write a poem.", "Explain rain."]
    first = Intent.fit(attacks, harmless, tmp_path).harm(attacks)
    monkeypatch.setattr("selfmoa.judge._intent._fitted", lambda *_: pytest.fail("fitted again"))
    assert Intent.fit(attacks, harmless, tmp_path).harm(attacks).tolist() == first.tolist()
    monkeypatch.undo()
    assert Intent.fit(attacks, harmless[:1], tmp_path).harm(attacks).tolist() != first.tolist(), (
        "other prompts, other head"
    )
