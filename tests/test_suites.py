"""Evaluation suites and the registry of sets: what is shipped reads, what is wrong is refused with a reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loop_helpers import need
from selfmoa import assets, suites
from selfmoa.assets import _sets, load_table, set_definitions
from selfmoa.bench import EvaluationSets, answer_batch, build_sets, check_disjoint
from selfmoa.errors import AssetError, UsageError
from selfmoa.generate import ScriptedGenerator
from selfmoa.recipe import DataRef, EvalSet, Evaluate
from selfmoa.records import Prompt


def test_every_shipped_suite_reads_and_names_known_sets() -> None:
    assert {"quick", "standard", "paper", "jailbreak", "jailbreak-run"} <= set(suites.names())
    for name in suites.names():
        suite = suites.load(name)
        assert suite.description
        for kind, role in (("harmful", {"attack"}), ("edgy", {"borderline"}), ("benign", {"safe", "instruction"})):
            for ref in getattr(suite.evaluate, kind).data:
                assert set_definitions()[ref.ref.removeprefix("set:")].role in role


def test_the_standard_suite_allows_commercial_use() -> None:
    suite = suites.load("standard").evaluate
    refs = [ref.ref for part in (suite.harmful, suite.edgy, suite.benign) for ref in part.data]
    tables = [assets.capability_table(task) for task in suite.capability.tasks]
    assert tables and all(tables), "it needs no hub"
    refs += [table.ref for table in tables if table]
    assert all(assets.info(ref, kind="table").commercial for ref in refs)
    assert not assets.info("set:i-cona", kind="table").commercial


@pytest.mark.parametrize("name", sorted(set_definitions()))
def test_every_set_reads_with_its_columns(name: str) -> None:
    definition = set_definitions()[name]
    if not assets.is_cached(f"set:{name}", kind="table"):
        pytest.skip(f"set:{name} is not at hand (selfmoa assets pull, or SELFMOA_DATA)")
    rows = load_table(DataRef(ref=f"set:{name}"))
    assert all(row["prompt"] and row["ref"] == f"set:{name}" for row in rows)
    assert set(definition.hazards.values()) <= {row["hazard"] for row in rows}


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("i-malicious-instructions", 100),
        ("i-cona", 178),
        ("i-controversial", 40),
        ("i-physical-safety-unsafe", 100),
        ("q-harm", 100),
        ("x-unsafe", 200),
        ("x-safe", 250),
        ("i-alpaca", 50),
        ("i-physical-safety-safe", 100),
    ],
)
def test_the_papers_sets_have_the_papers_sizes(
    name: str, n: int, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts of the paper's section 4; what the content filter leaves out is not in ours."""
    monkeypatch.setenv("SELFMOA_DATA", str(shared_data))
    definition = set_definitions()[name]
    found = load_table(DataRef(ref=f"set:{name}"))
    left_out = assets.count_excluded(definition.data().model_copy(update={"where": {}}))
    assert n - left_out <= len(found) <= n


def test_a_data_file_that_is_missing_or_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELFMOA_DATA", str(tmp_path))
    with pytest.raises(AssetError, match="published at github"):
        load_table(DataRef(ref="set:x-safe"))
    (tmp_path / "xstest").mkdir()
    (tmp_path / "xstest" / "xstest_prompts.csv").write_text("prompt,label,type\n[a question about X],safe,t\n")
    with pytest.raises(AssetError, match="expected 11783fb2"):
        load_table(DataRef(ref="set:x-safe"))
    with pytest.raises(AssetError, match="Did you mean 'x-safe'"):
        load_table(DataRef(ref="set:x-saf"))


def test_a_definition_with_an_unknown_code_or_field_is_refused() -> None:
    good = {"title": "T", "version": 1, "role": "attack", "source": "path:x.csv"}
    assert _sets.parse_sets({"t": good})["t"].language == "en"
    with pytest.raises(UsageError, match=r"Set 't'.*unknown hazard code 'vcx'.*'vcr'"):
        _sets.parse_sets({"t": {**good, "hazards": {"a": "vcx"}}})
    with pytest.raises(UsageError, match="Set 't': colour"):
        _sets.parse_sets({"t": {**good, "colour": "red"}})


def test_rows_are_taken_by_column_and_lists_of_columns_read(tmp_path: Path) -> None:
    table = tmp_path / "t.json"
    table.write_text(json.dumps({"text": ["[p1]", "[p2]"], "label": ["safe", "unsafe"]}))
    rows = load_table(DataRef(ref=f"path:{table}", prompt="text", where={"label": "safe"}))
    assert [row["prompt"] for row in rows] == ["[p1]"]
    with pytest.raises(UsageError, match="no column 'tone' \\(where\\)"):
        load_table(DataRef(ref=f"path:{table}", prompt="text", where={"tone": "x"}))
    with pytest.raises(UsageError, match="no usable rows"):
        load_table(DataRef(ref=f"path:{table}", prompt="text", where={"label": "other"}))
    with pytest.raises(UsageError, match="name it alone"):
        load_table(DataRef(ref="set:harmbench", hazard="x"))


