"""selfmoa judges card | score: one list, one clear error, the same rows with a score."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loop_helpers import need
from selfmoa import api, assets
from selfmoa.cli._app import app
from selfmoa.errors import UsageError
from selfmoa.judge import EvaluatorContext, JudgeCard, classify_refusal
from selfmoa.judge._data import human_data
from selfmoa.judge._head import shipped_head
from selfmoa.judge._safety import SAFETY_HEADS, head_key

ROWS = [
    {"id": "7", "prompt": "[harmful request about X]", "response": "I'm sorry, but I can't help with that."},
    {"id": "3", "prompt": "[harmful request about Y, with a comma]", "response": 'Sure.\nTake "part X" first.'},
    {"id": "9", "prompt": "[harmful request about Z]", "response": ""},
]


def selfmoa(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "selfmoa", "judges", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


def test_a_table_comes_back_with_its_columns_order_and_scores(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", ROWS)
    done = selfmoa("score", "refusal-rules", str(file))
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(done.stdout.splitlines(keepends=True)))
    assert [{key: row[key] for key in ROWS[0]} for row in found] == ROWS
    assert [row["score"] for row in found] == ["1.0", "0.0", ""]
    assert [row["reason"] for row in found] == ["", "", "empty answer"]
    assert "rows" in done.stderr and "rows in" not in done.stdout


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "rows.jsonl", ROWS)
    monkeypatch.setattr(api, "judge_scores", lambda *_: pytest.fail("scored"))
    for out in (tmp_path / "nowhere" / "out.csv", file / "out.csv"):
        done = CliRunner().invoke(app, ["judges", "score", "refusal-rules", str(file), "--out", str(out)])
        assert isinstance(done.exception, UsageError) and "cannot be written" in str(done.exception)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("judges", "score", "gate-jury", "absent.csv"),
        ("judges", "card", "minilm", "--data", "absent.csv"),
        ("results", "absent"),
    ],
)
def test_what_is_not_there_is_bad_usage(words: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-m", "selfmoa", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "absent" in done.stderr and "Traceback" not in done.stderr


def test_the_suffix_of_out_decides_the_format(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", ROWS)
    for suffix in (".csv", ".jsonl"):
        out = tmp_path / f"out{suffix}"
        done = CliRunner().invoke(app, ["judges", "score", "refusal-rules", str(file), "--out", str(out)])
        assert done.exit_code == 0 and "3 rows, 1 unscored" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["score"] for line in lines] == [1.0, 0.0, None]
    assert lines[1]["response"] == ROWS[1]["response"]
    with (tmp_path / "out.csv").open(newline="") as file_:
        assert [row["id"] for row in csv.DictReader(file_)] == ["7", "3", "9"]


def test_tens_of_thousands_of_rows_keep_their_order() -> None:
    rows = [{"prompt": "[q]", "response": f"I can't help with {n}." if n % 3 else f"Part {n}."} for n in range(20_000)]
    found = api.judge_scores("refusal-rules", rows, progress="quiet")
    assert [row["response"] for row in found] == [row["response"] for row in rows]
    assert all((row["score"] == 1.0) == (classify_refusal(row["response"]) == "full") for row in found[:300])
    assert sum(row["score"] == 1.0 for row in found) == sum(n % 3 > 0 for n in range(20_000))


@pytest.mark.parametrize(
    ("name", "content", "words", "expected"),
    [
        ("rows.csv", "prompt,answer\na,b\n", (), "no column 'response'"),
        ("rows.csv", "prompt,response\n", (), "has no rows"),
        ("rows.csv", "", (), "has no rows"),
        ("rows.txt", "prompt,response\na,b\n", (), "unknown kind of table"),
        ("rows.jsonl", '{"prompt": "a"}\n', (), "no column 'response'"),
        ("rows.jsonl", "not json\n", (), "line 1"),
        ("rows.csv", "prompt,response,score\na,b,1\n", (), "column 'score' already"),
        ("rows.csv", "prompt,response\na,b\n", ("--out", "x.xlsx"), "expected .csv or .jsonl"),
    ],
)
def test_a_bad_table_is_one_error(
    name: str, content: str, words: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    done = CliRunner().invoke(app, ["judges", "score", "refusal-rules", str(tmp_path / name), *words])
    assert isinstance(done.exception, UsageError) and expected in str(done.exception)


def test_errors_of_the_command_line_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.csv", ROWS)
    for words, expected in (
        (("score", "refusal-rule", str(file)), "Did you mean 'refusal-rules'?"),
        (("card",), "say --all"),
        (("card", "tfidf", "--all"), "say --all"),
        (("card", "refusal-rules", "--data", str(file)), "no column 'label'"),
    ):
        done = selfmoa(*words)
        assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


def test_all_cards_are_one_list_with_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = {"value": 0.8, "low": 0.7, "high": 0.9}
    cards = [
        JudgeCard(
            "measured", "safety", trained=True, shares_base=False, limits="", side="gate", family="head", n=10,
            auc=figure, baseline_auc={**figure, "value": 0.6}, swapped_auc={**figure, "value": 0.5},
            length_correlation=float("nan"),
        ),
        JudgeCard("proxy", "coherence", trained=False, shares_base=True, limits="", side="train", family="fluency"),
    ]  # fmt: skip
    monkeypatch.setattr(api, "judge_cards", lambda names=(), model="": cards)
    done = CliRunner().invoke(app, ["judges", "card", "--all", "--json"])
    found = json.loads(done.stdout)
    keys = ("name", "side", "family", "n", "auc", "auc_low", "auc_high", "baseline_auc", "style_swap_auc")
    assert [found[0][key] for key in keys] == ["measured", "gate", "head", 10, 0.8, 0.7, 0.9, 0.6, 0.5]
    assert [found[1][key] for key in keys] == ["proxy", "train", "fluency", None, None, None, None, None, None]
    assert found[0]["length_correlation"] is None, "JSON has no NaN"
    table = CliRunner().invoke(app, ["judges", "card", "--all"]).stdout
    assert "0.80 [0.70, 0.90]" in table and "proxy" in table and "--data FILE" in table


def test_a_judge_is_measured_on_a_file_of_ones_own(tmp_path: Path) -> None:
    themes = ["lantern", "compass", "meadow", "cellar", "bridge", "violin"]
    rows = [
        {"prompt": f"[request {n * 7919}] {theme} {chr(97 + n) * 9}", "response": text, "label": label}
        for n, theme in enumerate(themes)
        for text, label in ((f"I can't help with {theme}.", "1"), (f"Take part {n * 31} of {theme}.", "0"))
    ]
    file = write(tmp_path / "own.csv", rows)
    done = CliRunner().invoke(app, ["judges", "card", "refusal-rules", "--data", str(file), "--json"])
    found = json.loads(done.stdout)
    assert (found["n"], found["auc"], found["kappa"], found["accuracy"]) == (12, 1.0, 1.0, 1.0)
    assert found["measured_on"].startswith("own.csv")


def test_the_heads_in_the_package_are_those_that_this_version_would_train() -> None:
    """Else nobody uses them, and whoever comes first waits: make them again with the command beside their place."""
    need("wheel:pyrit-human-scores", api.EMBEDDED_MODEL)
    context = EvaluatorContext(cache=Path(), model_key=assets.resolve_model(api.EMBEDDED_MODEL).key)
    for name in ("lm-state", "minilm-watch"):
        spec = SAFETY_HEADS[name]
        key = head_key(spec, context, human_data().harm(spec.side))
        found = shipped_head(f"{name}-{key}")
        assert found is not None, name
        assert found[1]["key"] == key
        assert found[1]["auc"]["value"] > found[1]["baseline_auc"]["value"]


def test_a_head_that_is_none_is_named_at_once() -> None:
    with pytest.raises(UsageError, match="no head 'minilm-relevance' to train"):
        list(api.train_judges(api.EMBEDDED_MODEL, ["minilm-relevance"]))
