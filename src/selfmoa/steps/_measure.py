"""What a model answers to every evaluation prompt, and the gate judges' verdicts on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from selfmoa import bench
from selfmoa.bench import Answer, GateJudges, Measured
from selfmoa.generate import Generator
from selfmoa.judge import EMPTY_ANSWER, Evaluator, EvaluatorContext, make
from selfmoa.recipe import JudgeRef, JudgeSide
from selfmoa.records import Score
from selfmoa.run import Cache, read_records, write_bytes, write_records
from selfmoa.steps import _attempts, _capability, _following, _gate_maps
from selfmoa.steps._cached import CachedGenerator, CachedJudge
from selfmoa.steps._session import Evaluation, Judged

__all__ = ["gate_judges", "gate_of", "judge_answers", "measure"]


def measure(session: Evaluation, name: str) -> list[Measured]:
    """Greedy answers of the target as it is now to every evaluation prompt, scored by the gate judges only.

    Where the recipe names capability tasks, their questions are put to it as well.
    """
    run = session.run
    files = [run.directory / "evaluation" / f"{kind}{name}.parquet" for kind in _KEPT]
    shared = [*files, run.directory / "evaluation" / _gate_maps.FILE]
    if name == "after" and not session.recipe.evaluate.system and not session.model.trained("target"):
        _as_before(files)
    with run.common(f"evaluate {name}", shared, *_asked(session)) if name == "before" else nullcontext():
        items = _measured(session, name)
        _capability.ask(session, name)  # its time is measured by itself
    return items


_KEPT = ("answers_", "attempts_", "votes_", "capability_", "")
"""What the files of one side of an evaluation begin with; verdicts, which end it, last."""


def _as_before(files: Sequence[Path]) -> None:
    """An untrained model without a system prompt answers as before: its answers and verdicts are the same."""
    for file in files:
        source = file.with_name(file.name.replace("after", "before"))
        if source.is_file() and not file.exists():
            write_bytes(file, source.read_bytes())


def _asked(session: Evaluation) -> list[object]:
    """Everything that the untrained model's answers and their verdicts depend on."""
    recipe, evaluate = session.recipe, session.recipe.evaluate
    drawn = session.seed("attempts") if evaluate.attempts else ""
    sampled = (evaluate.attempts, evaluate.attempts_temperature, drawn)
    questions = (evaluate.capability, recipe.evaluation_seed) if evaluate.capability.tasks else ()
    batches = (recipe.generate.batch_size, recipe.judges.batch_size)
    gate = recipe.judges.gate
    return [session.sets.prompts(), evaluate.max_new_tokens, *sampled, questions, batches, session.weights, gate]


def _measured(session: Evaluation, name: str) -> list[Measured]:
    recipe, run = session.recipe, session.run
    prompts = session.sets.prompts()
    directory = run.directory / "evaluation"
    size = recipe.generate.batch_size
    system = (recipe.evaluate.system or None) if name == "after" else None
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index][1].text), index))

    generator = _generator(session, name)

    def write(batch_number: int, batch: Sequence[int]) -> list[Answer]:
        return bench.answer_batch(
            generator,
            [prompts[index] for index in batch],
            role="target",
            max_new_tokens=recipe.evaluate.max_new_tokens,
            seed=batch_number,
            system=system,
        )

    with run.measured(f"evaluate {name}"):
        answers = run.batched(
            directory / f"answers_{name}.parquet",
            Answer,
            [order[start : start + size] for start in range(0, len(order), size)],
            write,
            label=f"evaluate {name}",
        )
        attempts = _attempts.attempt(session, name, system)
        return run.records(
            directory / f"{name}.parquet",
            Measured,
            lambda: _score(session, answers, name, attempts),
            # of the votes that were given the cache holds every one: an endpoint that was down is asked about the rest
            again=lambda _: session.cache is not None and _unscored(directory / f"votes_{name}.parquet"),
        )


def _unscored(votes: Path) -> bool:
    """True where a judge gave no verdict on an answer that is not empty."""
    return any(vote.value is None and vote.reason != EMPTY_ANSWER for vote in read_records(votes, Score) or [])


def judge_answers(session: Judged, answers: Sequence[Answer]) -> list[Measured]:
    """The gate's verdicts on answers that were made elsewhere, kept as those of a model without adapter."""
    directory = session.run.directory / "evaluation"
    with session.run.measured("judge"):
        session.run.records(directory / "answers_before.parquet", Answer, lambda: answers)
        return session.run.records(directory / "before.parquet", Measured, lambda: _score(session, answers, "before"))


def _generator(session: Evaluation, name: str) -> Generator:
    if session.cache is None:
        return session.model
    adapter = session.run.manifest.get("adapter_sha256", "") if name == "after" else ""
    model, quantised = session.weights
    strength = f" {session.recipe.model.lora.model_dump_json()}" if adapter else ""
    # bfloat16 answers otherwise than float32
    how = " 4 bit" if quantised else "" if session.model.exact else " rounded"
    return CachedGenerator(session.model, session.cache, f"{model} {adapter}{strength}{how}")


def _score(session: Judged, answers: Sequence[Answer], name: str, attempts: Sequence[Answer] = ()) -> list[Measured]:
    """The gate's verdicts, and the verifiers'; each judge's own vote on a greedy answer is kept for the audit."""
    votes: list[Score] = []
    _gate_maps.fit_maps(session)
    gate, allowed = gate_of(session), session.recipe.judges.max_unscored
    found = bench.score(answers, gate, max_unscored=allowed, on_vote=votes.append)
    found = _attempts.with_attempts(found, attempts, gate, max_unscored=allowed)
    write_records(session.run.directory / "evaluation" / f"votes_{name}.parquet", votes, Score)
    return _following.follow(session, found)


def gate_of(session: Judged) -> GateJudges:
    """The gate judges, loaded for one scoring and let go."""
    _gate_maps.known_maps(session)
    return gate_judges(session.recipe.judges.gate, session.context, session.cache)


def gate_judges(side: JudgeSide, context: EvaluatorContext, cache: Cache | None = None) -> GateJudges:
    """The judges of the grading side, loaded; with a cache they are asked about each answer once."""

    def load(ref: JudgeRef) -> Evaluator:
        judge = make(ref, context)
        return CachedJudge(judge, cache) if cache else judge

    return GateJudges(
        safety=[load(ref) for ref in side.safety],
        helpfulness=[load(ref) for ref in side.helpfulness],
        refusal=load(side.refusal),
        coherence=load(side.coherence),
    )
