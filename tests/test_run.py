"""The run directory: atomic files, batches that survive, journal, policies."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from selfmoa.errors import EvaluatorError, RunExistsError, StorageError
from selfmoa.recipe import Recipe
from selfmoa.records import Draft, Pair, StageResult
from selfmoa.run import Cache, Progress, Run, cache_key, open_run, read_json, read_records, write_json, write_records


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(Recipe(name="test"), tmp_path / "run", progress=Progress("quiet"))


def drafts(n: int, start: int = 0) -> list[Draft]:
    return [Draft(str(i), f"text {i}", i) for i in range(start, start + n)]


def test_records_survive_a_round_trip(tmp_path: Path) -> None:
    pair = Pair("i", 1, "a", "attack", "h", "p", "c", "r", "c1", "r1", 0.5, None, 0.1, 0.2, True, False, "rule")
    path = tmp_path / "pairs.parquet"
    write_records(path, [pair], Pair)
    assert read_records(path, Pair) == [pair]
    write_records(path, [], Pair)
    assert read_records(path, Pair) == []
    assert read_records(tmp_path / "absent.parquet", Pair) is None
    assert [item.name for item in tmp_path.iterdir()] == ["pairs.parquet"], "no temporary file is left"


def test_a_corrupt_file_is_a_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 not really")
    assert read_records(path, Draft) is None and "corrupt" in caplog.text
    (tmp_path / "x.json").write_text("{")
    assert read_json(tmp_path / "x.json") is None


def test_json_has_no_nan_and_takes_records(tmp_path: Path) -> None:
    result = StageResult(1, 1, 2, "failed", False, 0.0, "", None, None, None, None, None, None, 0.0, 0.0, 0, 1.0)
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": result})
    assert read_json(tmp_path / "x.json")["a"] is None
    assert StageResult(**read_json(tmp_path / "x.json")["b"]) == result


def test_a_killed_step_goes_on_at_its_first_unfinished_batch(run: Run) -> None:
    made: list[int] = []

    def work(number: int, batch: object) -> list[Draft]:
        made.append(number)
        if number == 2 and made.count(2) == 1:
            raise KeyboardInterrupt
        return drafts(2, number * 2)

    batches = [[0, 1], [2, 3], [4, 5], [6, 7]]
    path = run.round(1) / "x.parquet"
    with pytest.raises(KeyboardInterrupt):
        run.batched(path, Draft, batches, work, label="x")
    assert not path.exists()
    assert run.batched(path, Draft, batches, work, label="x") == drafts(8)
    assert made == [0, 1, 2, 2, 3]
    assert run.batched(path, Draft, batches, work, label="x") == drafts(8) and len(made) == 5
    assert [item.name for item in path.parent.iterdir()] == ["x.parquet"]


def test_batches_of_no_use_are_made_again_when_resumed(run: Run) -> None:
    """E.g. votes of a judge that was down: the run ends, and the next attempt asks about the gaps alone."""
    made: list[int] = []
    down = {1}

    def work(number: int, batch: object) -> list[Draft]:
        made.append(number)
        return [Draft(str(number), "" if number in down else "text", 1)]

    def gaps(found: Sequence[Draft]) -> bool:
        return any(not draft.text for draft in found)

    def whole(found: Sequence[Draft]) -> None:
        if gaps(found):
            raise EvaluatorError("down")

    path, batches = run.round(1) / "x.parquet", [[0], [1], [2]]
    for _ in range(2):
        with pytest.raises(EvaluatorError, match="down"):
            run.batched(path, Draft, batches, work, label="x", again=gaps, check=whole)
        assert not path.exists()
    down.clear()
    found = run.batched(path, Draft, batches, work, label="x", again=gaps, check=whole)
    assert [draft.text for draft in found] == ["text"] * 3 and made == [0, 1, 2, 1, 1]


def test_a_corrupt_part_is_made_again(run: Run) -> None:
    path = run.round(1) / "x.parquet"
    part = path.with_name(".x.parts") / "00000.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"half")
    assert run.batched(path, Draft, [[0]], lambda n, b: drafts(1), label="x") == drafts(1)


def test_journal_writes_an_event_once_over_attempts(run: Run, tmp_path: Path) -> None:
    run.event("pair", "p1", attack="a1")
    run.event("pair", "p1", attack="a1")
    with (run.directory / "journal.jsonl").open("a") as handle:
        handle.write('{"event": "pair", "id": "cut')  # a kill while writing
    again = open_run(run.recipe, run.directory, on_existing="resume", progress=Progress("quiet"))
    again.event("pair", "p1", attack="a1")
    lines = (run.directory / "journal.jsonl").read_text().splitlines()
    assert sum('"p1"' in line for line in lines) == 1
    assert json.loads(lines[0])["event"] == "attempt"


def test_usage_adds_up_over_attempts(run: Run) -> None:
    for _ in range(2):
        with run.measured("step") as spent:
            spent["tokens"] += 5
    usage = read_json(run.directory / "usage.json")
    assert usage["step"]["tokens"] == 10 and usage["step"]["peak_mb"] > 10


def test_policies(run: Run, tmp_path: Path) -> None:
    quiet = Progress("quiet")
    with pytest.raises(RunExistsError, match="--on-existing resume"):
        open_run(run.recipe, run.directory, progress=quiet)
    with pytest.raises(RunExistsError, match="another recipe"):
        open_run(Recipe(name="test", seed=9), run.directory, on_existing="resume", progress=quiet)
    assert open_run(run.recipe, run.directory, on_existing="resume", progress=quiet).manifest["attempts"] == 2
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    (other / "recipe.yaml").write_text("name: mine")  # somebody's project that happens to hold a recipe
    with pytest.raises(RunExistsError, match="not overwritten"):
        open_run(run.recipe, other, on_existing="overwrite", progress=quiet)
    (other / "recipe.yaml").unlink()
    with pytest.raises(RunExistsError, match="is a file"):
        open_run(run.recipe, other / "thesis.txt", progress=quiet)
    for policy in ("resume", "overwrite"):
        with pytest.raises(RunExistsError):
            open_run(run.recipe, other, on_existing=policy, progress=quiet)  # type: ignore[arg-type]
    assert (other / "thesis.txt").exists()
    (run.directory / "left.txt").write_text("x")
    open_run(Recipe(name="test", seed=9), run.directory, on_existing="overwrite", progress=quiet)
    assert not (run.directory / "left.txt").exists()


def test_the_directory_is_private_and_described(run: Run) -> None:
    assert run.directory.stat().st_mode & 0o777 == 0o700
    assert {"recipe.yaml", "manifest.json", "journal.jsonl", "logs"} <= {p.name for p in run.directory.iterdir()}
    assert run.manifest["machine"]["cores"] and run.manifest["versions"]["torch"]
    assert (run.directory / "logs" / "attempt_1.log").exists()


def test_a_full_disk_is_one_clear_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(run.directory / "x.json", {"old": True})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"No space left.*--on-existing resume"):
        write_json(run.directory / "x.json", {"old": False})
    monkeypatch.undo()
    assert read_json(run.directory / "x.json") == {"old": True}
    assert not list(run.directory.glob("*.tmp")) and not list(run.directory.glob(".*.tmp"))


def test_a_cut_journal_line_costs_itself_alone(run: Run) -> None:
    path = run.directory / "journal.jsonl"
    with path.open("ab") as handle:
        handle.write(b'{"event": "pair", "id": "caf\xc3')  # killed in the middle of a letter
    again = open_run(run.recipe, run.directory, on_existing="resume", progress=Progress("quiet"))
    again.event("pair", "next")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    assert json.loads(lines[-1])["id"] == "next"


def test_metrics_of_a_training_that_is_repeated_are_replaced(run: Run) -> None:
    run.metrics(1, [{"step": 1}, {"step": 2}])
    run.metrics(10, [{"step": 1}])
    run.metrics(1, [{"step": 1}])
    rows = [json.loads(line) for line in (run.directory / "metrics.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["step"]) for row in rows] == [(10, 1), (1, 1)]


def test_tokens_are_counted_when_they_are_written_not_when_they_are_read(run: Run) -> None:
    def write(number: int, batch: Sequence[int]) -> list[Draft]:
        return [Draft(str(i), "text", 7) for i in batch]

    for _ in range(2):  # the second time everything is read
        with run.measured("step"):
            run.batched(run.directory / "drafts.parquet", Draft, [[0, 1], [2]], write, label="write")
    assert read_json(run.directory / "usage.json")["step"]["tokens"] == 21


def test_a_cache_keeps_what_it_is_given_and_survives_a_broken_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kept" / "answers.sqlite"
    cache = Cache(path)
    values = {cache_key("answer", i): f"text {i}" for i in range(1200)}
    cache.put(values)
    cache.put({next(iter(values)): "another"})
    assert Cache(path).get([*values, cache_key("unknown")]) == values
    assert path.parent.stat().st_mode & 0o777 == 0o700, "it holds answers to attacks"
    path.write_bytes(b"not a database, but long enough to be taken for one" * 50)
    assert Cache(path).get(list(values)[:2]) == {} and "set aside" in caplog.text
    assert path.with_suffix(".broken").is_file()


def test_a_cache_that_is_locked_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be healthy, and another process may be writing to it: it is not set aside."""
    path = tmp_path / "kept" / "answers.sqlite"
    Cache(path).put({"key": "text"})
    with monkeypatch.context() as patched:
        patched.setattr(
            Cache, "_connect", lambda _: (_ for _ in ()).throw(sqlite3.OperationalError("database is locked"))
        )
        assert Cache(path).get(["key"]) == {}
        Cache(path).put({"other": "text"})
    assert caplog.text.count("database is locked") == 2
    assert Cache(path).get(["key"]) == {"key": "text"} and not path.with_suffix(".broken").exists()


