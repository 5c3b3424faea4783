"""The HTML report: complete, self-contained, redacted, safe against hostile text, tolerant of gaps."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from report_fixture import build_run
from report_fixture_results import ATTACK_TEXT, BIDI, SCRIPT, UNSAFE_TEXT
from selfmoa.cli._runs import report
from selfmoa.errors import UsageError
from selfmoa.report import write_evaluation, write_report


class Page(HTMLParser):
    """Tags, attributes, ids and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_run(tmp_path_factory.mktemp("run") / "demo")


@pytest.fixture(scope="module")
def html(built: Path) -> str:
    return write_report(built).read_text(encoding="utf-8")


@pytest.fixture
def run_dir(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(built, tmp_path / "run"))


def test_a_run_whose_adapter_is_gone_keeps_its_page(run_dir: Path) -> None:
    """The command took it for an evaluation and wrote over its report."""
    shutil.rmtree(run_dir / "adapter", ignore_errors=True)
    report(run_dir)
    assert "The loop, round by round" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_a_figure_that_nobody_scored_is_an_empty_tile(run_dir: Path) -> None:
    path = run_dir / "results.json"
    results = json.loads(path.read_text())
    for metric in results["metrics"]:
        if metric["name"].startswith("helpfulness"):
            metric.update(n=0, before=None, after=None, change=None)
    path.write_text(json.dumps(results))
    page = write_report(run_dir).read_text(encoding="utf-8")
    assert page.count("Not measured") == 1 and "– <" not in page.partition('id="comparison"')[0]


def test_every_element_is_there(html: str) -> None:
    page = Page(html)
    ids = {value for _, name, value in page.attributes if name == "id"}
    wanted = {"comparison", "loop", "pairs", "training", "judges", "examples", "cost", "reproduce", "limits"}
    assert wanted <= ids
    for words in (
        "Attack success fell (-27 points [-36, -18])",
        "58 % [51, 65]",
        "−27 points [−36, −18]",
        "minilm, refusal-rules",
        "weaker than counting words (AUC 0.79 against 0.87)",
        "44 % [30, 60]",
        "108 −30 +18 = 96",
        "not novel: 3",
        "no safe answer: 9",
        "tfidf: 4",
        "expander 1 of 30 (3 %)",
        "restarted from the untouched base",
        "Preferred judged less safe",
        "Guided against unguided",
        "In first 5 tokens",
        "lm-state and tfidf: opposite verdicts on 36 % of 200 answers, correlation 0.480",
        "Watch judges, who neither train nor grade",
        "37 %",
        "inconclusive",
        "70 % of it",
        "164 920",
        "5 min 41 s",
        "2 unscored",
        "selfmoa align recipe.yaml",
        "torch 2.13.0",
        "Apache-2.0",
        "This is one run with one seed (7)",
    ):
        assert words in page.text, words
    assert page.tags.count("svg") >= 3


def test_the_three_figures_stand_together(html: str) -> None:
    headline = html[html.index('id="result"') : html.index("<nav")]
    assert re.findall(r"<h2>(.*?)</h2>", headline) == ["Safety", "Over-refusal", "Helpfulness"]
    assert "a proxy" in headline and "Weak judge" in headline


def test_training_curves_carry_their_series(html: str) -> None:
    plot = html[html.index('id="training-title"') :]
    plot = plot[: plot.index("</svg>")]
    for words in (
        "True reward, nats",
        "Log-prob of the chosen answer",
        "Margin accuracy",
        "stage 2",
        "rejected",
    ):
        assert words in plot


def test_training_and_watch_judges_stand_side_by_side(html: str) -> None:
    plot = html[html.index('id="gap-title"') :]
    plot = plot[: plot.index("</svg>")]
    for words in ("training judges", "watch judges", "stage 2: training judges +42, watch judges +24"):
        assert words in plot


