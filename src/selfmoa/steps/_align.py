"""One alignment stage: train the target on P_buf, then keep as much of the update as the check allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from selfmoa.bench import DevAnswer, Estimate, StageCheck, stage_check
from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import Request
from selfmoa.judge import Evaluator, Item, refusal_class
from selfmoa.recipe import Sampling, Train
from selfmoa.records import CHECKED_LATER, UNDONE, Pair, Prompt, StageResult, to_text
from selfmoa.run import read_json, write_json, write_records
from selfmoa.steps._attackers import Percent
from selfmoa.steps._judge import safety_between_models
from selfmoa.steps._session import Session
from selfmoa.train import TrainOutcome, align, first_tokens_share, objective_scores, scale_update, snapshot

__all__ = ["align_target", "baseline"]

_LOOKED_AT = 32
"""Pairs on which it is measured how much of the learnt preference lies in the first tokens."""


@dataclass(frozen=True)
class _TrainedPair(Pair):
    margin_in_loss: float = 0.0
    """sum_i b_i * (r_i(chosen) - r_i(rejected)), what the loss subtracts (docs/method.md, Loss)."""
    margin_by_objective: str = ""
    """Its parts b_i * (r_i(chosen) - r_i(rejected)) by objective; `from_text` reads them."""


def align_target(
    session: Session, number: int, *, checked: bool = True, lr: float | None = None, keep: float = 1.0
) -> StageResult:
    """Align the target on P_buf, which is emptied; a stage that the check rejects leaves the target as it was.

    Not `checked`, the update stays as it is until the next stage, whose check then sees both. Without pairs nothing is
    trained, and what waits is checked. `lr` replaces the recipe's; of the update a share `keep` is taken at the most.
    """
    session.stages += 1
    directory = session.run.stage(session.stages)
    pairs, session.pairs = session.pairs, []
    train = _settings(session, lr)
    entering = snapshot(session.model, "target")
    good = session.unchecked_since or entering
    saved = read_json(directory / "stage.json")
    if saved is None:
        result = _stage(session, number, pairs, train, entering, good if checked else None, keep)
    else:
        session.model.load_role("target", directory / "adapter")
        result = StageResult(**saved)
    if result.n_pairs:
        session.trained |= {pair.id: pair for pair in pairs}
        session.unreviewed = entering if session.unchecked_since else None
    session.unchecked_since = None if checked or result.verdict == "failed" else good
    return result


def _stage(
    session: Session,
    number: int,
    pairs: Sequence[Pair],
    train: Train,
    entering: dict[str, Any],
    good: dict[str, Any] | None,
    keep: float,
) -> StageResult:
    """Train and check; `entering` are the weights before, `good` those of the last check, None for no check."""
    directory = session.run.stage(session.stages)
    _write_pairs(session, directory, pairs)
    start = time.monotonic()
    before = _token_logprobs(session, pairs)
    outcome, failure = _tried(session, directory, pairs, train, entering, keep)
    learnt = pairs if outcome else []
    if failure and not session.unchecked_since:
        result = _result(session, number, learnt, None, verdict="failed", reason=failure, start=start)
    else:
        opening = first_tokens_share(before, _token_logprobs(session, pairs)) if outcome else None
        unreviewed = (entering if outcome else session.unreviewed) if session.unchecked_since else None
        result = _accept(session, number, learnt, outcome, good, unreviewed, start=start)
        told = f"{result.reason}; its own training failed: {failure}" if failure else result.reason
        result = replace(result, first_tokens_share=opening, reason=told)
    result = replace(result, replayed=sum(pair.id in session.trained for pair in learnt))
    session.model.save_role("target", directory / "adapter")
    write_json(directory / "stage.json", result)
    session.run.event(
        "stage",
        str(session.stages),
        verdict=result.verdict,
        step=result.step,
        pairs=[pair.id for pair in pairs],
    )
    session.run.progress.say(
        f"  stage {session.stages}: {len(learnt)} pairs, {result.verdict}, {result.step:.0%} of the update kept"
    )
    return result


def _write_pairs(session: Session, directory: Path, pairs: Sequence[Pair]) -> None:
    train = session.recipe.train
    _, b = train.coefficients()
    scores = objective_scores(pairs, train, ignore_safety_on_harmless=session.recipe.prefer.pairing != "paper")
    trained = []
    for pair, chosen, rejected in zip(pairs, scores.chosen, scores.rejected, strict=True):
        parts = [w * (x - y) for w, x, y in zip(b, chosen, rejected, strict=True)]
        named = to_text({one.name: part for one, part in zip(train.objectives, parts, strict=True)})
        trained.append(_TrainedPair(**asdict(pair), margin_in_loss=sum(parts), margin_by_objective=named))
    write_records(directory / "pairs.parquet", trained, _TrainedPair)


def _token_logprobs(session: Session, pairs: Sequence[Pair]) -> list[tuple[list[float], list[float]]]:
    """Per-token log-probs (chosen, rejected) of some pairs under the target as it is now."""
    shown = sorted(pairs, key=lambda pair: pair.id)[:_LOOKED_AT]  # ids are hashes: an unbiased draw
    texts = [
        (session.model.render(Request(user=pair.prompt)), text)
        for pair in shown
        for text in (pair.chosen, pair.rejected)
    ]
    size = session.recipe.judges.batch_size
    found = [tokens.tolist() for tokens in session.model.token_logprobs(texts, role="target", batch_size=size)]
    return list(zip(found[::2], found[1::2], strict=True))


def _settings(session: Session, lr: float | None) -> Train:
    """With label smoothing "measured": the share of this stage's attack pairs whose order a change turned."""
    train = session.recipe.train.model_copy(update={"lr": lr} if lr else {})
    flips, session.flips = session.flips, []
    if train.label_smoothing != "measured":
        return train
    turned, asked = (sum(column) for column in zip(*flips, strict=True)) if flips else (0, 0)
    return train.model_copy(update={"label_smoothing": min(turned / asked, 0.49) if asked else 0.0})


