"""A judge's card: what it is, and how wrong it was found to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from selfmoa.judge._protocol import Objective

__all__ = ["Figure", "JudgeCard"]

Figure = dict[str, float]


@dataclass(frozen=True, slots=True)
class JudgeCard:
    """A judge's measured card. Figures are {value, low, high} with 95 % intervals; None where nothing was measured."""

    name: str
    objective: Objective
    trained: bool
    shares_base: bool
    limits: str
    side: str = ""
    """train or gate; empty for a judge that no shipped side uses."""
    family: str = ""
    what: str = ""
    licence: str = ""
    trained_on: str = ""
    measured_on: str = ""
    n: int | None = None
    n_objectives: int | None = None
    removed: int = 0
    """Rows left out because their objective touches an evaluation or development prompt."""
    auc: Figure | None = None
    accuracy: Figure | None = None
    kappa: Figure | None = None
    """Cohen's, against the human label."""
    human: Figure | None = None
    """Raters among themselves: {n, raters, agreement, kappa}."""
    baseline_auc: Figure | None = None
    """A bag of words on the same rows and folds."""
    swapped_auc: Figure | None = None
    """On held-out answers that got an opener of the opposite kind, labels kept."""
    swapped_accuracy: Figure | None = None
    swapped_n: int | None = None
    by_hazard: dict[str, Any] = field(default_factory=dict)
    by_model: dict[str, Any] = field(default_factory=dict)
    """By the model that was judged, where a table names it: a judge's error depends on it."""
    by_length: list[dict[str, Any]] = field(default_factory=list)
    length_correlation: float | None = None
    """Spearman's, between words of the answer and score."""
    as_it_judges: dict[str, Any] = field(default_factory=dict)
    """Where it decides in a run: threshold, sensitivity (unsafe answers caught; refusals found) and specificity."""
    calibration: dict[str, Any] = field(default_factory=dict)
    """The same at 0.5 by map that might be put on its values, with Brier score and ECE."""
    flips: list[dict[str, Any]] = field(default_factory=list)
    """One a perturbation: see `FlipRate`."""
    flips_on: str = ""
    latency: float | None = None
    """Seconds an answer on this machine."""
    representation: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """For the command line's list: plain numbers first, then everything `as_dict` has under other names."""
        known = self.as_dict()
        auc = known.pop("auc") or {}
        plain = {name: known.pop(name) for name in ("name", "side", "family", "n")}
        value = {
            name: (known.pop(source) or {}).get("value")
            for name, source in (
                ("baseline_auc", "baseline_auc"),
                ("style_swap_auc", "swapped_auc"),
                ("style_swap_accuracy", "swapped_accuracy"),
                ("accuracy", "accuracy"),
                ("kappa", "kappa"),
            )
        }
        edges = {"auc": auc.get("value"), "auc_low": auc.get("low"), "auc_high": auc.get("high")}
        worst = self.worst_flip()
        return {**plain, **edges, **value, "worst_flip_rate": worst["rate"] if worst else None, **known}

    def worst_flip(self) -> dict[str, Any] | None:
        """The perturbation that flips most verdicts which a correct judge keeps."""
        bound = [row for row in self.flips if row["expected"] == "same" and row["n"]]
        return max(bound, key=lambda row: row["rate"], default=None)

    def __str__(self) -> str:
        return "\n".join([*self._head(), *self._figures(), *self._more(), *self._flips(), f"  limits: {self.limits}"])

    def _head(self) -> list[str]:
        side = f", {self.side} side" if self.side else ""
        lines = [f"{self.name} ({self.objective}{side})"]
        told = (("what", self.what), ("licence", self.licence), ("trained on", self.trained_on))
        return lines + [f"  {label}: {text}" for label, text in told if text]

    def _figures(self) -> list[str]:
        lines = []
        if self.n is not None:
            lines.append(
                f"  human-scored answers    {self.n} over {self.n_objectives} objectives, {self.removed} left out"
                if not self.measured_on
                else f"  measured on             {self.n} answers: {self.measured_on}"
            )
        for label, figure in (
            ("AUC", self.auc),
            ("AUC of a bag of words", self.baseline_auc),
            ("AUC, openers swapped", self.swapped_auc),
            ("accuracy", self.accuracy),
            ("accuracy, swapped", self.swapped_accuracy),
            ("kappa against humans", self.kappa),
        ):
            if figure is not None:
                lines.append(f"  {label:<23} {_interval(figure)}")
        if self.as_it_judges:
            found = "refusals found" if self.objective == "refusal" else "unsafe answers caught"
            kept = "others let be" if self.objective == "refusal" else "safe ones let be"
            lines.append(
                f"  as it judges, at {self.as_it_judges['threshold']:g}: {found} "
                f"{_interval(self.as_it_judges['sensitivity'])}, {kept} {_interval(self.as_it_judges['specificity'])}"
            )
        if self.human:
            lines.append(
                f"  kappa among humans      {self.human['kappa']:.3f} (they agree on {self.human['agreement']:.0%} of "
                f"{self.human['n']:.0f} answers, {self.human['raters']:.0f} raters)"
            )
        if self.n is None:
            lines.append("  not measured on human-scored answers")
        else:
            lines.append("  intervals are 95 %, bootstrapped by objective")
        lines.append(f"  shares its base with the target: {'yes' if self.shares_base else 'no'}")
        return lines

    def _more(self) -> list[str]:
        lines = []
        if self.length_correlation is not None:
            lines.append(f"  length-score correlation {self.length_correlation:+.2f} (Spearman)")
        lines += [
            f"  AUC, {part['words_from']}-{part['words_to']} words: {_interval(part['auc'])}, n {part['n']}"
            for part in self.by_length
        ]
        for of, named in (("", self.by_hazard), ("answers of ", self.by_model)):
            lines += [f"  AUC, {of}{name}: {_interval(part['auc'])}, n {part['n']}" for name, part in named.items()]
        if self.calibration:
            default = self.calibration["default"]["method"]
            for method, row in self.calibration["methods"].items():
                mark = " (default)" if method == default else ""
                lines.append(
                    f"  calibration {method + mark:<21} Brier {row['brier']:.3f}  ECE {row['ece']:.3f}  sensitivity "
                    f"{_interval(row['sensitivity'])}  specificity {_interval(row['specificity'])}"
                )
        if self.latency is not None:
            lines.append(f"  latency {1000 * self.latency:.1f} ms an answer; costs nothing but time")
        return lines

    def _flips(self) -> list[str]:
        if not self.flips:
            return []
        lines = [f"  flip rates on {self.flips_on}; up = towards safe (helpful, refused):"]
        for row in self.flips:
            told = {"same": "", "positive": "  (missed refusals)", "free": "  (a change may be right)"}[row["expected"]]
            lines.append(
                f"    {row['name']:<18} {row['rate']:.2f} ({row['low']:.2f} to {row['high']:.2f}), n {row['n']}, "
                f"up {row['up']}, down {row['down']}, mean change {row['mean_change']:+.3f}{told}"
                if row["n"]
                else f"    {row['name']:<18} does not apply"
            )
        return lines


def _interval(figure: Figure) -> str:
    if None in figure.values():
        return "not known"
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
