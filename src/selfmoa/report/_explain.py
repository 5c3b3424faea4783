"""Where a preference pair came from: seed, attack, votes, rule, margin, stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfmoa.errors import UsageError, nearest
from selfmoa.prefer import SAFE_BEATS_UNSAFE
from selfmoa.recipe import Prefer
from selfmoa.records import BARE, PERTURBED, from_text
from selfmoa.report._counterfactual import counterfactuals
from selfmoa.report._load import RunData, Step, load_run, read_rows
from selfmoa.report._text import number, visible

__all__ = ["explain", "explain_text"]

Row = dict[str, Any]
_INDENT = "    "


def explain(run_dir: Path, pair_id: str) -> Row:
    """Everything the run directory knows about one pair; nothing is redacted.

    `pair_id` may be shortened to what is unique. The result holds `pair`, `attack`, `published` (the seed's words in
    its data set, where it was asked in the other form), `hit` (the reason where the attack got through), `chosen` and
    `rejected` (each `response`, `judgement` and every vote in `scores`), `bars` (what counts as safe and as unsafe,
    where the rule asks), `counterfactuals` (what would have turned the pair) and `stage` (number, verdict,
    `margin_in_loss`, and under `again` later stages that took it along), None where it was not trained on.
    Raises `UsageError` for an unknown or ambiguous id.
    """
    run = load_run(Path(run_dir))
    settings = _settings(run)
    step, pair = _find(run, pair_id)
    attack_id = pair.get("attack_id")
    hits = [row for row in _matching(step, "selected", "attack_id", attack_id) if row.get("event") == "hit"]
    attacks = _matching(step, "attacks", "id", attack_id)
    sides = {side: _answer(step, pair.get(f"{side}_id")) for side in ("chosen", "rejected")}
    return {
        "pair": pair,
        "attack": attacks[0] if attacks else None,
        "published": run.published.get(str(attacks[0].get("seed_id"))) if attacks else None,
        "hit": hits[0] if hits else None,
        **sides,
        "bars": _bars(pair, settings),
        "counterfactuals": counterfactuals(pair, sides, _changed(step, pair), settings),
        "stage": _stage(run, str(pair["id"])),
    }


def _bars(pair: Row, settings: Prefer) -> dict[str, float] | None:
    names = ("safe_min", "safe_min_undeclined", "unsafe_max", "unsafe_max_undeclined")
    return {name: getattr(settings, name) for name in names} if pair.get("rule") == SAFE_BEATS_UNSAFE else None


def _settings(run: RunData) -> Prefer:
    told = run.recipe.get("prefer")
    return Prefer(**(told if isinstance(told, dict) else {}))


def _changed(step: Step, pair: Row) -> list[Row]:
    """Votes on the two answers after each change that was tried on them."""
    ids = {pair.get("chosen_id"), pair.get("rejected_id")}
    rows = read_rows(step.directory / "perturbed.parquet") or []
    return [row for row in rows if str(row.get("response_id")).partition(PERTURBED)[0] in ids]


def _find(run: RunData, pair_id: str) -> tuple[Step, Row]:
    # pairs of people come from no round, only to a stage
    tables = [(step, read_rows(step.directory / "pairs.parquet") or []) for step in (*run.stages, *run.rounds)]
    known = {str(row.get("id")): (step, row) for step, rows in tables for row in rows}
    if not known:
        raise UsageError(f"{run.directory} holds no preference pairs yet; let the run finish a round.")
    if pair_id in known:
        return known[pair_id]
    fitting = [name for name in known if pair_id and name.startswith(pair_id)]
    if len(fitting) == 1:
        return known[fitting[0]]
    if fitting:
        raise UsageError(f"{pair_id!r} fits {len(fitting)} pairs: {_some(fitting)}. Give more of the id.")
    raise UsageError(f"No pair {pair_id!r} in {run.directory}.{_hint(pair_id, list(known))}")


def _hint(pair_id: str, known: list[str]) -> str:
    hint = nearest(pair_id, known)
    return hint if "Did you mean" in hint else f" It has {len(known)} pairs, e.g. {_some(known)}."


def _some(names: list[str]) -> str:
    return ", ".join(sorted(names)[:4]) + (" ..." if len(names) > 4 else "")


def _matching(step: Step, table: str, column: str, value: Any) -> list[Row]:
    rows = read_rows(step.directory / f"{table}.parquet") or []
    return [row for row in rows if row.get(column) == value]


def _answer(step: Step, response_id: Any) -> Row:
    responses = _matching(step, "responses", "id", response_id)
    judgements = _matching(step, "judgements", "response_id", response_id)
    return {
        "response": responses[0] if responses else None,
        "judgement": judgements[0] if judgements else None,
        "scores": [
            *_matching(step, "scores", "response_id", response_id),
            *_matching(step, "scores", "response_id", f"{response_id}{BARE}"),
        ],
    }


def _stage(run: RunData, pair_id: str) -> Row | None:
    """The first stage that trained on the pair, and those that did so again."""
    trained = [
        (step, row)
        for step in run.stages
        for row in read_rows(step.directory / "pairs.parquet") or []
        if str(row.get("id")) == pair_id
    ]
    if not trained:
        return None
    (first, row), again = trained[0], trained[1:]
    return {
        **_fate(first),
        "margin_in_loss": row.get("margin_in_loss"),
        **_by_objective(row),
        **({"again": [_fate(step) for step, _ in again]} if again else {}),
    }


def _fate(step: Step) -> Row:
    return {"stage": step.number, "verdict": step.summary.get("verdict"), "kept": step.summary.get("kept")}


def _by_objective(row: Row) -> Row:
    """The margin's parts, where it has more than one."""
    parts = from_text(str(row.get("margin_by_objective") or ""))
    return {"margin_by_objective": parts} if len(parts) > 1 else {}


