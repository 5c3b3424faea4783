"""Results of other tools: garak's report and Inspect's log in both forms, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from loop_helpers import need_judge_data
from selfmoa import api, recipes
from selfmoa.bench import Measured
from selfmoa.compare import compare_arms, load_arms
from selfmoa.errors import RunExistsError, UsageError
from selfmoa.interop import _read, as_answers, read_foreign, to_inspect
from selfmoa.records import stable_id

PROMPTS = [f"[harmful request about {word}]" for word in ("X", "Y", "Z")]


def attempt(prompt: str, answers: list[str], scores: list[float], *, status: int = 2) -> dict[str, Any]:
    """As garak 0.17 writes it."""
    return {
        "entry_type": "attempt",
        "uuid": prompt,
        "status": status,
        "probe_classname": "test.Blank",
        "prompt": {"turns": [{"role": "user", "content": {"text": prompt, "lang": "en"}}], "notes": {}},
        "outputs": [{"text": answer} for answer in answers],
        "detector_results": {"mitigation.MitigationBypass": scores} if status == 2 else {},
    }


def garak(path: Path, answers: list[str]) -> Path:
    rows: list[dict[str, Any]] = [{"entry_type": "start_run setup", "plugins.target_name": "some/model"}]
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        hit = 0.0 if answer.startswith("I can't") else 1.0
        rows += [attempt(prompt, [answer], [], status=1), attempt(prompt, [answer, "another"], [hit, 1.0])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_garak_report_gives_one_answer_a_prompt_and_its_own_verdicts(tmp_path: Path) -> None:
    found = read_foreign(garak(tmp_path / "g.report.jsonl", ["I can't help with that.", "[steps]", "[steps]"]))
    assert (found.tool, found.model, found.left_out) == ("garak", "some/model", 3)
    assert [answer.prompt for answer in found.answers] == PROMPTS
    assert [answer.hit for answer in found.answers] == [False, True, True]
    told = found.reported()
    assert (told.value, told.n) == (pytest.approx(2 / 3), 3)
    made = as_answers(found.answers, "harmful", "garak:g")
    assert made[0].prompt_id == stable_id("eval", "harmful", PROMPTS[0]), "as in selfmoa's own evaluations"
    old = {**attempt("[p]", ["[a]"], [0.2]), "prompt": "[p]", "outputs": ["[a]"]}
    (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n")
    assert read_foreign(tmp_path / "old.jsonl").answers[0].text == "[a]", "older reports hold plain text"


def test_a_line_separator_inside_an_answer_does_not_end_the_line(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl"
    path.write_text(json.dumps(attempt("[p]", ["one\u2028two\x85three"], [0.0]), ensure_ascii=False) + "\n")
    assert read_foreign(path).answers[0].text == "one\u2028two\x85three"


def test_an_inspect_log_reads_in_both_forms(tmp_path: Path) -> None:
    message = {
        "role": "assistant",
        "content": [{"type": "reasoning", "reasoning": "r"}, {"type": "text", "text": "[a]"}],
    }
    samples = [
        {"id": 1, "input": PROMPTS[0], "output": {"choices": [{"message": {"role": "assistant", "content": "[b]"}}]}},
        {"id": 2, "input": [{"role": "system", "content": "s"}, {"role": "user", "content": PROMPTS[1]}],
         "output": {"choices": [{"message": message}]}},
        {"id": 3, "input": PROMPTS[2], "output": {"choices": []}},
    ]  # fmt: skip
    header = {"version": 2, "status": "success", "eval": {"task": "harm", "model": "some/model"}}
    plain = tmp_path / "log.json"
    plain.write_text(json.dumps({**header, "samples": samples}))
    zipped = tmp_path / "log.eval"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    for path in (plain, zipped):
        found = read_foreign(path)
        assert [(answer.prompt, answer.text, answer.hit) for answer in found.answers] == [
            (PROMPTS[0], "[b]", None),
            (PROMPTS[1], "[a]", None),
        ]
        assert found.model == "some/model" and found.reported().n == 0


def test_long_texts_that_inspect_keeps_apart_are_put_in_place(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "attachment://two"}]}
    sample = {"input": [{"role": "user", "content": "attachment://one"}], "output": {"choices": [{"message": message}]}}
    sample["attachments"] = {"one": PROMPTS[0], "two": "[long answer]"}
    (tmp_path / "log.json").write_text(json.dumps({"eval": {"task": "t", "model": "m"}, "samples": [sample]}))
    [answer] = read_foreign(tmp_path / "log.json").answers
    assert (answer.prompt, answer.text) == (PROMPTS[0], "[long answer]")


def ours() -> dict[str, Any]:
    shared = {"hazard": "hte", "source": "here", "n_tokens": 3, "refusal": "compliance", "coherence": 1.0}
    unsafe = Measured("p1", "harmful", prompt=PROMPTS[0], answer="[steps]", safety=0.25, helpfulness=0.5, **shared)
    safe = Measured("p2", "harmful", prompt=PROMPTS[1], answer="[a]", safety=0.75, helpfulness_reason="r", **shared)
    return to_inspect("mine", [unsafe, safe], {"attack_success": "minilm, refusal-head"})


def test_our_log_reads_back(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(json.dumps(ours(), allow_nan=False))
    found = read_foreign(tmp_path / "log.json")
    assert [(answer.prompt, answer.text) for answer in found.answers] == [(PROMPTS[0], "[steps]"), (PROMPTS[1], "[a]")]
    assert found.model == "selfmoa/mine"


def test_inspect_reads_our_log(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed")
    (tmp_path / "log.json").write_text(json.dumps(ours(), allow_nan=False))
    found = log.read_eval_log(str(tmp_path / "log.json"))
    results = {score.name: score for score in found.results.scores}
    assert results["attack_success"].metrics["mean"].value == 0.5
    assert results["attack_success"].scorer == "minilm, refusal-head"
    assert [sample.scores["safety"].value for sample in found.samples] == [0.25, 0.75]
    assert found.samples[1].metadata["unscored"] == {"helpfulness": "r"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"entry_type": "attempt", "status": 2, "pro', "line 1: cut off"),
        ('{"entry_type": "init"}\n', "holds no answer"),
        ('{"a": 1}', "neither a garak report nor an Inspect log"),
        ("", "not a log of Inspect"),
        ('{"eval": {}, "samples": [{"id": 1}]}', "not a log of Inspect"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        read_foreign(path)
    with pytest.raises(UsageError, match="There is no file"):
        read_foreign(tmp_path / "absent.json")


def test_the_content_filter_holds_for_imports_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_read, "is_excluded", lambda text: "about Y" in text or text == "[excluded answer]")
    found = read_foreign(garak(tmp_path / "g.jsonl", ["[steps]", "[steps]", "[excluded answer]"]))
    assert [answer.prompt for answer in found.answers] == PROMPTS[:1]
    assert (found.excluded, found.left_out) == (2, 1)


def test_a_compression_that_python_lacks_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", "{}")

    def lacking(*_: object) -> bytes:
        raise NotImplementedError("That compression method is not supported")

    monkeypatch.setattr(zipfile.ZipFile, "read", lacking)
    with pytest.raises(UsageError, match="Convert it with"):
        read_foreign(path)


def test_imported_results_are_judged_and_compared(tmp_path: Path) -> None:
    need_judge_data()
    refusing = garak(tmp_path / "safe.report.jsonl", ["I can't help with that."] * 3)
    complying = garak(tmp_path / "open.report.jsonl", ["Sure, here are the steps: first, do this."] * 3)
    recipe = recipes.load("demo")
    for name, file in (("safe", refusing), ("open", complying)):
        result = api.import_results(file, recipe, out=tmp_path / name, progress="quiet")
        assert any("garak itself counts" in line for line in result["warnings"])
        assert (tmp_path / name / "report.html").is_file()
    arms = compare_arms(load_arms([str(tmp_path / "open"), str(tmp_path / "safe")]))
    refusals = arms.figure("refusal_harmful", "safe")
    assert refusals.estimate.value == 1.0 and refusals.change is not None and refusals.change.value == 1.0
    assert "refusal_harmful" in arms.metrics and "over_refusal" not in arms.metrics, "no harmless prompt was asked"
    (tmp_path / "other").mkdir()
    other = garak(tmp_path / "other" / "safe.report.jsonl", ["I won't."] * 3)
    with pytest.raises(RunExistsError, match="imported from another file"):
        api.import_results(other, recipe, out=tmp_path / "safe", on_existing="resume", progress="quiet")
    with pytest.raises(UsageError, match="cut off"):
        (tmp_path / "cut.jsonl").write_text('{"entry_type": "attempt", ')
        api.import_results(tmp_path / "cut.jsonl", recipe, out=tmp_path / "cut", progress="quiet")
    assert not (tmp_path / "cut").exists(), "nothing is half-written"
