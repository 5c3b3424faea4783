"""explain: from a pair back to its seed, with every vote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from report_fixture import build_run, first_pair, pairs_of
from selfmoa.errors import UsageError
from selfmoa.report import explain, explain_text, write_report


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("run") / "demo", rounds=2)


def test_explain_follows_the_ids(run_dir: Path) -> None:
    pair = first_pair(run_dir)
    found = explain(run_dir, pair["id"])
    assert found["attack"]["id"] == pair["attack_id"]
    assert found["hit"]["reason"] == "unsafe and helpful"
    other = next(row for row in pairs_of(run_dir) if row["attack_id"] != pair["attack_id"])
    assert explain(run_dir, other["id"])["hit"] is None, "leaving the pool is not getting through"
    for side in ("chosen", "rejected"):
        assert found[side]["response"]["text"] == pair[side]
        assert {vote["response_id"] for vote in found[side]["scores"]} == {pair[f"{side}_id"]}
        assert [vote["judge"] for vote in found[side]["scores"]] == [
            "lm-state",
            "tfidf",
            "relevance",
            "refusal-rules",
        ]
    assert found["stage"] == {"stage": 1, "verdict": "accepted", "kept": True, "margin_in_loss": 0.0693}
    json.dumps(found)


def test_a_seed_in_its_other_form_leads_back_to_its_data_set(tmp_path: Path) -> None:
    run = build_run(tmp_path / "demo", rounds=1)
    pair = first_pair(run)
    assert explain(run, pair["id"])["published"] is None
    seed_id = explain(run, pair["id"])["attack"]["seed_id"]
    (run / "published.json").write_text(json.dumps({seed_id: "[published words]"}))
    assert explain(run, pair["id"])["published"] == "[published words]"
    assert "[published words]" in explain_text(run, pair["id"])


def test_text_shows_everything_unredacted_and_tame(run_dir: Path) -> None:
    text = explain_text(run_dir, first_pair(run_dir)["id"])
    for words in (
        "seed of [harmful request about X]",
        "expansion of [harmful request about X]",
        "hidden [harmful request about X]",
        "BLEU to the seed 0.110",
        "[unsafe answer about X]",
        "Rule: a safe answer beats an unsafe one",
        "raw    2.100   mapped 0.850",
        "raw   -2.400   mapped 0.150",
        "Margin in the loss (what the other objectives add): 0.0693",
        "Trained in stage 1 (accepted, kept).",
        "got through: yes (unsafe and helpful)",
    ):
        assert words in text, words
    assert "\\x1b]0;owned\\x07" in text
    assert not any(ord(char) < 32 and char != "\n" for char in text)


def test_counterfactuals_say_what_would_have_turned_the_pair(run_dir: Path) -> None:
    rows = explain(run_dir, first_pair(run_dir)["id"])["counterfactuals"]
    assert [row.get("without") or row.get("change") for row in rows] == ["lm-state", "tfidf", "apology before"]
    assert all(row["holds"] for row in rows if row["margin"] is not None)
    assert rows[-1]["margin"] == pytest.approx(0.7)
    text = explain_text(run_dir, first_pair(run_dir)["id"])
    assert "without lm-state" in text and "both answers with apology before" in text
    harmless = next(pair for pair in pairs_of(run_dir) if pair["kind"] == "benign")
    assert explain(run_dir, harmless["id"])["counterfactuals"] == []


def test_a_pair_that_rests_on_one_judge_falls_without_it(tmp_path: Path) -> None:
    made = build_run(tmp_path / "demo", rounds=1)
    pair = first_pair(made)
    path = made / "round_01" / "scores.parquet"
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        if row["response_id"] == pair["rejected_id"] and row["judge"] == "tfidf":
            row["value"] = 0.95
    pq.write_table(pa.Table.from_pylist(rows), path)
    found = {row["without"]: row for row in explain(made, pair["id"])["counterfactuals"] if "without" in row}
    assert not found["lm-state"]["holds"] and "not unsafe enough" in found["lm-state"]["why"]
    assert found["tfidf"]["holds"]


def test_abstention_is_shown_with_its_reason(run_dir: Path) -> None:
    import pyarrow.parquet as pq

    pairs = pq.read_table(run_dir / "round_01" / "pairs.parquet").to_pylist()
    texts = [explain_text(run_dir, pair["id"]) for pair in pairs]
    assert any("mapped unscored: too short" in text for text in texts)


def test_a_prefix_is_enough(run_dir: Path) -> None:
    pair = first_pair(run_dir)
    assert explain(run_dir, pair["id"][:8])["pair"] == pair


def test_untrained_pair_says_so(run_dir: Path) -> None:
    import pyarrow.parquet as pq

    last = pq.read_table(run_dir / "round_02" / "pairs.parquet").to_pylist()[-1]
    assert explain(run_dir, last["id"])["stage"] is None
    assert "Not trained on" in explain_text(run_dir, last["id"])


def test_unknown_and_ambiguous_ids(run_dir: Path) -> None:
    known = first_pair(run_dir)["id"]
    with pytest.raises(UsageError, match=f"Did you mean '{known}'"):
        explain(run_dir, known[:-1] + ("0" if known[-1] != "0" else "1"))
    with pytest.raises(UsageError, match="It has 48 pairs"):
        explain(run_dir, "zzzz")
    import pyarrow.parquet as pq

    firsts = [row["id"][0] for row in pq.read_table(run_dir / "round_01" / "pairs.parquet").to_pylist()]
    shared = max(firsts, key=firsts.count)
    with pytest.raises(UsageError, match=r"fits \d+ pairs"):
        explain(run_dir, shared)


def test_a_pair_that_a_later_stage_took_along_is_told_of_both(tmp_path: Path) -> None:
    run_dir = build_run(tmp_path / "run", rounds=1)
    later = Path(shutil.copytree(run_dir / "stage_01", run_dir / "stage_02", dirs_exist_ok=True))
    (later / "stage.json").write_text(json.dumps({"stage": 2, "verdict": "rejected", "kept": False, "n_pairs": 1}))
    pair = pq.read_table(later / "pairs.parquet").to_pylist()[0]
    found = explain(run_dir, pair["id"])["stage"]
    assert found["stage"] == 1 and found["again"] == [{"stage": 2, "verdict": "rejected", "kept": False}]
    assert "Trained in stage 1 (accepted, kept), again in 2 (rejected, not kept)." in explain_text(run_dir, pair["id"])


def test_run_without_pairs(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: bare\n")
    with pytest.raises(UsageError, match="no preference pairs yet"):
        explain(tmp_path, "abc")


def test_the_margin_of_several_objectives_is_told_by_objective(tmp_path: Path) -> None:
    directory = build_run(tmp_path / "run", rounds=1)
    stage = directory / "stage_01" / "pairs.parquet"
    further = {"chosen_further": '{"brevity": 0.75}', "rejected_further": '{"brevity": 0.25}'}
    parts = {"margin_by_objective": '{"safety": 0.0693, "brevity": -0.025}'}
    for path, added in ((stage, {**further, **parts}), (directory / "round_01" / "pairs.parquet", further)):
        rows = [{**row, **added} for row in pq.read_table(path).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), path)
    pair = pq.read_table(stage).to_pylist()[0]
    assert explain(directory, pair["id"])["stage"]["margin_by_objective"] == {"safety": 0.0693, "brevity": -0.025}
    text = explain_text(directory, pair["id"])
    assert "    safety       0.0693\n    brevity      -0.0250" in text and "brevity 0.750" in text
    page = write_report(directory).read_text()
    assert "Pairs by objective" in page and "+0.50" in page and "−0.0250" in page
    assert "Pairs by objective" not in write_report(build_run(tmp_path / "plain", rounds=1)).read_text()