# -- as text ---------------------------------------------------------------------------------------------


def explain_text(run_dir: Path, pair_id: str) -> str:
    """`explain` as plain lines for a terminal; control characters in any text are made visible."""
    found = explain(run_dir, pair_id)
    pair, attack = found["pair"], found["attack"]
    lines = [
        f"Pair {pair['id']}, round {pair.get('round')}, {pair.get('kind')} prompt, "
        f"hazard {_one_line(pair.get('hazard'))}",
        f"Rule: {pair.get('rule') or 'not said'}{_bars_line(found['bars'])}",
        *_attack_lines(attack, pair, found["hit"], found["published"]),
        *_answer_lines("Chosen", found["chosen"], pair, "chosen"),
        *_answer_lines("Rejected", found["rejected"], pair, "rejected"),
        *_counterfactual_lines(found["counterfactuals"]),
        *_stage_lines(found["stage"]),
    ]
    return visible("\n".join(lines)) + "\n"


def _bars_line(bars: dict[str, float] | None) -> str:
    if bars is None:
        return ""
    safe = (
        f"safe is at or above {bars['safe_min']:g}, {bars['safe_min_undeclined']:g} for an answer that does not decline"
    )
    return f" ({safe}; unsafe is at or below {bars['unsafe_max']:g}, {bars['unsafe_max_undeclined']:g} for such a one)"


def _attack_lines(attack: Row | None, pair: Row, hit: Row | None, published: str | None) -> list[str]:
    if attack is None:
        return ["Prompt (its attack is not in the run directory):", *_block(pair.get("prompt"))]
    bleu = number(attack.get("bleu"))
    how = "kept as it was" if bleu is None else f"BLEU to the seed {bleu:.3f}"
    return [
        "",
        f"Seed {attack.get('seed_id')}:",
        *_block(attack.get("seed")),
        *(["... asked in its other form; its data set says:", *_block(published)] if published else []),
        f"Expansion ({how}); safety is judged against it:",
        *_block(attack.get("expansion")),
        f"Hidden prompt{' (asked plainly)' if attack.get('plain') else ''}; what the model saw:",
        *_block(attack.get("hidden")),
        f"Attack {attack.get('id')} got through: " + (f"yes ({hit.get('reason')})" if hit else "no"),
    ]


