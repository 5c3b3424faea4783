"""What is compared: one model's judged answers, with what it cost to get there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfmoa import recipes
from selfmoa.bench import Measured, Preference
from selfmoa.capability import Answered
from selfmoa.errors import SelfMoaError, UsageError
from selfmoa.recipe import JudgeSide
from selfmoa.run import read_each, read_json, read_records, resets

__all__ = ["Arm", "load_arm", "load_arms"]

_ARMS = ("before", "after")


@dataclass(frozen=True)
class Arm:
    """One model on the evaluation prompts."""

    name: str
    items: tuple[Measured, ...]
    judges: Mapping[str, str] = field(default_factory=dict)
    """Figure -> names of its judges."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """pairs, judged answers and their tokens, trained tokens, seconds, peak MB; what is not known is absent."""
    known: tuple[Answered, ...] = ()
    """Questions with one right answer; none where the evaluation asked none."""
    votes: tuple[Preference, ...] = ()
    """What judges who were shown two answers said of this arm's against `base`; none where scores decide ..."""
    base: Mapping[str, str] = field(default_factory=dict)
    """... prompt id -> the other answer."""
    gate: JudgeSide | None = None
    """The judges with their models and options; None where the directory does not say."""


def load_arms(specs: Sequence[str]) -> list[Arm]:
    """Arms from directories of `selfmoa align` or `evaluate`; DIR:before and DIR:after name one side of a run.

    A directory alone stands for its "after", or its only side; a single directory for both sides. Raises
    `UsageError` where there is no evaluation, fewer than two arms, or where arms answered different prompts or were
    judged by different judges: their figures cannot be set against each other.
    """
    wanted = [_side(spec) for spec in specs]
    if len(wanted) == 1 and wanted[0][1] is None:
        wanted = [(wanted[0][0], side) for side in _ARMS if _path(wanted[0][0], side).is_file()]
    arms = [_arm(directory, side) for directory, side in wanted]
    if len(arms) < 2:
        raise UsageError(
            f"Got {len(arms)} arm to compare, expected two or more runs, or one run with before and after."
        )
    twice = [name for name, n in Counter(arm.name for arm in arms).items() if n > 1]
    if twice:
        raise UsageError(f"{twice[0]} is named twice; give each arm once, or rename one directory.")
    for arm in arms[1:]:
        _same_prompts(arms[0], arm)
        _same_tries(arms[0], arm)
        _same_judges(arms[0], arm)
    return arms


def load_arm(spec: str) -> Arm:
    """One arm: a directory, DIR:before or DIR:after. Raises `UsageError` where there is no such evaluation."""
    return _arm(*_side(spec))


def _side(spec: str) -> tuple[Path, str | None]:
    head, _, tail = spec.rpartition(":")
    return (Path(head), tail) if head and tail in _ARMS else (Path(spec), None)


def _path(directory: Path, side: str) -> Path:
    return directory / "evaluation" / f"{side}.parquet"


def _arm(directory: Path, side: str | None) -> Arm:
    found = [name for name in _ARMS if _path(directory, name).is_file()]
    if not found or (side and side not in found):
        raise UsageError(
            f"{directory} holds no {side + ' side of an ' if side and found else ''}evaluation; expected a directory "
            "of `selfmoa align` or `selfmoa evaluate` that has finished one."
        )
    chosen = side or found[-1]
    if not side and chosen == "before" and not (directory / "results.json").is_file():
        raise UsageError(
            f"{directory} has not finished: it holds the model before, not after. Resume it, or name "
            f"{directory}:before for the model as it was."
        )
    items = read_records(_path(directory, chosen), Measured) or []
    name = directory.name if chosen == "after" or len(found) == 1 else f"{directory.name}:before"
    if resets(directory):
        name += " (reset control)"
    trained = chosen == "after"
    known = read_records(directory / "evaluation" / f"capability_{chosen}.parquet", Answered) or []
    votes, base = _compared(directory) if trained else ((), {})
    costs = _costs(directory) if trained else {}
    return Arm(name, tuple(items), _judges(directory), costs, tuple(known), votes, base, _gate(directory))


