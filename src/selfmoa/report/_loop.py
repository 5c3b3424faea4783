"""What happened in the loop: rounds, pairs, stages, cost; all as words and series for the page."""

from __future__ import annotations

from collections import Counter
from typing import Any

from selfmoa.report._load import RunData, Step, read_lines, read_rows
from selfmoa.report._results import tone
from selfmoa.report._text import duration, estimate, integer, number, points, share

__all__ = ["cost_rows", "curves", "pair_facts", "round_rows", "stage_rows"]

Row = dict[str, Any]


def round_rows(run: RunData) -> list[Row]:
    """One row a round, in words; an unfinished round has `finished` False."""
    return [_round(step) for step in run.rounds]


def _round(step: Step) -> Row:
    told = step.summary
    pool = _object(told.get("pool"))
    refusals = _object(told.get("attacker_refusals"))
    success = _object(told.get("attack_success"))
    return {
        "number": step.number,
        "finished": bool(told),
        "k": integer(told.get("k")),
        "kept": integer(told.get("kept")),
        "novel": integer(told.get("novel")),
        "hits": integer(told.get("hits")),
        "success": estimate(success),
        "success_n": integer(success.get("n")),
        "responses": integer(told.get("responses")),
        "pairs": integer(told.get("pairs")),
        "pool": _pool(pool),
        "expander": _ratio(refusals.get("expander")),
        "hider": _ratio(refusals.get("hider")),
        "drops": _counts(told.get("dropped")),
        "pair_drops": _counts(told.get("pair_drops")),
        "unscored": _counts(told.get("unscored")),
        "less_safe": share(told.get("less_safe_chosen_share"), 1),
        "guided": share(told.get("guided_share")),
        "logprob_guided": _decimal(told.get("mean_logprob_guided")),
        "logprob_own": _decimal(told.get("mean_logprob_unguided")),
        "waiting": _waiting(_object(told.get("buffer"))),
        "retrained": _retrained(told.get("retrained")),
        "restarted": [_restarted(_object(row)) for row in told.get("restarted") or []],
        "mixed": _ratio(told["mixed"]) if told.get("mixed") else "",
        "next_hazards": _weights(told.get("next_hazards")),
        "jury": [words for row in told.get("jury") or [] if (words := _parted(_object(row)))],
        "series": {
            "success": success,
            "pool": _pool_after(pool),
            "expander": _fraction(refusals.get("expander")),
            "hider": _fraction(refusals.get("hider")),
            "pairs": number(told.get("pairs")),
        },
    }


def _pool(pool: Row) -> str:
    if not pool:
        return "–"
    parts = [integer(pool.get("size_before"))]
    parts += [f"−{integer(pool['left'])}"] if "left" in pool else []
    parts += [f"+{integer(pool['entered'])}"] if "entered" in pool else []
    after = _pool_after(pool)
    return " ".join(parts) + (f" = {integer(after)}" if after is not None and len(parts) > 1 else "")


def _pool_after(pool: Row) -> float | None:
    before, left, entered = (number(pool.get(key)) for key in ("size_before", "left", "entered"))
    return None if before is None else before - (left or 0) + (entered or 0)


def _waiting(buffer: Row) -> str:
    parts = (("attacks", "attack pairs"), ("pairs", "preference pairs"))
    return ", ".join(f"{integer(buffer[key])} {words}" for key, words in parts if key in buffer)


def _retrained(told: Any) -> str:
    if not isinstance(told, dict):
        return "no"
    if told.get("failed"):
        return "tried, but the training diverged: the attackers stay as they were"
    words = f"yes, on {integer(told.get('expander_pairs'))} + {integer(told.get('hider_pairs'))} pairs"
    words += f" and {integer(told.get('replayed'))} replayed seed pairs" if told.get("replayed") else ""
    return words + (", restarted from the untouched base" if told.get("restarted") else "")


def _restarted(told: Row) -> str:
    bad, n = told.get("unusable"), told.get("of")
    return f"{told.get('role')} back to its seed training: {_ratio([bad, n])} of its texts unusable"


def _weights(told: Any) -> str:
    """Hazards by their weight in the next draw, the heaviest first."""
    ordered = sorted(_object(told).items(), key=lambda item: -(number(item[1]) or 0.0))
    return ", ".join(f"{name} {number(weight) or 0.0:.2f}" for name, weight in ordered)