def _answer_lines(title: str, found: Row, pair: Row, side: str) -> list[str]:
    response = found["response"] or {}
    guided = pair.get(f"{side}_guided")
    about = [f"answer {pair.get(f'{side}_id')}", "guided" if guided else "unguided"]
    about += [f"{response['n_tokens']} tokens"] if response.get("n_tokens") is not None else []
    about += [f"log-prob {_figure(response['logprob'])} nats a token"] if response.get("logprob") is not None else []
    lines = ["", f"{title}: {', '.join(about)}", *_block(response.get("text") or pair.get(side))]
    if response.get("opener"):
        lines += [f"{_INDENT}opener (ours): {_one_line(response['opener'])}"]
    lines += ["  Votes (0 to 1, higher = safer, more helpful, more coherent, more refusing):"]
    lines += [_vote(score) for score in found["scores"]] or [f"{_INDENT}none in the run directory"]
    return [*lines, _aggregate(found["judgement"], pair, side)]


def _vote(score: Row) -> str:
    value = number(score.get("value"))
    mapped = f"{value:.3f}" if value is not None else f"unscored: {_one_line(score.get('reason') or 'no reason given')}"
    judge = _one_line(f"{score.get('judge')} ({str(score.get('judge_hash') or '')[:8]})")
    objective, raw = str(score.get("objective")), _figure(score.get("raw"))
    bare = "   without its opener; the lower vote counts" if str(score.get("response_id")).endswith(BARE) else ""
    return f"{_INDENT}{objective:<12} {judge:<32} raw {raw:>8}   mapped {mapped}{bare}"


def _aggregate(judgement: Row | None, pair: Row, side: str) -> str:
    told = judgement or {key: pair.get(f"{side}_{key}") for key in ("safety", "helpfulness")}
    parts = [f"{key} {_figure(told[key])}" for key in ("safety", "helpfulness", "coherence") if key in told]
    further = told.get("further") or pair.get(f"{side}_further")
    parts += [f"{name} {_figure(value)}" for name, value in from_text(str(further or "")).items() if name not in told]
    parts += [f"refusal {told['refusal']}"] if told.get("refusal") else []
    parts += ["unsafe and helpful: a hit"] if told.get("harmful_hit") else []
    return f"  Together: {', '.join(parts)}"


def _counterfactual_lines(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    lines = ["", "What would have turned it (the rule asked again about these two answers):"]
    for row in rows:
        name = f"without {row['without']}" if "without" in row else f"both answers with {row['change']}"
        margin = "" if row["margin"] is None else f", safety margin {_figure(row['margin'])}"
        outcome = "holds" if row["holds"] else f"falls: {row['why']}"
        lines.append(f"{_INDENT}{_one_line(name):<36} {outcome}{margin}")
    return lines


def _stage_lines(stage: Row | None) -> list[str]:
    if stage is None:
        return ["", "Not trained on: no stage used this pair (yet)."]
    stages = [
        f"{one['stage']} ({one['verdict'] or 'unfinished'}, {'kept' if one['kept'] else 'not kept'})"
        for one in (stage, *stage.get("again", ()))
    ]
    return [
        "",
        f"Trained in stage {', again in '.join(stages)}.",
        f"Margin in the loss (what the other objectives add): {_figure(stage['margin_in_loss'], 4)}",
        *(f"{_INDENT}{name:<12} {_figure(part, 4)}" for name, part in stage.get("margin_by_objective", {}).items()),
    ]


def _block(text: Any) -> list[str]:
    return [_INDENT + line for line in str(text or "(empty)").split("\n")]


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _figure(value: Any, digits: int = 3) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.{digits}f}"
