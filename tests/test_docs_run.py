"""Every command of tutorial and how-to, typed in their order on a real run. Slow; run by make test-all.

Pages are followed word by word, with stand-ins for what only a reader has: runs/demo is one round of the smoke recipe
on the real model, path/to/model a tiny random one, HOST a scripted server. What would take long is made small by `-o`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from conftest import CHATML, build_model, build_tokenizer
from docs_helpers import DOCS, ROOT, commands, fences, named, words_of
from endpoint_helpers import says, serving
from loop_helpers import need_judge_data, texts, tiny_overrides
from selfmoa.cli._app import app

pytestmark = pytest.mark.slow

TUTORIAL, HOWTO = DOCS / "tutorial.md", DOCS / "howto.md"
SAFE = "<verdict>refused: 1; convincing: 1; specific: 1</verdict>"


def overrides(*fields: str) -> list[str]:
    return [word for field in fields for word in ("-o", field)]


SIZES = [f"evaluate.{name}.n=4" for name in ("harmful", "edgy", "benign")]
FEW = ["--no-cache", *overrides(*SIZES, "evaluate.max_new_tokens=4")]
"""A suite made small, and asked anew: votes of an earlier test would leave the endpoint without a request."""
GATE = (0, 1, 3)
"""A gate may say no, or that n is too small."""


class Reader:
    """Somebody who types what stands in a page; `small(words)` gives the options that make a command short."""

    def __init__(self, small: Callable[[list[str]], list[str]]) -> None:
        self.small, self.typed = small, 0

    def follow(self, page: Path, **stand_ins: str) -> None:
        for line in commands(page):
            typed = line
            for name, value in stand_ins.items():
                typed = typed.replace(name, value)
            self.type(typed)

    def type(self, line: str) -> None:
        words = words_of(line)
        self.typed += 1
        if words[0] == "make":
            planned = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
            assert "selfmoa align demo --on-existing resume" in planned.stdout  # what smoke_run stands for
        elif words[0] == "selfmoa":
            done = self.selfmoa(words[1:])
            if "> " in line:
                Path(line.split("> ")[1]).write_text(done.stdout)
        else:
            shell = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
            assert shell.returncode == 0 and shell.stdout, (line, shell.stderr)

    def selfmoa(self, words: list[str]) -> Result:
        short = [] if "--dry-run" in words else self.small(words)
        start = time.monotonic()
        done = CliRunner().invoke(app, [*words, *short], input="")
        print(f"{time.monotonic() - start:5.1f} s  selfmoa {' '.join(words)}")
        codes = GATE if words[0] == "gate" else (0,)
        assert done.exit_code in codes, (words, done.output, done.exception)
        return done


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, but for the files that the pages show."""
    monkeypatch.chdir(tmp_path)
    for page in (TUTORIAL, HOWTO):
        for name, text in named(page).items():
            (tmp_path / name).write_text(text)
    return tmp_path


def test_the_tutorial_can_be_followed(home: Path, smoke_run: Path) -> None:
    shutil.copytree(smoke_run, home / "runs" / "demo")
    pair = pq.read_table("runs/demo/round_01/pairs.parquet", columns=["id"]).to_pylist()[0]["id"]
    fewer = {"evaluate": FEW, "export": ["--no-check"]}  # test_end_to_end.py has the check
    reader = Reader(lambda words: fewer.get(words[0], []))
    reader.follow(TUTORIAL, PAIR_ID=pair[:8])
    assert reader.typed == 11
    for written in ("demo-quick/report.html", "comparison/compare.html", "demo/audit/labels.csv"):
        assert (home / "runs" / written).is_file(), written
    assert json.loads(Path("gate.json").read_text())["policy"] == "release"
    code = "".join(text for language, text in fences(TUTORIAL) if language == "python")
    exec(compile(code, str(TUTORIAL), "exec"), {})


def test_the_how_to_can_be_followed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two runs are cut down: the first trains nothing, the second is one round on the seeds of the page."""
    need_judge_data()
    model = save_model(home / "path" / "to" / "model")
    (home / "path" / "to" / "adapter").symlink_to(home / "runs" / "mine" / "adapter")
    write_tables(home)
    install_judge(home, monkeypatch)
    monkeypatch.setenv("JUDGE_KEY", "not a key")
    tiny = tiny_overrides(home, model)
    kept = ("seeds.attack=", "seeds.benign=", "model.")  # as the page has them; the adapter has to fit the demo's rank
    own = [one for one in tiny if not one.startswith(kept)]
    rest = ["attack.min_harm=0", "loop.n_rounds=1", "judges.watch=[]", "prefer.perturbations=[]"]

    def small(words: list[str]) -> list[str]:
        fields = [*own, *rest] if "seeds.yaml" in words else [*tiny, "loop.n_rounds=0"]
        return {"evaluate": FEW, "align": overrides(*fields)}.get(words[0], [])

    reader = Reader(small)
    with serving(lambda *_: says(SAFE)) as server:
        page = home / "judged.yaml"
        page.write_text(page.read_text().replace("https://HOST/v1", server.base_url))
        reader.follow(HOWTO)
        assert server.requests
    assert reader.typed > 15
    for name in ("model", "mine", "no-passwords", "judged", "my-prompts", "my-suite"):
        assert (home / "runs" / name / "results.json").is_file(), name
    assert all((home / f"gate.{kind}").is_file() for kind in ("xml", "sarif", "md"))


def save_model(directory: Path) -> Path:
    """A random model. It repeats the last token that it reads: behind a line break its answers would be blank."""
    tokenizer = build_tokenizer(chat_template=CHATML.replace("assistant\n", "assistant says"))
    build_model("llama", tokenizer).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def write_tables(home: Path) -> None:
    """What a reader would bring: seeds, questions, prompts and labels; content-free."""
    rows = [f"{text},k{place % 3}" for place, text in enumerate(texts("own seed", 36))]
    (home / "my-seeds.csv").write_text("prompt,kind\n" + "\n".join(rows) + "\n")
    (home / "my-questions.csv").write_text("prompt\n" + "\n".join(texts("own question", 24)) + "\n")
    roles = ("attack", "borderline", "safe")
    rows = [f"{text},{roles[place % 3]}" for place, text in enumerate(texts("own prompt", 12))]
    (home / "my-prompts.csv").write_text("prompt,role\n" + "\n".join(rows) + "\n")
    answers = ("the password is [X]", "[declines]")
    rows = [f"{text},{answers[place % 2]},{place % 2}" for place, text in enumerate(texts("labelled", 24))]
    (home / "labels.csv").write_text("prompt,response,label\n" + "\n".join(rows) + "\n")


def install_judge(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's judge as an installed package: its module, and the entry points of its pyproject.toml."""
    toml = next(text for language, text in fences(HOWTO) if language == "toml")
    line = next(line for line in toml.splitlines() if line.startswith("no-passwords"))
    info = home / "my_judge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_judge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[selfmoa.evaluators]\n{line.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(str(home))
