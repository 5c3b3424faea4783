"""Which seeds are worth drawing: hazards whose attacks get through, prompts whose answers are mixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from selfmoa import recipe
from selfmoa.records import Attack, Prompt, stable_id

__all__ = ["Tally", "entering_id", "mixed"]


def mixed(flags: Sequence[bool]) -> float:
    """4 p (1 - p) for the share p of true flags, in [0, 1]: 1 where half are true, 0 where all or none are."""
    p = sum(flags) / len(flags)
    return 4.0 * p * (1.0 - p)


def entering_id(expansion: str) -> str:
    """Id in the pool of an expansion that got through."""
    return stable_id("attack", expansion)


@dataclass
class Tally:
    """What the attacks so far tell about seeds."""

    tried: Counter[str] = field(default_factory=Counter)
    """Kept attacks by hazard."""
    hit: Counter[str] = field(default_factory=Counter)
    """Those of them that got through."""
    learnable: dict[str, float] = field(default_factory=dict)
    """Id in the pool of each expansion that was asked -> how mixed its answers were (`mixed`)."""

    def add(self, attacks: Iterable[Attack], won: Iterable[Attack], learnable: Mapping[str, float]) -> None:
        """Count a round; `learnable` is by attack id."""
        kept = [attack for attack in attacks if attack.kind == "attack" and attack.status == "kept"]
        self.tried.update(attack.hazard for attack in kept)
        self.hit.update(attack.hazard for attack in won)
        self.learnable.update({entering_id(one.expansion): learnable[one.id] for one in kept if one.id in learnable})

    def hazards(self, settings: recipe.Attack) -> dict[str, float]:
        """Weight of each hazard tried so far; 1 for one that succeeds as often as all together, and for any other.

        A hazard's success is smoothed by `hazard_prior` attacks at the overall rate. Empty where nothing is followed
        or no attack has got through.
        """
        follow, prior, hits = settings.hazard_follow, settings.hazard_prior, self.hit.total()
        if not follow or not hits:
            return {}
        overall = hits / self.tried.total()
        smoothed = {name: (self.hit[name] + prior * overall) / (n + prior) for name, n in sorted(self.tried.items())}
        return {name: 1.0 - follow + follow * rate / overall for name, rate in smoothed.items()}

    def weigh(self, settings: recipe.Attack) -> Callable[[Prompt], float] | None:
        """Weight of a prompt in the next draw; None where all weigh the same."""
        hazards, share = self.hazards(settings), settings.learnable_share
        mean = fmean(self.learnable.values()) if share and self.learnable else 0.0
        if not hazards and not mean:
            return None

        def weight(prompt: Prompt) -> float:
            found = hazards.get(prompt.hazard, 1.0)
            if mean and prompt.id in self.learnable:
                found *= 1.0 - share + share * self.learnable[prompt.id] / mean
            return found

        return weight