def test_keys_do_not_run_together() -> None:
    assert cache_key("ab", "c") != cache_key("a", "bc")


def sharing(tmp_path: Path, name: str) -> Run:
    return open_run(Recipe(name=name), tmp_path / name, progress=Progress("quiet"), common=tmp_path / "common")


def test_runs_make_an_equal_step_once_and_are_all_charged_for_it(tmp_path: Path) -> None:
    made: list[str] = []

    def step(run: Run, *inputs: object) -> list[Draft]:
        path = run.directory / "step" / "texts.parquet"
        with (
            run.common("step", [path, run.directory / "step" / "absent.json"], *inputs),
            run.measured("texts") as spent,
        ):
            if not path.exists():
                made.append(run.recipe.name)
                spent["tokens"] += 7
            return run.records(path, Draft, lambda: drafts(3))

    first, second, other = (sharing(tmp_path, name) for name in ("first", "second", "other"))
    assert step(first, "x", 1) == step(second, "x", 1) == step(second, "x", 1)
    assert step(other, "x", 2) == drafts(3), "other inputs, another step"
    assert made == ["first", "other"]
    assert [read_json(tmp_path / name / "usage.json")["texts"]["tokens"] for name in ("first", "second")] == [7, 7]
    assert sorted(path.name for path in (tmp_path / "second" / "step").iterdir()) == ["texts.parquet"]


def test_a_step_that_fails_is_kept_for_nobody(tmp_path: Path) -> None:
    run = sharing(tmp_path, "first")
    with pytest.raises(KeyboardInterrupt), run.common("step", [run.directory / "x.json"]):
        write_json(run.directory / "x.json", 1)
        raise KeyboardInterrupt
    later = sharing(tmp_path, "second")
    with later.common("step", [later.directory / "x.json"]):
        assert not (later.directory / "x.json").exists()