def _tried(
    session: Session, directory: Path, pairs: Sequence[Pair], train: Train, entering: dict[str, Any], keep: float
) -> tuple[TrainOutcome | None, str]:
    """(outcome, why there is none); without one the target is as it was, else a share `keep` of the update is taken."""
    if not pairs:
        return None, ""
    try:
        outcome = _train(session, directory, pairs, train)
        scale_update(session.model, entering, keep)
        return outcome, ""
    except (TrainingError, UsageError) as error:  # diverged, or no pair can be trained on
        session.run.progress.say(f"  stage {session.stages} could not be trained: {error}")
        scale_update(session.model, entering, 0.0)
        return None, str(error)


def _train(session: Session, directory: Path, pairs: Sequence[Pair], train: Train) -> TrainOutcome:
    name = f"stage {session.stages} train"
    with session.run.measured(name) as spent, session.run.progress.task(name, 100, "%") as task:
        outcome = align(
            session.model,
            pairs,
            train,
            directory=directory,
            seed=session.seed("stage", session.stages),
            on_progress=Percent(task),
            ignore_safety_on_harmless=session.recipe.prefer.pairing != "paper",
            unfinished=session.unfinished,
        )
        spent["tokens"] += outcome.trained_tokens
    session.run.metrics(session.stages, outcome.metrics)
    return outcome


@dataclass(frozen=True)
class _Candidate:
    """A share of an update that may be kept."""

    after: dict[str, Any]
    step: float
    told: str = ""
    """What is not in it, in words."""

    def kept(self, check: StageCheck) -> dict[str, Any]:
        """The part of a stage's result that says so."""
        reason = f"{check.reason}{self.told and ';'}{self.told}"
        return {"verdict": check.verdict, "kept": True, "step": self.step, "reason": reason}


def _candidates(steps: Sequence[float], trained: dict[str, Any], unreviewed: dict[str, Any] | None) -> list[_Candidate]:
    """In the order in which they are tried: a review that cannot be kept as a whole is undone before less is kept."""
    search = [_Candidate(trained, step) for step in steps]
    if unreviewed is None:
        return search
    return [search[0], *(_Candidate(unreviewed, step, f" {UNDONE}") for step in steps)]


def _accept(
    session: Session,
    number: int,
    pairs: Sequence[Pair],
    outcome: TrainOutcome | None,
    entering: dict[str, Any] | None,
    unreviewed: dict[str, Any] | None,
    *,
    start: float,
) -> StageResult:
    """Line search: the largest share of the update that the check accepts; else a provisional one; else none.

    `entering` are the weights before the update; None where it is left to the next stage's check. `unreviewed` are
    those before the last review, if this stage is one's: what is not accepted with it is tried without.
    """
    settings = session.recipe.stage
    facts: dict[str, Any] = {"number": number, "pairs": pairs, "outcome": outcome, "start": start}
    if entering is None:
        return _result(session, **facts, verdict="accepted", kept=True, step=1.0, reason=CHECKED_LATER)
    if not settings.check or not session.material.dev:
        return _result(session, **facts, verdict="accepted", kept=True, step=1.0, reason="no stage check")
    session.context.memory.clear()  # once: what the shares answer alike is read once
    session.unaligned = session.unaligned or _dev_answers(session, "before")
    candidates = _candidates(settings.steps, snapshot(session.model, "target"), unreviewed)
    candidate, check = _searched(session, candidates, entering)
    if check.verdict == "accepted" or (check.verdict == "inconclusive" and settings.keep_inconclusive):
        scale_update(session.model, entering, candidate.step, after=candidate.after)
        return _result(session, **facts, **candidate.kept(check), check=check)
    scale_update(session.model, entering, 0.0)
    return _result(session, **facts, verdict=check.verdict, reason=check.reason, check=check)