def _compared(directory: Path) -> tuple[tuple[Preference, ...], dict[str, str]]:
    votes = read_records(directory / "evaluation" / "preferences.parquet", Preference) or []
    before = read_records(_path(directory, "before"), Measured) or [] if votes else []
    return tuple(votes), {item.prompt_id: item.answer for item in before}


def _judges(directory: Path) -> dict[str, str]:
    results = read_json(directory / "results.json") or {}
    return {str(row["name"]): str(row.get("judge") or "") for row in results.get("metrics") or []}


def _gate(directory: Path) -> JudgeSide | None:
    try:
        return recipes.load(directory / "recipe.yaml").judges.gate
    except SelfMoaError:  # none, or one of another version
        return None


def _costs(directory: Path) -> dict[str, float]:
    usage: dict[str, dict[str, Any]] = read_json(directory / "usage.json") or {}
    stages = read_each(directory, "stage_*/stage.json")
    costs = {
        "pairs": float(learnt_from(stages)),
        **judged(directory),
        "trained tokens": sum(float(stage.get("trained_tokens") or 0) for stage in stages),
        "seconds": sum(float(row.get("seconds") or 0) for row in usage.values()),
        "peak MB": max((float(row.get("peak_mb") or 0) for row in usage.values()), default=0.0),
    }
    return {name: value for name, value in costs.items() if value}


def learnt_from(stages: Iterable[dict[str, Any]]) -> int:
    """Pairs that the stages trained on, each once however often it was replayed."""
    return sum(int(stage.get("n_pairs") or 0) - int(stage.get("replayed") or 0) for stage in stages)


def judged(directory: Path) -> dict[str, float]:
    """Answers that the training judges read, and their tokens, each once however many judges there were."""
    import pyarrow.parquet as pq

    answers = tokens = 0
    for path in directory.glob("round_*/judgements.parquet"):
        ids = set(pq.read_table(path, columns=["response_id"]).column("response_id").to_pylist())
        answers += len(ids)
        written = path.with_name("responses.parquet")
        if written.is_file():
            rows = pq.read_table(written, columns=["id", "n_tokens"]).to_pylist()
            tokens += sum(row["n_tokens"] for row in rows if row["id"] in ids)
    return {"judged answers": float(answers), "judged tokens": float(tokens)}


def _same_prompts(one: Arm, other: Arm) -> None:
    first, second = ({item.prompt_id for item in arm.items} for arm in (one, other))
    if first == second:
        return
    parts = [
        f"{len(ids)} only in {arm.name} (e.g. {', '.join(sorted(ids)[:3])})"
        for ids, arm in ((first - second, one), (second - first, other))
        if ids
    ]
    raise UsageError(
        f"{one.name} and {other.name} answered different prompts: {'; '.join(parts)}. Evaluate both on the same sets "
        "(same recipe and seed), or pool runs of one recipe with different seeds (--pool)."
    )


def _same_tries(one: Arm, other: Arm) -> None:
    tries = [max((item.attempts for item in arm.items), default=0) for arm in (one, other)]
    if all(tries) and tries[0] != tries[1]:
        raise UsageError(
            f"{one.name} was asked {tries[0]} times a prompt and {other.name} {tries[1]} times; more tries succeed "
            "more often. Evaluate both with the same evaluate.attempts."
        )


def _same_judges(one: Arm, other: Arm) -> None:
    if one.gate and other.gate and one.gate != other.gate:
        raise UsageError(
            f"{one.name} and {other.name} were judged by other judges, or the same with other options (judges.gate in "
            "their recipe.yaml); evaluate both with the same judges."
        )
    for figure, judge in one.judges.items():
        if other.judges.get(figure, judge) != judge:
            raise UsageError(
                f"{figure} was judged by {judge!r} in {one.name} and by {other.judges[figure]!r} in {other.name}; "
                "evaluate both with the same judges."
            )
