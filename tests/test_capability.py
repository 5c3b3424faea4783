"""What the model knows: our own arithmetic against lm-eval's, drawing, pairing, errors, the written files."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import selfmoa
from loop_helpers import need_judge_data, tiny_overrides
from selfmoa import recipes, suites
from selfmoa.capability import (
    POOLED,
    Answered,
    Capability,
    check_tasks,
    compare_capability,
    measure_capability,
    measure_directory,
    metric_changes,
    metrics,
)
from selfmoa.capability._harness import Harness, list_tasks
from selfmoa.capability._tasks import Written, draw, write_task
from selfmoa.errors import AssetError, DependencyError, ModelError, UsageError
from selfmoa.generate import LanguageModel, load_plain
from selfmoa.recipe import DataRef, Lora
from selfmoa.run import read_json

WORDS = (
    "herb",
    "garden",
    "fox",
    "dog",
    "cat",
    "flower",
    "answer",
    "list",
    "number",
    "letter",
    "small",
    "brown",
    "lazy",
)
LORA = Lora(r=4, alpha=64, dropout=0.0)


@pytest.fixture(autouse=True)
def one_thread(tiny_model_dir: Path) -> None:
    """Two threads wait for each other at every one of the many tiny steps where other work shares the cores."""
    import torch

    assert tiny_model_dir.is_dir()  # made before, as making it sets two threads
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 questions about nothing, of two to four choices of several lengths."""
    rng = random.Random(0)
    rows = []
    for number in range(40):
        choices = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) + f" {i}" for i in range(2 + number % 3)]
        gold, subject = rng.randrange(len(choices)), "large" if number % 4 else "small"
        rows.append({"prompt": f"Which is thing {number}?", "choices": choices, "gold": gold, "subject": subject})
    path = tmp_path_factory.mktemp("questions") / "things.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def resident(tiny_model_dir: Path) -> LanguageModel:
    """A resident model whose target differs from the base."""
    import torch

    model = LanguageModel.load(tiny_model_dir, LORA, threads=1)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.adapter_parameters("target").items()):
        if "lora_B" in name:
            parameter.data.normal_(0.0, 0.3, generator=generator)
    return model