def _parted(told: Row) -> str:
    """How far two judges of the safety jury part."""
    if not told.get("n"):
        return ""
    names = " and ".join(str(name) for name in told.get("judges") or [])
    return (
        f"{names}: opposite verdicts on {share(told.get('opposite'))} of {integer(told['n'])} answers, "
        f"correlation {_decimal(told.get('correlation'))}"
    )


def _counts(counts: Any) -> list[tuple[str, str]]:
    if not isinstance(counts, dict):
        return []
    ordered = sorted(counts.items(), key=lambda item: -(number(item[1]) or 0))
    return [(str(name), integer(n)) for name, n in ordered if number(n)]


def _fraction(pair: Any) -> float | None:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not pair[1]:
        return None
    return float(pair[0]) / float(pair[1])


def _ratio(pair: Any) -> str:
    found = _fraction(pair)
    return "–" if found is None else f"{integer(pair[0])} of {integer(pair[1])} ({share(found)})"


def _object(value: Any) -> Row:
    return value if isinstance(value, dict) else {}


# -- pairs -----------------------------------------------------------------------------------------------


_HAZARDS = 12
"""Rows of their own in the table by hazard: subjects of minimal pairs are many, with a pair or two each."""


def _hazard_row(name: str, n: int, top: int, cells: list[int]) -> Row:
    return {"name": name, "total": n, "width": 100 * min(n / top, 1), "cells": cells}


def _others(rest: list[tuple[str, int]], table: Counter[tuple[str, str]], kinds: list[str], top: int) -> Row:
    cells = [sum(table[(name, kind)] for name, _ in rest) for kind in kinds]
    return _hazard_row(f"{len(rest)} others", sum(n for _, n in rest), top, cells)


def pair_facts(run: RunData) -> Row:
    """Counts over all pairs: by hazard and kind, by rule, less safe chosen, guided."""
    steps = run.rounds or run.stages  # pairs of people come from no round
    pairs = [row for step in steps for row in read_rows(step.directory / "pairs.parquet") or []]
    kinds = [kind for kind in ("attack", "borderline", "benign") if any(row.get("kind") == kind for row in pairs)]
    table: Counter[tuple[str, str]] = Counter((str(row.get("hazard")), str(row.get("kind"))) for row in pairs)
    totals = Counter(str(row.get("hazard")) for row in pairs)
    ranked = totals.most_common()
    named, rest = ranked[:_HAZARDS], ranked[_HAZARDS:]
    top = max(totals.values(), default=1)
    judged = [row for row in pairs if _safety_gap(row) is not None]
    worse = sum(1 for row in judged if (_safety_gap(row) or 0) < 0)
    attack = [row for row in judged if row.get("kind") == "attack"]
    return {
        "n": len(pairs),
        "kinds": kinds,
        "kind_totals": {kind: sum(1 for row in pairs if row.get("kind") == kind) for kind in kinds},
        "hazards": [
            *(
                _hazard_row(name.replace("_", " "), n, top, [table[(name, kind)] for kind in kinds])
                for name, n in named
            ),
            *([_others(rest, table, kinds, top)] if rest else []),
        ],
        "less_safe": worse,
        "less_safe_share": share(worse / len(judged), 1) if judged else "–",
        "less_safe_attack": sum(1 for row in attack if (_safety_gap(row) or 0) < 0),
        "attack_judged": len(attack),
        "judged": len(judged),
        "guided": sum(1 for row in pairs if row.get("chosen_guided") != row.get("rejected_guided")),
        "guided_share": share(_mean(row.get("chosen_guided") != row.get("rejected_guided") for row in pairs)),
        "rules": Counter(str(row.get("rule") or "not said") for row in pairs).most_common(),
    }


def _safety_gap(row: Row) -> float | None:
    chosen, rejected = number(row.get("chosen_safety")), number(row.get("rejected_safety"))
    return None if chosen is None or rejected is None else chosen - rejected


def _mean(flags: Any) -> float | None:
    found = list(flags)
    return sum(found) / len(found) if found else None


# -- training --------------------------------------------------------------------------------------------


def stage_rows(run: RunData) -> list[Row]:
    """One row an alignment stage with its verdict and the bounds that led to it."""
    return [_stage(step) for step in run.stages]


