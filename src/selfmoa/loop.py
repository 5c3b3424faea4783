"""Self-MOA, Algorithm 1 (arXiv 2603.07017; the project's choices are in docs/method.md).

Attack the model with prompts written for its weak spots, score its answers for safety and helpfulness,
make preference pairs, align the model on them, and go again. Every step below is a file in the run
directory: a finished one is read, an unfinished one goes on at its first unfinished batch.
"""

from __future__ import annotations

from selfmoa import steps
from selfmoa.run import Run, write_json

__all__ = ["run_loop"]


def run_loop(run: Run) -> Run:
    """Run (or resume) the whole loop and conclude it with the before/after comparison and the report."""
    recipe, say = run.recipe, run.progress.say
    session = steps.prepare(run)
    steps.measure(session, "before")
    steps.baseline(session)
    steps.train_attackers(session)

    if recipe.train.pairs:
        steps.given_pairs(session)
        steps.align_target(session, 0)

    for number in range(1, recipe.loop.n_rounds + 1):
        say(f"Round {number} of {recipe.loop.n_rounds}: pool of {len(session.pool)}")
        attacks = steps.write_attacks(session, number)
        responses = steps.answer(session, number, attacks)
        judgements = steps.judge(session, number, attacks, responses)
        won = steps.select(session, number, attacks, judgements)
        pairs = steps.prefer(session, number, attacks, responses, judgements)

        retrained = None
        if len(session.expansions) >= recipe.attack.retrain_at:
            retrained = steps.retrain_attackers(session, number, attacks)
        restarted = [] if retrained else steps.restart_attackers(session, number, attacks)
        facts = steps.summarise(session, number, attacks, responses, won, pairs, retrained, restarted)
        write_json(run.round(number) / "summary.json", facts)
        say(f"  {len(won)} attacks got through, {len(pairs)} pairs ({len(session.pairs)} waiting)")

        last = recipe.loop.stage_at_end and (session.full or number == recipe.loop.n_rounds)
        if len(session.pairs) >= (recipe.loop.min_stage_pairs if last else recipe.train.align_at):
            result = steps.align_target(
                session, number, checked=not (last and recipe.review.wanted and not session.full)
            )
            if result.verdict == "failed" or (result.over_optimised and recipe.stage.stop_on_gap and not result.kept):
                say(f"  {result.reason}. The run ends with the last good model.")
                break
        if session.full:
            break

    for again in range(1, recipe.review.passes + 1):
        if session.unchecked_since:
            steps.review(session, number, again)
    steps.measure(session, "after")
    steps.conclude(session)
    return run