@pytest.fixture(scope="module")
def adapter(resident: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("adapter")
    resident.save_role("target", directory)
    return directory


def likelihoods(net: Any, tokenizer: Any, row: dict[str, Any]) -> list[float]:
    """log p of each choice after the question: one sequence at a time, nothing padded, nothing cached."""
    import torch

    question = tokenizer(f"Question: {row['prompt']}\nAnswer:")["input_ids"]
    found = []
    for choice in row["choices"]:
        ids = tokenizer(f"Question: {row['prompt']}\nAnswer: {choice}")["input_ids"]
        with torch.inference_mode():
            logs = torch.log_softmax(net(torch.tensor([ids])).logits[0].double(), dim=-1)
        found.append(sum(float(logs[at - 1, ids[at]]) for at in range(len(question), len(ids))))
    return found


@pytest.mark.parametrize("adapted", [False, True])
def test_accuracy_is_that_of_our_own_arithmetic(
    adapted: bool, table: Path, tiny_model_dir: Path, resident: LanguageModel, adapter: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    net: Any = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    if adapted:
        net = PeftModel.from_pretrained(net, str(adapter)).merge_and_unload()
    expected: dict[str, list[bool]] = {"acc": [], "acc_norm": []}
    for row in map(json.loads, table.read_text().splitlines()):
        sums = likelihoods(net, tokenizer, row)
        lengths = [len(text) for text in row["choices"]]
        expected["acc"].append(sums.index(max(sums)) == row["gold"])
        mean = [value / length for value, length in zip(sums, lengths, strict=True)]
        expected["acc_norm"].append(mean.index(max(mean)) == row["gold"])
    directory = measure_capability(tiny_model_dir, [f"path:{table}"], n=None, adapter=adapter if adapted else None)
    memory = measure_capability(resident, [f"path:{table}"], n=None, adapter="target" if adapted else None)
    for found in (directory, memory):
        for name, values in expected.items():
            assert [getattr(item, name) for item in found.items] == values
            estimate = getattr(found.figure("things"), name)
            assert estimate.value == pytest.approx(sum(values) / 40, abs=1e-6) and estimate.n == 40


def test_the_adapter_changes_answers_and_the_base_comes_back(table: Path, resident: LanguageModel) -> None:
    tasks = [f"path:{table}"]
    base, target, again = (measure_capability(resident, tasks, n=None, adapter=arm) for arm in (None, "target", None))
    assert [item.acc for item in base.items] != [item.acc for item in target.items]
    assert base == again


def test_questions_are_drawn_in_proportion_and_alike_every_time() -> None:
    subjects = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    ids = [f"q{i}" for i in range(100)]
    taken = draw(subjects, ids, 20, seed=0)
    assert Counter(subjects[place] for place in taken) == {"a": 12, "b": 6, "c": 2}
    assert taken == sorted(taken) == draw(subjects, ids, 20, seed=0) != draw(subjects, ids, 20, seed=1)
    assert set(taken) < set(draw(subjects, ids, 50, seed=0)), "more questions keep the fewer"
    assert draw(subjects, ids, None, seed=0) == draw(subjects, ids, 1000, seed=0) == list(range(100))
    equal = [f"s{i % 57}" for i in range(2850)]
    counts = Counter(equal[place] for place in draw(equal, [str(i) for i in range(2850)], 100, seed=3))
    assert len(counts) == 57 and set(counts.values()) == {1, 2}


def answers(values: list[tuple[bool, bool | None]], task: str = "t", choices: int = 4) -> tuple[Answered, ...]:
    return tuple(Answered(task, "s", f"{task}{i}", choices, acc, norm) for i, (acc, norm) in enumerate(values))


def test_the_change_is_paired_and_the_pooled_figure_counts_every_question() -> None:
    before = Capability(answers([(True, True)] * 3 + [(False, False)] * 7) + answers([(True, None)] * 5, "u", 2))
    # of t: one lost, four gained
    t = answers([(True, True)] * 2 + [(False, True)] + [(True, False)] * 4 + [(False, False)] * 3)
    after = Capability((*reversed(answers([(True, None)] * 5, "u", 2)), *t))
    one, other, pooled = compare_capability(before, after)
    assert (one.before.task, other.before.task, pooled.before.task) == ("t", "u", POOLED)
    assert one.acc.value == pytest.approx((4 - 1) / 10) and one.acc_norm.value == 0 and one.before.chance == 0.25
    assert other.acc.value == 0 and other.acc.low < 0 < other.acc.high and other.acc_norm.n == 0
    assert pooled.acc.value == pytest.approx(3 / 15) and pooled.acc.n == 15
    assert pooled.before.acc.value == pytest.approx(8 / 15) and pooled.after.acc.value == pytest.approx(11 / 15)
    assert pooled.before.chance == pytest.approx((10 / 4 + 5 / 2) / 15)
    # Tango's interval by its own equation: at a bound the squared score is 1.96^2
    b, c, n = 4, 1, 10
    for bound in (one.acc.low, one.acc.high):
        big, last = -b - c + (2 * n - b + c) * bound, -c * bound * (1 - bound)
        q = ((big**2 - 8 * n * last) ** 0.5 - big) / (4 * n)
        assert (b - c - n * bound) ** 2 / (n * (2 * q + bound * (1 - bound))) == pytest.approx(1.959964**2, rel=1e-4)
    differences = [0] * 2 + [-1] + [1] * 4 + [0] * 3
    spread = (sum((x - 0.3) ** 2 for x in differences) / 9) ** 0.5
    assert one.detectable == pytest.approx((1.959964 + 0.841621) * spread / 10**0.5, rel=1e-5)


def test_figures_as_results_hold_them() -> None:
    before, after = Capability(answers([(True, True)] * 30)), Capability(answers([(False, True)] * 30))
    pooled, task = metrics(before)
    assert (pooled.name, task.name, task.direction, task.judge) == ("capability", "capability_t", "higher", "lm-eval")
    assert {"value", "low", "high", "n", "unscored", "judge", "direction"} <= pooled.as_dict().keys()
    changed = metric_changes(before, after, 0.1)[0]
    assert (changed.name, changed.change.value, changed.verdict, changed.n) == ("capability", -1, "worse", 30)
    with pytest.raises(UsageError, match="differ in 1 questions"):
        compare_capability(before, Capability(after.items[1:]))


def test_a_task_of_lm_evals_own_is_drawn_by_place(tiny_model_dir: Path, table: Path, tmp_path: Path) -> None:
    """As a task from the hub is: the questions are chosen when lm-eval has read them."""
    task = write_task(tmp_path, f"path:{table}", DataRef(ref=f"path:{table}"), n=None, seed=0)
    harness = Harness(*load_plain(tiny_model_dir), list_tasks(tmp_path, own=["selfmoa_things"]))
    every, some = harness.answer(task), harness.answer(task, n=10, seed=1)
    assert len(every) == 40 and len(some) == 10 and set(some) < set(every)
    assert [item for item in every if item in some] == some == harness.answer(task, n=10, seed=1)
    with pytest.raises(AssetError, match="questions of absent cannot be loaded"):
        harness.answer(Written("absent", "absent"))


def test_a_missing_extra_is_one_clear_error(table: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfmoa.capability._harness.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r'pip install "selfmoa\[capability\]"'):
        measure_capability(tiny_model_dir, [f"path:{table}"])


def test_a_wrong_task_names_the_nearest(tiny_model_dir: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There is no task 'openbokqa', .* Did you mean 'openbookqa'"):
        check_tasks(["openbokqa"])
    with pytest.raises(UsageError, match=r"no capability set 'mmlv'.* Did you mean 'mmlu'"):
        measure_capability(tiny_model_dir, ["set:mmlv"])
    with pytest.raises(UsageError, match="No task is named"):
        measure_capability(tiny_model_dir, [])
    with pytest.raises(UsageError, match="'things' is named twice"):
        measure_capability(tiny_model_dir, [f"path:{table}", f"path:{table}"])
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps({"prompt": "[question]", "choices": ["a", "b"], "gold": 2}) + "\n")
    with pytest.raises(UsageError, match="row 1 is no multiple-choice question"):
        measure_capability(tiny_model_dir, [f"path:{wrong}"])


def test_a_wrong_adapter_is_refused(tiny_model_dir: Path, table: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no adapter_config\.json"):
        measure_directory(f"path:{tiny_model_dir}", [f"path:{table}"], adapter=tmp_path, out=tmp_path / "out")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no adapter of"):
        measure_capability(tiny_model_dir, [f"path:{table}"], adapter=tmp_path)


def test_what_is_written_gives_the_same_figures_to_lm_eval(
    tiny_model_dir: Path, table: Path, adapter: Path, tmp_path: Path
) -> None:
    """The tasks on disk are read by lm-eval's own entry point, as its command line does."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    before, after = measure_directory(
        f"path:{tiny_model_dir}", [f"path:{table}"], n=15, seed=2, adapter=adapter, out=tmp_path
    )
    assert after is not None
    for arm, found in ((None, before), (str(adapter), after)):
        told = simple_evaluate(
            model="hf",
            model_args={"pretrained": str(tiny_model_dir), "dtype": "float32", "device": "cpu"}
            | ({"peft": arm} if arm else {}),
            tasks=["selfmoa_things"],
            task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
            bootstrap_iters=0,
        )["results"]["selfmoa_things"]
        for name in ("acc", "acc_norm"):
            assert told[f"{name},none"] == pytest.approx(getattr(found.figure("things"), name).value, abs=1e-6)
    facts = read_json(tmp_path / "capability.json")
    assert facts["n"] == 15 and not facts["chat_template"] and len(facts["reproduce"]) == 2
    assert [row["task"] for row in facts["tasks"]] == ["things", POOLED]
    rows = pq.read_table(tmp_path / "capability.parquet").to_pylist()
    assert Counter(row["arm"] for row in rows) == {"before": 15, "after": 15}
    assert Counter(row["subject"] for row in rows if row["arm"] == "before") == {"large": 11, "small": 4}


def test_an_evaluation_with_a_suite_carries_the_figures(
    tiny_model_dir: Path, table: Path, resident: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_judge_data()
    lora = ["model.lora.r=4", "model.lora.alpha=64"]
    named = [f"evaluate.capability={{tasks: ['path:{table}'], n: 12}}"]
    recipe = recipes.load("demo", [*tiny_overrides(tmp_path, tiny_model_dir), *lora, *named])
    (tmp_path / "mine").mkdir()
    resident.save_role("target", tmp_path / "mine" / "adapter")
    out = tmp_path / "one"
    result = selfmoa.evaluate(recipe, suite=True, cache=False, out=out, progress="quiet")
    found = {metric["name"]: metric for metric in result["metrics"]}
    assert found["capability"]["n"] == found["capability_things"]["n"] == 12
    assert found["capability"]["judge"] == "lm-eval" and found["capability"]["direction"] == "higher"
    page = (out / "report.html").read_text()
    assert "What the model knows" in page and "Which is thing" not in page
    rows = pq.read_table(out / "items.parquet").to_pylist()
    lengths = [row["answer_words"] for row in rows]
    assert found["answer_words"]["n"] == len(lengths)
    assert found["answer_words"]["value"] == pytest.approx(sum(lengths) / len(lengths)), "by hand from the table"
    assert all(row["arm"] == "model" and row["prompt"] and row["prompt_id"] for row in rows)
    both = tmp_path / "both"
    told = selfmoa.evaluate(
        recipe, adapter=tmp_path / "mine" / "adapter", suite=True, cache=False, out=both, progress="quiet"
    )
    change = {metric["name"]: metric for metric in told["metrics"]}["capability"]
    assert change["before"]["value"] == found["capability"]["value"] and change["n"] == 12
    expected = measure_capability(resident, [f"path:{table}"], n=12, adapter="target").figure()
    assert change["after"]["value"] == pytest.approx(expected.acc.value)
    assert "Would be seen from" in (both / "report.html").read_text()


def test_a_suite_names_capability_tasks(tmp_path: Path) -> None:
    assert suites.load("standard").evaluate.capability.n == 100 and not suites.load("quick").evaluate.capability.tasks
    mine = tmp_path / "mine.yaml"
    mine.write_text("evaluate: {capability: {tasks: [mmlu], n: 5, few_shot: 3}}\n")
    with pytest.raises(UsageError, match=r"capability\.few_shot"):
        suites.load(mine)
