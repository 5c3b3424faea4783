"""A recipe's work by step, and what it costs at the calibrated rates. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from selfmoa.estimate._calibration import Calibration, calibrate, find_calibration
from selfmoa.recipe import OWN_APART, OWN_SPARE, OWN_TOKENS, Recipe
from selfmoa.run import Run, write_json

__all__ = ["StepEstimate", "estimate", "estimated", "store_estimate"]

_PAIRED = 0.8
"""Of the pairs that a round's prompts could give, the share that they do; 0.77 and 0.83 in the demo's rounds."""
_WRONG, _STILL_WRONG = 0.08, 0.035
"""Of the prompts that the first review, and any later one, tries: the share that the aligned model gets wrong; as many
earlier pairs join them. 0.05 to 0.09 and 0.03 to 0.04 in the demo's runs."""
_PASSES = 2
"""Times that the resident model reads an answer to be scored: with its prompt (which gives its states too) and without
it; those to attacks are read again where they are changed. 1.7 in the demo's rounds."""
_PASSES_GATE = 0.2
"""The same for the judges that grade; the embedded ones read by a small encoder."""
_REFERENCE = 1 / 3
"""Of a preference step's cost, the part that the reference takes; SFT has none."""


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One step, named as in usage.json."""

    name: str
    seconds: float
    tokens: float
    """Sampled, or trained on."""


def estimate(recipe: Recipe, rates: Calibration) -> list[StepEstimate]:
    """The steps of a whole run in order; what must be fetched and the first training of the judges are not in it."""
    own = _sampled("prepare", rates, recipe.seeds.own * fmean(OWN_SPARE), OWN_TOKENS, 0)
    steps = [replace(own, seconds=own.seconds + rates.load_seconds), _evaluation(recipe, rates, "before")]
    steps += [_check(recipe, rates), *_attackers(recipe, rates)]
    waiting, stage, rounds = 0.0, 0, recipe.loop.n_rounds
    for number in range(1, rounds + 1):
        steps += _round(recipe, rates, number)
        waiting += _pairs(recipe)
        last = number == rounds and recipe.loop.stage_at_end
        if waiting >= (recipe.loop.min_stage_pairs if last else recipe.train.align_at):
            stage += 1
            steps.append(_stage(recipe, rates, stage, waiting))
            waiting = 0.0
    unchecked = recipe.review.passes if recipe.review.wanted and recipe.loop.stage_at_end and stage else 0
    for again in range(1, unchecked + 1):
        stage += 1
        steps += _review(recipe, rates, rounds + again, stage, _WRONG if again == 1 else _STILL_WRONG)
    if recipe.train.pairs:
        stage += 1
        steps.append(_stage(recipe, rates, stage, recipe.loop.max_pairs or recipe.train.align_at))
    tries = (1 + len(recipe.stage.steps)) / 2  # the first step that passes ends the search
    steps[2] = _check(recipe, rates, 1 + (stage - unchecked) * tries)
    return [step for step in [*steps, _evaluation(recipe, rates, "after")] if step.seconds]


def estimated(recipe: Recipe, *, measure: bool = False) -> dict[str, Any] | None:
    """What is shown and stored with a run: seconds, tokens, MB, and the steps.

    None where this model was never measured on this machine, unless `measure` says to do so now (under a minute for a
    small model). Memory is that of the calibration; judges that are models of their own come on top.
    """
    rates = find_calibration(recipe) or (calibrate(recipe) if measure else None)
    if rates is None:
        return None
    steps = estimate(recipe, rates)
    return {
        "seconds": round(sum(step.seconds for step in steps), 1),
        "tokens": round(sum(step.tokens for step in steps)),
        "peak_mb": round(rates.peak_mb),
        "steps": {step.name: {"seconds": round(step.seconds, 1), "tokens": round(step.tokens)} for step in steps},
    }


def store_estimate(run: Run) -> None:
    """Put the estimate into a run that starts, where there is one; the report shows it beside what was spent."""
    path = run.directory / "estimate.json"
    found = estimated(run.recipe) if run.manifest.get("attempts") == 1 else None
    if found is not None:
        write_json(path, found)


def _sampled(name: str, rates: Calibration, n: float, longest: int, passes: float) -> StepEstimate:
    """`n` answers sampled and then read `passes` times with their prompts."""
    tokens = n * longest * rates.filled
    read = passes * (tokens + n * rates.prompt_tokens)
    return StepEstimate(name, tokens * rates.sample_seconds + read * rates.read_seconds, tokens)


def _evaluation(recipe: Recipe, rates: Calibration, name: str) -> StepEstimate:
    sets = recipe.evaluate
    n = sets.harmful.n * (1 + sets.attempts) + (sets.edgy.n + sets.benign.n) * (1 + sets.pairs)
    return _sampled(f"evaluate {name}", rates, n, sets.max_new_tokens, _PASSES_GATE)


def _check(recipe: Recipe, rates: Calibration, times: float = 1.0) -> StepEstimate:
    asked = recipe.stage.n_harmless + recipe.stage.n_harmful + recipe.seeds.own / OWN_APART
    n = asked * times if recipe.stage.check else 0
    return _sampled("stage checks", rates, n, recipe.stage.max_new_tokens, 1.0)


def _attackers(recipe: Recipe, rates: Calibration) -> list[StepEstimate]:
    if recipe.attack.static or not recipe.loop.n_rounds:
        return []
    found = []
    for role, settings in (("expander", recipe.attack.expand), ("hider", recipe.attack.hider)):
        if role == "hider" and not recipe.attack.hide:
            continue
        length = min(rates.prompt_tokens + settings.sampling.max_new_tokens * rates.filled, settings.sft.max_length)
        tokens = settings.sft.max_pairs * settings.sft.epochs * length
        found.append(StepEstimate(f"train {role}", tokens * rates.train_seconds * (1 - _REFERENCE), tokens))
    return found


def _round(recipe: Recipe, rates: Calibration, number: int) -> list[StepEstimate]:
    attack = recipe.attack
    asked = 0 if attack.static else attack.k * (1 - attack.benign_fraction) * attack.rewritten
    written = _sampled("", rates, asked * attack.tries, attack.expand.sampling.max_new_tokens, 0)
    disguised = asked * (1 - attack.plain_fraction) if attack.hide else 0
    hidden = _sampled("", rates, disguised, attack.hider.sampling.max_new_tokens, 0)
    return [
        StepEstimate(f"round {number} attack", written.seconds + hidden.seconds, written.tokens + hidden.tokens),
        *_answered(recipe, rates, number, attack.k),
    ]


def _review(recipe: Recipe, rates: Calibration, number: int, stage: int, wrong: float) -> list[StepEstimate]:
    tried = recipe.review.n_harmful + recipe.review.n_harmless
    return [
        _sampled(f"round {number} try", rates, tried, recipe.review.max_new_tokens, 0),
        *_answered(recipe, rates, number, wrong * tried),
        _stage(recipe, rates, stage, 2 * wrong * tried),
    ]


def _answered(recipe: Recipe, rates: Calibration, number: int, prompts: float) -> list[StepEstimate]:
    generate = recipe.generate
    answers = prompts * generate.m
    return [
        _sampled(
            f"round {number} sample",
            rates,
            answers,
            generate.sampling.max_new_tokens,
            1.0 if generate.guided_drop_share else 0.0,  # to find the unlikely ones
        ),
        StepEstimate(
            f"round {number} score",
            answers
            * _PASSES
            * (rates.prompt_tokens + generate.sampling.max_new_tokens * rates.filled)
            * rates.read_seconds,
            0,
        ),
    ]


def _pairs(recipe: Recipe) -> float:
    """Pairs that a round gives."""
    most = recipe.generate.m // 2
    if recipe.prefer.pairing != "paper":  # which has no limit of its own
        most = min(most, recipe.prefer.max_pairs_per_prompt)
    return recipe.attack.k * most * _PAIRED


def _stage(recipe: Recipe, rates: Calibration, number: int, pairs: float) -> StepEstimate:
    train = recipe.train
    answer = recipe.generate.sampling.max_new_tokens * rates.filled
    length = min(rates.prompt_tokens + min(answer, train.answer_tokens or answer), train.max_length)
    if train.pairs:  # of people; how long they are is not known yet, so the most
        length = train.max_length
    tokens = pairs * 2 * length * train.epochs
    return StepEstimate(f"stage {number} train", tokens * rates.train_seconds, tokens)