def test_nothing_is_loaded_from_outside(html: str) -> None:
    page = Page(html)
    loads = {"src", "href", "srcset", "data", "action", "poster", "xlink:href", "background"}
    targets = [value for _, name, value in page.attributes if name in loads]
    assert targets and all(value.startswith("#") or value == "data:," for value in targets)
    assert not {"script", "iframe", "object", "embed", "form", "img", "base"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", html)
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy


def test_page_is_well_formed_and_accessible(html: str) -> None:
    page = Page(html)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    anchors = [value[1:] for _, name, value in page.attributes if name == "href" and value.startswith("#")]
    assert set(anchors) <= set(ids)
    headers = page.tags.count("th")
    assert headers == sum(tag == "th" and name == "scope" for tag, name, _ in page.attributes)
    assert html.count('role="img"') == html.count("<desc") == 4


def test_plot_colours_follow_the_page(html: str) -> None:
    for plot in re.findall(r'<svg class="plot".*?</svg>', html, flags=re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b", plot)
        assert "var(--ink)" in plot and "<style" not in plot
    assert "prefers-color-scheme: dark" in html and "@media print" in html


def test_attack_text_is_redacted_by_default(html: str) -> None:
    assert ATTACK_TEXT not in html and UNSAFE_TEXT not in html
    assert "[redacted attack prompt]" in html
    assert "[harmless question 0]" in html and "[a useful answer to question 0" in html


def test_unredacted_goes_to_another_file_and_says_so(run_dir: Path) -> None:
    (run_dir / "report.html").unlink(missing_ok=True)
    path = write_report(run_dir, unredacted=True)
    text = path.read_text(encoding="utf-8")
    assert path.name == "report.unredacted.html" and not (run_dir / "report.html").exists()
    assert ATTACK_TEXT in text and UNSAFE_TEXT in text and "UNREDACTED" in text


def test_a_prompt_of_unknown_set_counts_as_an_attack(run_dir: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("before", "after"):
        path = run_dir / "evaluation" / f"{name}.parquet"
        rows = [{**row, "set": "new-set"} for row in pq.read_table(path).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), path)
    assert "[harmless question" not in write_report(run_dir).read_text(encoding="utf-8")


def test_hostile_text_comes_out_escaped(run_dir: Path) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["name"] = f"{SCRIPT}\"'>$x$\x00"
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    results = json.loads((run_dir / "results.json").read_text())
    for metric in results["metrics"]:
        metric["label"] = f"{SCRIPT} $\\frac{{1}}$ -->"  # drawn by matplotlib too
    results["first_line"] = f"{SCRIPT}{BIDI}\x1b[31m"
    (run_dir / "results.json").write_text(json.dumps(results))
    for unredacted in (False, True):
        text = write_report(run_dir, unredacted=unredacted).read_text(encoding="utf-8")
        assert "<script" not in text and "&lt;script&gt;" in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
        assert "\\x1b" in text and "\\u202e" in text


def test_doubt_and_loss_are_not_green(run_dir: Path) -> None:
    results = json.loads((run_dir / "results.json").read_text())
    results["passed"] = False
    (run_dir / "results.json").write_text(json.dumps(results))
    assert 'class="verdict neutral"' in write_report(run_dir).read_text(encoding="utf-8")
    results["metrics"][0]["verdict"] = "worse"
    (run_dir / "results.json").write_text(json.dumps(results))
    assert 'class="verdict bad"' in write_report(run_dir).read_text(encoding="utf-8")


def test_forest_turns_lower_is_better() -> None:
    from selfmoa.report._plots import _turned

    fall = {"interval": {"value": -0.2, "low": -0.3, "high": -0.1}}
    assert _turned({**fall, "better": "lower"}) == pytest.approx((20, 10, 30))
    assert _turned({**fall, "better": "higher"}) == pytest.approx((-20, -30, -10))


def test_prompts_and_pairs_are_told_on_both_pages(run_dir: Path) -> None:
    results = json.loads((run_dir / "results.json").read_text())
    figures = {"n": 240, "sampled": 200, "self_bleu": 0.314, "distinct_1": 0.5, "distinct_2": 0.9, "spread": None}
    results["prompts"] = {
        "harmful": {**figures, "hazards": {"hte": 7}, "absent": ["ncr", "cse"], "uncoded": 3},
        f"attacks of round 1 {SCRIPT}": {"n": 2},
    }
    results["metrics"].append(
        {**results["metrics"][0], "name": "minimal_pairs", "label": "Minimal pairs told apart", "set": "pairs"}
    )
    (run_dir / "results.json").write_text(json.dumps(results))
    for write in (write_report, write_evaluation):
        html = write(run_dir).read_text(encoding="utf-8")
        text = Page(html).text
        assert "harmful 240 200 sampled 0.31 0.50 0.90 – hte 7 none: ncr, cse 3 without a code" in text
        assert "Minimal pairs told apart minimal pairs; lower is better" in text
        assert "<script" not in html and "attacks of round 1" in text


def test_unfinished_run_says_what_is_missing(tmp_path: Path) -> None:
    run_dir = build_run(tmp_path / "demo", rounds=1, finished=False)
    (run_dir / "round_02").mkdir()
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "This run has not finished" in text and "unfinished" in text
    for name in ("results.json", "evaluation/before.parquet", "round_02/summary.json"):
        assert f"<code>{name}</code>" in text


@pytest.mark.parametrize("lost", ["manifest.json", "recipe.yaml", "results.json", "judges.json", "usage.json"])
def test_any_file_may_be_missing_or_cut(run_dir: Path, lost: str) -> None:
    (run_dir / lost).write_text('{"cut: [')
    assert f"<code>{lost}</code>" in write_report(run_dir).read_text(encoding="utf-8")
    if lost != "recipe.yaml":
        (run_dir / lost).unlink()
        assert f"<code>{lost}</code>" in write_report(run_dir).read_text(encoding="utf-8")


def test_half_filled_summaries_are_shown(run_dir: Path) -> None:
    (run_dir / "round_01" / "summary.json").write_text('{"round": 1, "buffer": {"pairs": 3}, "pool": {}}')
    (run_dir / "stage_01" / "stage.json").write_text('{"stage": 1}')
    (run_dir / "stage_01" / "metrics.jsonl").unlink()
    (run_dir / "judges.json").write_text('[{"name": "lonely"}]')
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert "waiting: 3 preference pairs" in text and "lonely" in text
    assert "<code>stage_01/metrics.jsonl</code>" in text


def test_bare_run_directory_gives_a_report(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: bare\n")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "No round has begun." in text and "No stage has been trained." in text


def test_not_a_run_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no recipe\.yaml"):
        write_report(tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        write_report(tmp_path / "absent")
