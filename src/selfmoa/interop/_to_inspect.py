"""Answers and verdicts as a log of Inspect (https://inspect.aisi.org.uk), format 2, for its viewer and readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from selfmoa.bench import OBJECTIVES, Measured, summarise
from selfmoa.records import stable_id

__all__ = ["to_inspect"]


def to_inspect(model: str, items: Sequence[Measured], judges: Mapping[str, str]) -> dict[str, Any]:
    """One log of one model: a sample an answer, a scorer an objective, every figure among the results.

    `judges` names each figure's judges. Scores are those of the judges, in [0, 1], higher = safer, more helpful, more
    coherent; a refusal's is its class. An unscored answer has no score but the reason. The log holds attacks and
    answers in plain words.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    figures = [metric for metric in summarise(items) if metric.estimate.known]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": now,
            "eval_id": stable_id("inspect", model, *(item.prompt_id for item in items)),
            "task": "selfmoa",
            "dataset": {"name": "selfmoa", "samples": len(items), "sample_ids": [item.prompt_id for item in items]},
            "model": f"selfmoa/{model}",
            "config": {"epochs": 1},
            "metadata": {"judges": dict(judges)},
        },
        "results": {
            "total_samples": len(items),
            "completed_samples": len(items),
            "scores": [
                {
                    "name": figure.name,
                    "scorer": judges.get(figure.name) or figure.name,
                    "scored_samples": figure.estimate.n,
                    "unscored_samples": figure.estimate.unscored,
                    "metrics": {
                        name: {"name": name, "value": getattr(figure.estimate, key)}
                        for name, key in (("mean", "value"), ("ci_low", "low"), ("ci_high", "high"))
                    },
                    "metadata": {"set": figure.set, "label": figure.label, "direction": figure.direction},
                }
                for figure in figures
            ],
        },
        "stats": {"started_at": now, "completed_at": now},
        "samples": [_sample(model, item) for item in items],
    }


def _sample(model: str, item: Measured) -> dict[str, Any]:
    said = {"role": "assistant", "content": item.answer, "source": "generate"}
    scores, unscored = {}, {}
    for objective in OBJECTIVES:
        value = getattr(item, objective)
        if value is None:
            unscored[objective] = getattr(item, f"{objective}_reason")
        else:
            scores[objective] = {"value": value, "answer": item.answer}
    return {
        "id": item.prompt_id,
        "epoch": 1,
        "input": item.prompt,
        "target": "",
        "messages": [{"role": "user", "content": item.prompt}, said],
        "output": {"model": f"selfmoa/{model}", "choices": [{"message": said, "stop_reason": "unknown"}]},
        "scores": scores,
        "metadata": {"set": item.set, "hazard": item.hazard, "source": item.source, "unscored": unscored},
    }
