"""Does a result keep a policy? One verdict object that every output format is made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from selfmoa.bench import proportion
from selfmoa.errors import UsageError, nearest
from selfmoa.gate._policy import Condition, Policy

__all__ = ["Checked", "GateVerdict", "judge_results"]

Outcome = Literal["passed", "failed", "inconclusive"]
_MOST = 1_000_000
"""Prompts beyond which no number is named."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One condition, the figure it was held against, and what came of it."""

    condition: Condition
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    n: int
    judge: str
    reason: str
    n_needed: int | None = None
    """Prompts at which the interval would keep the limit, were the value to stay; None where none would do."""


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """failed if any condition fails, inconclusive if none fails but one cannot be told, else passed."""

    policy: str
    outcome: Outcome
    checked: tuple[Checked, ...]

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 inconclusive."""
        return {"passed": 0, "failed": 1, "inconclusive": 3}[self.outcome]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the schema's version."""
        rows = [{**asdict(item), "condition": item.condition.model_dump(exclude_none=True)} for item in self.checked]
        return {"schema": 1, "policy": self.policy, "outcome": self.outcome, "conditions": rows}


def judge_results(results: Mapping[str, Any], policy: Policy) -> GateVerdict:
    """Hold a results.json (of a run, a comparison or one model) against a policy.

    Raises `UsageError` for a metric that is not in it, or a change asked of the result of one model.
    """
    metrics = {str(metric.get("name")): metric for metric in results.get("metrics") or []}
    if not metrics:
        raise UsageError("The result holds no figures; expected results.json of `selfmoa align` or `evaluate`.")
    checked = tuple(_check(condition, metrics, policy.max_unscored) for condition in policy.conditions)
    outcomes = {item.outcome for item in checked}
    outcome: Outcome = "failed" if "failed" in outcomes else "inconclusive" if "inconclusive" in outcomes else "passed"
    return GateVerdict(policy.name, outcome, checked)


def _check(condition: Condition, metrics: Mapping[str, Mapping[str, Any]], max_unscored: float) -> Checked:
    metric = metrics.get(condition.metric)
    if metric is None:
        raise UsageError(
            f"The policy names metric {condition.metric!r}, which the result does not hold."
            f"{nearest(condition.metric, list(metrics))}"
        )
    _require_range(metric, condition)
    found = _figure(metric, condition)
    value, low, high = (found.get(key) for key in ("value", "low", "high"))
    n = int(found.get("n") or 0)
    unscored = int(found.get("unscored") or metric.get("unscored") or 0)
    told: dict[str, Any] = {"value": value, "low": low, "high": high, "n": n, "judge": str(metric.get("judge") or "")}
    if value is None:
        return Checked(condition, "inconclusive", **told, reason="nothing was scored")
    if unscored > max_unscored * (n + unscored):
        reason = f"{unscored} of {n + unscored} prompts are unscored, at most {max_unscored:.0%} may be"
        return Checked(condition, "inconclusive", **told, reason=reason)
    if not _keeps(value, condition):
        return Checked(condition, "failed", **told, reason=f"{value:.3f} is beyond the limit of {condition.limit:g}")
    bound = high if condition.at_most is not None else low
    if not condition.sure or (bound is not None and _keeps(bound, condition)):
        return Checked(condition, "passed", **told, reason="the limit is kept")
    needed = _needed(value, low, high, n, condition, str(metric.get("unit") or ""))
    shown = "no interval" if bound is None else f"the interval reaches {bound:.3f}"
    more = f"about {needed} prompts would do at this value" if needed else "at this value no number of prompts would do"
    return Checked(condition, "inconclusive", **told, reason=f"n = {n} is too small: {shown}; {more}", n_needed=needed)


def _require_range(metric: Mapping[str, Any], condition: Condition) -> None:
    """Raise `UsageError` for a limit that no share or score can break, such as 10 for 10 %."""
    least = -1.0 if condition.of == "change" else 0.0
    if metric.get("unit") in ("share", "score") and not least <= condition.limit <= 1.0:
        raise UsageError(
            f"The policy's limit on {condition.metric} {condition.of} is {condition.limit:g}; expected one in "
            f"[{least:g}, 1]: 10 % is 0.1."
        )


def _figure(metric: Mapping[str, Any], condition: Condition) -> Mapping[str, Any]:
    if "change" not in metric:  # the result of one model
        if condition.of != "after":
            raise UsageError(
                f"The policy asks for {condition.metric} {condition.of!r}, but this is the result of one model; "
                "expected a comparison (selfmoa evaluate --adapter, or a run)."
            )
        return metric
    return dict(metric[condition.of])


def _keeps(value: float, condition: Condition) -> bool:
    slack = 1e-9
    return value <= condition.limit + slack if condition.at_most is not None else value >= condition.limit - slack


def _needed(value: float, low: float | None, high: float | None, n: int, condition: Condition, unit: str) -> int | None:
    room = abs(condition.limit - value)
    if room < 1e-9:
        return None
    if unit == "share" and condition.of != "change":
        for size in _sizes(n):
            found = proportion(round(value * size), size)
            if _keeps(found.high if condition.at_most is not None else found.low, condition):
                return size
        return None
    bound = high if condition.at_most is not None else low
    if bound is None or n == 0:
        return None
    size = math.ceil(n * (abs(bound - value) / room) ** 2)  # an interval's width falls with the root of n
    return size if size <= _MOST else None


def _sizes(n: int) -> list[int]:
    """n and up in steps of 5 %."""
    sizes = [max(n, 1)]
    while sizes[-1] < _MOST:
        sizes.append(math.ceil(sizes[-1] * 1.05) + 1)
    return sizes
