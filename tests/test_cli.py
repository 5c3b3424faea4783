"""The command line: fast help, exit codes, one clear error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfmoa import recipes
from selfmoa.errors import ModelError


def selfmoa(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfmoa", *words], capture_output=True, text=True, check=False, cwd=cwd
    )


def test_help_is_fast_and_imports_no_torch() -> None:
    code = "import sys, selfmoa.cli; from selfmoa.cli._app import app; print('torch' in sys.modules)"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert selfmoa("--help").returncode == 0
        times.append(time.perf_counter() - start)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert min(times) < 1.5, "half a second on an idle machine; tests share it"


COMMANDS = [
    "align",
    "plan",
    "evaluate",
    "capability",
    "compare",
    "gate",
    "export",
    "front",
    "report",
    "explain",
    "import",
    "recipes",
    "judges",
    "assets",
    "suites",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = selfmoa(command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("align", "dmo"), "Did you mean 'demo'?"),
        (("align", "demo", "-o", "attack.kk=3", "--dry-run"), "Did you mean 'k'?"),
        (("align", "demo", "-o", "train.loss_type=[ipo]", "--dry-run"), "cannot carry margins"),
        (("recipes", "validate", "absent.yaml"), "There is no recipe file"),
        (("align", "no/such/model", "--quiet"), "no/such/model"),
        (("evaluate", "no/such/model", "--quiet"), "no/such/model"),
        (("capability", "no/such/model", "--adapter", "no/such/adapter", "--quiet"), "no/such/adapter"),
        (("report", "no/such/run"), "no/such/run"),
        (("export", "no/such/run", "--out", "out"), "no/such/run"),
        (("front", "no/such/run", "--out", "out"), "no/such/run"),
        (("explain", "no/such/run", "abc"), "no/such/run"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    done = selfmoa(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_recipes_show_is_a_recipe_again(tmp_path: Path) -> None:
    done = selfmoa("recipes", "show", "demo", "-o", "attack.k=7")
    (tmp_path / "mine.yaml").write_text(done.stdout)
    assert recipes.load(tmp_path / "mine.yaml") == recipes.load("demo", ["attack.k=7"])


def test_dry_run_says_what_would_be_done_and_makes_nothing(tmp_path: Path) -> None:
    done = selfmoa("align", "demo", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0 and "answers a round" in done.stdout and "wheel:advbench" in done.stdout
    assert not list(tmp_path.iterdir())


def test_assets_list_as_json() -> None:
    rows = json.loads(selfmoa("assets", "list", "--json").stdout)
    assert {"ref", "licence", "source", "hash", "cached"} <= rows[0].keys() and len(rows) >= 12


def test_ctrl_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    from selfmoa.cli._runs import stoppable

    with pytest.raises(typer.Exit) as stopped, stoppable():
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130 and "--on-existing resume" in capsys.readouterr().err


def test_an_existing_run_is_not_touched(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "demo"
    run.mkdir(parents=True)
    (run / "thesis.txt").write_text("mine")
    done = selfmoa("align", "demo", "--quiet", cwd=tmp_path)
    assert done.returncode == 2 and "--on-existing resume" in done.stderr
    assert (run / "thesis.txt").read_text() == "mine"


def test_a_directory_that_is_no_model_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    for words in (("align", "notes"), ("evaluate", "notes", "--suite", "quick"), ("evaluate", "nothing")):
        done = selfmoa(*words, cwd=tmp_path)
        assert done.returncode == ModelError.exit_code, done.stderr
        assert ("notes has no config.json" if "notes" in words else "No model at nothing") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