def _searched(
    session: Session, candidates: Sequence[_Candidate], entering: dict[str, Any]
) -> tuple[_Candidate, StageCheck]:
    """The first candidate that the check accepts; else the first inconclusive one, else the last; and its check."""
    settings = session.recipe.stage
    provisional: tuple[_Candidate, StageCheck] | None = None
    for candidate in candidates:
        scale_update(session.model, entering, candidate.step, after=candidate.after)
        check = stage_check(
            session.unaligned,
            _dev_answers(session, f"stage_{session.stages:02d}{'_without' * bool(candidate.told)}_{candidate.step:g}"),
            settings.tolerance,
            source_tolerance=settings.source_tolerance,
            max_gap=settings.max_judge_gap,
        )
        shown = f"{candidate.step:.0%} of the update{candidate.told}"
        session.run.progress.say(f"  stage check at {shown}: {check.verdict} ({check.reason})")
        if check.verdict == "accepted":
            return candidate, check
        if check.verdict == "inconclusive":
            provisional = provisional or (candidate, check)
    return provisional or (candidate, check)


def _result(
    session: Session,
    number: int,
    pairs: Sequence[Pair],
    outcome: TrainOutcome | None,
    *,
    verdict: Any,
    start: float,
    reason: str = "",
    kept: bool = False,
    step: float = 0.0,
    check: StageCheck | None = None,
) -> StageResult:
    attack = [pair for pair in pairs if pair.kind == "attack"]
    return StageResult(
        stage=session.stages,
        round=number,
        n_pairs=len(pairs),
        verdict=verdict,
        kept=kept,
        step=step,
        reason=reason,
        over_refusal_change=check.over_refusal_change.value if check else None,
        over_refusal_high=check.over_refusal_change.high if check else None,
        helpfulness_change=check.helpfulness_change.value if check else None,
        helpfulness_low=check.helpfulness_change.low if check else None,
        harmful_refusal_change=check.harmful_refusal_change.value if check else None,
        safety_change=_plain(check.safety_change) if check else None,
        watched_change=_plain(check.watched_change) if check else None,
        judge_gap=_plain(check.judge_gap) if check else None,
        judge_gap_low=check.judge_gap.low if check and check.judge_gap.known else None,
        over_optimised=bool(check and check.over_optimised),
        train_loss=outcome.loss if outcome else None,
        chosen_less_safe_share=sum(pair.less_safe_chosen for pair in attack) / max(len(attack), 1),
        guided_share=sum(pair.chosen_guided != pair.rejected_guided for pair in pairs) / max(len(pairs), 1),
        trained_tokens=outcome.trained_tokens if outcome else 0,
        seconds=round(time.monotonic() - start, 1),
    )


def _plain(estimate: Estimate) -> float | None:
    """None where nobody scored."""
    return estimate.value if estimate.n else None


def baseline(session: Session) -> None:
    """The unaligned model's development answers, which every stage is compared with; before anything is trained.

    They are measured when a check first asks: a resumed run may have none to make any more.
    """
    if session.recipe.stage.check:
        _dev_texts(session, "before")


def _dev_answers(session: Session, name: str) -> list[DevAnswer]:
    """Greedy answers to the development prompts by the target as it is now (or was: `before`), with plain measures."""
    texts = _dev_texts(session, name)
    with session.run.measured("stage checks"):
        return _measure(session, session.material.dev, texts)


def _dev_texts(session: Session, name: str) -> list[str]:
    prompts = session.material.dev
    sampling = Sampling(temperature=0.0, max_new_tokens=session.recipe.stage.max_new_tokens)
    path = session.run.directory / "dev" / f"{name}.parquet"
    made_from = (*session.weights, prompts, sampling, session.recipe.generate.batch_size)
    # only the untrained model's answers are the same in other runs
    shared = session.run.common("development answers", [path], *made_from) if name == "before" else nullcontext()
    with shared, session.run.measured("stage checks"):
        texts = session.answers(path, prompts, sampling, label="development prompts")
    return [texts[i] for i in range(len(prompts))]


def _measure(session: Session, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[DevAnswer]:
    items = [Item(prompt.id, prompt.text, text, prompt.kind) for prompt, text in zip(prompts, texts, strict=True)]
    refusals = session.judges.refusal.score(items)
    coherences = session.judges.coherence.score(items)
    attacks = [item for item in items if item.kind == "attack"]
    safety = _safety(session, session.judges.safety, attacks)
    watched = _safety(session, session.watch, attacks)
    answers = []
    for prompt, text, refusal, coherence in zip(prompts, texts, refusals, coherences, strict=True):
        refused = None if refusal.value is None else refusal_class(refusal.value)
        known = refused is not None and coherence.value is not None
        useful = (coherence.value if refused == "compliance" else 0.0) if known else None
        if not text.strip():  # no refusal, and of no use: a model that has gone silent must not pass
            useful = 0.0
        answers.append(
            DevAnswer(
                prompt.id,
                prompt.kind,
                refused,
                useful,
                safety.get(prompt.id),
                watched.get(prompt.id),
                source=prompt.source,
            )
        )
    return answers


def _safety(session: Session, judges: Sequence[Evaluator], items: Sequence[Item]) -> dict[str, float | None]:
    """Safety by item id; nothing where there are no watch judges to compare with."""
    if not session.watch or not items:
        return {}
    votes = [vote for judge in judges for vote in judge.score(items)]
    return safety_between_models(session, votes)
