"""Train the expander and the hider: at the start on E0 and H0, later on their successes (step 9)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfmoa.attack import expand_request, hide_request
from selfmoa.errors import TrainingError, UsageError
from selfmoa.generate import Request
from selfmoa.records import Attack
from selfmoa.run import read_json, write_json
from selfmoa.steps._session import Session
from selfmoa.train import restore, sft, snapshot

__all__ = ["restart_attackers", "retrain_attackers", "train_attackers"]

_FILES = ("adapter_config.json", "adapter_model.safetensors", "done.json")
"""Of a finished training, the file that says so last."""

Texts = Sequence[tuple[str, str]]


def train_attackers(session: Session) -> None:
    """SFT of the expander on E0 and of the hider on H0 (docs/method.md, One round); not where nobody attacks."""
    if session.recipe.attack.static or not session.recipe.loop.n_rounds:
        return
    directory, recipe, material = session.run.directory / "attackers_00", session.recipe, session.material
    files = [directory / role / name for role in ("expander", "hider") for name in _FILES]
    sfts = (recipe.attack.expand.sft, recipe.attack.hider.sft)
    made_from = (material.expansions, material.hidings, sfts, recipe.model, session.context.model_key, recipe.seed)
    with session.run.common("train attackers", files, *made_from):
        _train(session, directory, material.expansions, material.hidings, start="target")


def retrain_attackers(session: Session, number: int, attacks: Sequence[Attack]) -> dict[str, Any]:
    """SFT on E_buf and H_buf with a replay of E0 and H0; empties both buffers.

    Starts from a copy of the target's adapter (`attack.init`), or from the untouched base where the attackers
    refuse too often. A training that diverges leaves both as they were.
    """
    settings = session.recipe.attack
    asked = [attack for attack in attacks if attack.rewriting_asked]
    refusals = sum(attack.attacker_refused for attack in asked) / max(len(asked), 1)
    restarted = refusals > settings.restart_refusal_rate
    expansions, replayed_e = _with_replay(session, number, session.expansions, session.material.expansions)
    hidings, replayed_h = _with_replay(session, number, session.hidings, session.material.hidings)
    start = "base" if restarted or settings.init == "base" else "target"
    held = {role: snapshot(session.model, role) for role in ("expander", "hider")}
    failed = ""
    try:
        _train(session, session.run.directory / f"attackers_{number:02d}", expansions, hidings, start=start)
    except (TrainingError, UsageError) as error:  # diverged, or no example can be trained on
        failed = str(error)
        for role, weights in held.items():
            restore(session.model, role, weights)
        session.run.progress.say(f"  The attackers stay as they were: {failed}")
    facts = {
        "failed": failed,
        "expander_pairs": len(session.expansions),
        "hider_pairs": len(session.hidings),
        "replayed": replayed_e + replayed_h,
        "refusal_rate": refusals,
        "restarted": restarted,
        "start": start,
    }
    if not failed:
        session.retrained |= {role for role, pairs in (("expander", expansions), ("hider", hidings)) if pairs}
    session.run.event("attackers retrained", str(number), **facts)
    session.expansions, session.hidings = [], []
    return facts


def restart_attackers(session: Session, number: int, attacks: Sequence[Attack]) -> list[dict[str, Any]]:
    """Attackers of whose round too much was refused or unusable go back to what E0 or H0 made of them.

    Only one that was retrained since can have drifted (`attack.restart_unusable_rate`).
    """
    facts = []
    for role, (bad, n) in unusable(attacks).items():
        origin = session.run.directory / "attackers_00" / role
        drifted = role in session.retrained and bad > n * session.recipe.attack.restart_unusable_rate
        if not drifted or read_json(origin / "done.json") is None:
            continue
        session.model.load_role(role, origin)
        session.retrained.discard(role)
        where = session.run.directory / f"attackers_{number:02d}" / role  # whoever asks for the last hider finds it
        session.model.save_role(role, where)
        write_json(where / "done.json", {"restarted": True, "loss": None, "pairs": 0, "tokens": 0})
        facts.append({"role": role, "unusable": bad, "of": n})
        session.run.event("attacker restarted", f"{number} {role}", unusable=bad, of=n)
        session.run.progress.say(f"  {bad} of {n} texts of the {role} were unusable: it goes back to its seed training")
    return facts


def unusable(attacks: Sequence[Attack]) -> dict[str, tuple[int, int]]:
    """Attacker -> (texts that were refused or unusable, all that it was asked for) in one round."""
    asked = [attack for attack in attacks if attack.rewriting_asked]
    hidden = [attack for attack in asked if not attack.plain and _was_expanded(attack)]
    return {
        "expander": (sum(not _was_expanded(attack) for attack in asked), len(asked)),
        "hider": (sum(attack.status == "dropped" for attack in hidden), len(hidden)),
    }


def _was_expanded(attack: Attack) -> bool:
    """True where the expansion was usable, whatever became of its hidden version."""
    if attack.fell_back:
        return False
    return attack.status == "kept" or attack.hidden != attack.expansion or attack.reason.startswith("hid")


def _with_replay(session: Session, number: int, buffer: Texts, seeds: Texts) -> tuple[list[tuple[str, str]], int]:
    count = min(round(len(buffer) * session.recipe.attack.replay_fraction), len(seeds))
    replay = random.Random(session.seed(number, "replay")).sample(list(seeds), count)
    return [*buffer, *replay], count


def _train(session: Session, directory: Path, expansions: Texts, hidings: Texts, *, start: str) -> None:
    settings = session.recipe.attack
    plan = (
        ("expander", expand_request, expansions, settings.expand.sft),
        ("hider", hide_request, hidings, settings.hider.sft),
    )
    for role, ask, pairs, training in plan:
        where = directory / role
        if not pairs:  # e.g. every success was asked plainly: nothing to learn to hide
            continue
        if read_json(where / "done.json") is not None:
            session.model.load_role(role, where)
            continue
        seed = session.seed(directory.name, role)
        if start == "target":
            session.model.add_role(role, copy_of="target")
        else:
            session.model.add_role(role, seed=seed)
        with (
            session.run.measured(f"train {role}") as spent,
            session.run.progress.task(f"train {role}", 100, "%") as task,
        ):
            outcome = sft(
                session.model,
                role,
                _examples(session, ask, pairs),
                training,
                directory=where,
                seed=seed,
                on_progress=Percent(task),
            )
            spent["tokens"] += outcome.trained_tokens
        session.model.save_role(role, where)
        session.run.metrics(f"{directory.name}/{role}", outcome.metrics)
        write_json(where / "done.json", {"loss": outcome.loss, "pairs": len(pairs), "tokens": outcome.trained_tokens})


def _examples(session: Session, ask: Any, pairs: Texts) -> list[tuple[str, str]]:
    requests: list[Request] = [ask(source) for source, _ in pairs]
    return [(session.model.render(request), target) for request, (_, target) in zip(requests, pairs, strict=True)]


class Percent:
    """Turns a trainer's share done into whole percents of a progress task."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._done = 0

    def __call__(self, share: float, _facts: dict[str, Any]) -> None:
        done = int(share * 100)
        if done > self._done:
            self._task.advance(done - self._done)
            self._done = done