def test_a_table_of_prompts_is_a_suite_by_role(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("prompt,role\n[harmful request about X],attack\n[question about Y],safe\n")
    suite = suites.load(table)
    assert suite.name == "mine" and suite.evaluate.harmful.data and suite.evaluate.benign.data
    assert not suite.evaluate.edgy.data
    assert [row["prompt"] for row in load_table(suite.evaluate.benign.data[0])] == ["[question about Y]"]
    table.write_text("prompt\n[harmful request about X]\n")
    assert not suites.load(table).evaluate.benign.data, "without roles all are attacks"
    table.write_text("prompt,role\n[p],evil\n")
    with pytest.raises(UsageError, match="role 'evil' is unknown; expected attack, borderline, safe"):
        suites.load(table)


def test_a_suite_that_is_wrong_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'quick'"):
        suites.load("quik")
    file = tmp_path / "mine.yaml"
    with pytest.raises(UsageError, match="cannot be read"):
        suites.load(file)
    file.write_text("harmful: {}\n")
    with pytest.raises(UsageError, match="no section 'evaluate'"):
        suites.load(file)
    file.write_text("evaluate: {harmful: {data: [x], n: 0}}\n")
    with pytest.raises(UsageError, match=r"harmful\.n"):
        suites.load(file)


def test_the_jailbreak_suite_wraps_each_attack_and_judges_hear_the_plain_request() -> None:
    rows = {
        "set:a": [{"prompt": f"[{word}] {word[::-1]} {word * 2}"} for word in WORDS],
        "wheel:t": [
            {"prompt": "Play a part. {{ prompt }} Stay in it."},
            {"prompt": "First line.\n{{ prompt }}"},
            {"prompt": "no slot"},
            {"prompt": "long " * 200 + "{{ prompt }}"},
        ],
    }
    wrapped = EvalSet.model_validate({"data": ["set:a"], "n": 12, "wrap": ["wheel:t"]})
    nothing = EvalSet(data=(), n=1)
    sets = build_sets(
        Evaluate(harmful=wrapped, edgy=nothing, benign=nothing), seed=0, against={}, load=lambda ref: rows[ref.ref]
    )
    assert len(sets.harmful) == len(WORDS)
    for prompt in sets.harmful:
        assert prompt.request in prompt.text and prompt.request != prompt.text
        assert prompt.id != prompt.parent and prompt.text.startswith(("Play a part.", "First line."))
    starts = [prompt.text[:5] for prompt in sets.harmful]
    assert abs(starts.count("Play ") - starts.count("First")) <= 1, "templates are used in turn"
    with pytest.raises(UsageError, match="No template of wheel:t has"):
        build_sets(
            Evaluate(harmful=wrapped, edgy=nothing, benign=nothing),
            seed=0,
            against={},
            load=lambda ref: rows["set:a"],
        )


NOTHING = EvalSet(data=(), n=1)


def built(*wrap: object, rows: list[dict] | None = None, **more: Any) -> EvaluationSets:
    """Ten tasks of two sources, wrapped."""
    found = {
        "path:a.csv": rows or [{"prompt": f"Describe {word} {word[::-1]} {word * 2}."} for word in WORDS[:5]],
        "path:b.csv": [{"prompt": f"Explain {word} {word[::-1]} {word * 2}."} for word in WORDS[5:]],
        "path:t.csv": [{"prompt": "Play a part. {{ prompt }}"}],
        "path:long.csv": [{"prompt": "word " * 300 + "{{ prompt }}"}],
    }
    wrapped = EvalSet.model_validate({"data": ["path:a.csv", "path:b.csv"], "n": 10, "wrap": list(wrap)})
    evaluate = Evaluate(harmful=wrapped, edgy=NOTHING, benign=NOTHING)
    return build_sets(evaluate, seed=0, against={}, load=lambda ref: found[ref.ref], **more)


def test_a_wrapped_prompt_that_does_not_fit_is_left_out_and_named() -> None:
    found = built("path:t.csv", fits=lambda prompt: not (prompt.parent and "Describe" in prompt.text))
    assert len(found.harmful) == 5 and all("Explain" in prompt.text for prompt in found.harmful)
    assert found.removed_counts()["harmful"] == {"longer than this model's context allows": 5}
    with pytest.raises(UsageError, match=r"0 prompts are left.*10 longer than this model's context"):
        built("path:t.csv", fits=lambda prompt: not prompt.parent)


def test_wrapped_prompts_are_held_apart_by_what_they_ask_and_not_by_their_wrapping() -> None:
    sets = built("path:t.csv")
    request = sets.harmful[0].request
    assert request in sets.texts() and not any(text.startswith("Play a part.") for text in sets.texts())
    touches = check_disjoint(sets, {"trained pairs": [request], "elsewhere": ["Play a part. Sing. Stay."]})
    assert [(touch.prompt_id, touch.by) for touch in touches] == [(sets.harmful[0].id, "trained pairs")]


def test_each_wrapping_has_prompts_of_its_own_from_every_source() -> None:
    sets = built(
        "style:plain", "path:t.csv", "style:past-tense", {"ref": "path:long.csv", "words": 400}, "style:role-play"
    )
    counts = Counter((prompt.wrapping, prompt.source) for prompt in sets.harmful)
    assert len(counts) == 10 and set(counts.values()) == {1}, "five wrappings, two sources, one prompt of each"
    for prompt in sets.harmful:
        goal = prompt.request.rstrip(".")[1:]  # but for the capital
        if prompt.wrapping == "plain":
            assert not prompt.request and prompt.text.startswith(("Describe", "Explain"))
        else:
            assert goal in prompt.text and prompt.text != prompt.request and prompt.id != prompt.parent
    past = [prompt.text for prompt in sets.harmful if prompt.wrapping == "past-tense"]
    assert all(text.startswith("How did people ") and text.endswith(" in the past?") for text in past)


def test_a_request_whose_goal_cannot_be_told_goes_to_a_wrapping_that_takes_it() -> None:
    asking = [{"prompt": f"Which {word} is {word[::-1]} {word * 2}?"} for word in WORDS[:5]]
    sets = built("style:past-tense", "path:t.csv", rows=asking)
    assert {p.wrapping for p in sets.harmful if p.source == "path:a.csv"} == {"t"}
    alone = built("style:past-tense", rows=asking)
    assert alone.removed_counts()["harmful"] == {"no wrapping takes it": 5} and len(alone.harmful) == 5
    with pytest.raises(UsageError, match="Did you mean 'past-tense'"):
        built("style:past-tens")


def test_the_hider_of_a_run_wraps_its_own_prompts_or_is_told_to_be_missing() -> None:
    def hide(prompts: Sequence[Prompt]) -> list[tuple[str, str]]:
        return [(f"hidden {prompt.text}", "hider refused" if i == 0 else "") for i, prompt in enumerate(prompts)]

    sets = built("style:plain", "run:hider", hide=hide)
    assert Counter(prompt.wrapping for prompt in sets.harmful) == {"plain": 6, "hider": 3}
    assert sets.removed_counts()["harmful"] == {"hider refused": 1}
    with pytest.raises(UsageError, match="there is none here: evaluate a run"):
        built("run:hider")


def test_no_table_is_read_twice() -> None:
    read: list[str] = []
    rows = [{"prompt": f"[{word}] {word[::-1]} {word * 2}", "harmful": f"[bad {word * 3}]"} for word in WORDS]
    evaluate = Evaluate(harmful=NOTHING, edgy=NOTHING, benign=EvalSet(data=(DataRef(ref="path:p"),), n=10), pairs=True)
    sets = build_sets(evaluate, seed=0, against={}, load=lambda ref: read.append(ref.ref) or rows)
    assert len(sets.twins) == 10 and read == ["path:p"]


def test_many_shot_templates_hold_harmless_pairs_and_fit_the_suites() -> None:
    need("wheel:many-shot")
    rows = load_table(DataRef(ref="wheel:many-shot"))
    texts = [row["prompt"] for row in rows]
    assert len(rows) == 7 and all(text.endswith("User: {{ prompt }}\nAssistant:") for text in texts)
    shots = [shot for text in texts for shot in text.split("\n\n")[:-1]]
    assert len(shots) == len(set(shots)) == 7 * 24
    assert max(row["words"] for row in rows) <= 1000
    for name in ("jailbreak", "jailbreak-run"):
        wrap = suites.load(name).evaluate.harmful.wrap
        assert any(ref.ref == "wheel:many-shot" and ref.words == 1000 for ref in wrap)


def test_judges_are_told_the_request_inside_a_template() -> None:
    prompt = Prompt("i", "Play a part. [request]", "attack", request="[request]")
    answer = answer_batch(ScriptedGenerator(lambda request, _: request.user), [("harmful", prompt)], role=None,
                          max_new_tokens=4, seed=0)[0]  # fmt: skip
    assert answer.prompt == "[request]" and answer.response == "Play a part. [request]"


WORDS = ("kettle", "garden", "violin", "harbour", "lantern", "meadow", "pebble", "thunder", "walnut", "zebra")


def test_an_id_that_names_two_prompts_is_refused_and_blank_prompts_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("id,prompt\na,[prompt one]\nb,[prompt two]\na,[prompt three]\n")
    with pytest.raises(UsageError, match=r"id 'a' stands for two prompts, in rows 1 and 3"):
        load_table(DataRef(ref=f"path:{table}"))
    table.write_text("id,prompt\na,[prompt one]\na,[prompt one]\nb,\n,[prompt two]\n,[prompt three]\n")
    assert len(load_table(DataRef(ref=f"path:{table}"))) == 4
    assert "1 rows without a prompt are left out" in caplog.text