def _stage(step: Step) -> Row:
    told = step.summary
    verdict = str(told.get("verdict") or "unfinished")
    return {
        "number": step.number,
        "round": told.get("round", "–"),
        "n_pairs": integer(told.get("n_pairs")),
        "verdict": verdict,
        "tone": tone(verdict),
        "kept": _kept(told),
        "reason": str(told.get("reason") or ""),
        "over_refusal": _bounded(told.get("over_refusal_change"), told.get("over_refusal_high"), "at most"),
        "helpfulness": _bounded(told.get("helpfulness_change"), told.get("helpfulness_low"), "at least"),
        "harmful_refusal": _signed(told.get("harmful_refusal_change")),
        "judge_gap": _bounded(told.get("judge_gap"), told.get("judge_gap_low"), "at least"),
        "series": {"training": number(told.get("safety_change")), "watch": number(told.get("watched_change"))},
        "loss": _decimal(told.get("train_loss")),
        "less_safe": share(told.get("chosen_less_safe_share"), 1),
        "guided": share(told.get("guided_share")),
        "opening": share(told.get("first_tokens_share")),
        "tokens": integer(told.get("trained_tokens")),
        "time": duration(told.get("seconds")),
    }


def _kept(told: Row) -> str:
    if not told:
        return "–"
    if not told.get("kept"):
        return "no, rolled back"
    step = number(told.get("step"))
    return "all of it" if step is None or step >= 1 else f"{share(step)} of it"


def _signed(value: Any) -> str:
    found = number(value)
    return "–" if found is None else points(found) + " points"


def _bounded(value: Any, bound: Any, word: str) -> str:
    limit = number(bound)
    return _signed(value) + ("" if limit is None else f" ({word} {points(limit)})")


def _decimal(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.3f}".replace("-", "−")


def curves(run: RunData) -> list[Row]:
    """Metrics of each stage in order of step: [{stage, train: rows, validation: rows}]."""
    everything: list[Row] | None = None
    found = []
    for step in run.stages:
        rows = read_lines(step.directory / "metrics.jsonl")
        if not rows:
            everything = (read_lines(run.directory / "metrics.jsonl") or []) if everything is None else everything
            rows = [row for row in everything if row.get("stage") == step.number]
        if not rows:
            if step.summary.get("n_pairs") != 0:  # without pairs nothing is trained, only checked
                run.note(f"{step.directory.name}/metrics.jsonl")
            continue
        rows = sorted((row for row in rows if number(row.get("step")) is not None), key=lambda row: row["step"])
        validation = [row for row in rows if row.get("split") == "validation"]
        train = [row for row in rows if row.get("split") != "validation"]
        found.append({"stage": step.number, "train": train, "validation": validation})
    return found


# -- cost ------------------------------------------------------------------------------------------------


def cost_rows(run: RunData) -> Row:
    """Seconds, tokens, share of padding and peak memory by step, with totals."""
    seconds = {name: number(used.get("seconds")) or 0.0 for name, used in run.usage.items()}
    tokens = {name: number(used.get("tokens")) or 0.0 for name, used in run.usage.items()}
    peak = [number(used.get("peak_mb")) or 0.0 for used in run.usage.values()]
    top = max(seconds.values(), default=0.0) or 1.0
    steps = run.estimate.get("steps")
    expected = {
        name: value
        for name, step in (steps.items() if isinstance(steps, dict) else ())
        if isinstance(step, dict) and (value := number(step.get("seconds"))) is not None
    }
    rows = [
        {
            "name": name,
            "time": duration(seconds[name]),
            "expected": duration(expected[name]) if name in expected else "–",
            "width": 100 * seconds[name] / top,
            "tokens": integer(tokens[name]) if tokens[name] else "–",
            "rate": integer(tokens[name] / seconds[name]) if tokens[name] and seconds[name] else "–",
            "padding": _padding(used),
            "peak": integer(used.get("peak_mb")),
        }
        for name, used in run.usage.items()
    ]
    return {
        "rows": rows,
        "time": duration(sum(seconds.values())),
        "tokens": integer(sum(tokens.values())),
        "peak": integer(max(peak, default=None)),
        "expected": duration(sum(expected.values())) if expected else "",
        "expected_peak": integer(run.estimate.get("peak_mb")),
    }


def _padding(used: Row) -> str:
    """Share of the places that models read in a step which held nothing."""
    read, padded = number(used.get("read")), number(used.get("padded"))
    return share(padded / read) if read and padded is not None else "–"
