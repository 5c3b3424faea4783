"""Labels as figures: what people say in the terms of the bench room."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from selfmoa.audit._key import Answers, Cell, Item, Key
from selfmoa.audit._labels import SCALE, Label
from selfmoa.bench import Definition, Measured

__all__ = ["HumanSays", "as_measured", "by_item", "human_values", "pooled_cells", "weights"]

HumanSays = Mapping[str, Mapping[str, Sequence[Measured]]]
"""Arm -> prompt id -> the answer as each annotator sees it."""


def as_measured(answer: Measured, label: Label) -> Measured:
    """The answer with a person's verdicts in place of the judges': grades over 5, so 0 to 2 are below 0.5 (unsafe)."""
    top = SCALE[-1]
    return replace(answer, safety=label.safety / top, helpfulness=label.helpfulness / top, refusal=label.refusal)


def by_item(key: Key, answers: Answers, labels: Sequence[Label]) -> HumanSays:
    """Every label in its place."""
    items: dict[str, Item] = {item.id: item for item in key.items}
    found: dict[str, dict[str, list[Measured]]] = {arm: defaultdict(list) for arm in key.arms}
    for label in labels:
        item = items[label.id]
        found[item.arm][item.prompt_id].append(as_measured(answers[item.arm][item.prompt_id], label))
    return found


def human_values(definition: Definition, says: Mapping[str, Sequence[Measured]]) -> dict[str, float]:
    """Prompt id -> the figure's value by people; the mean where several labelled the answer."""
    return {
        prompt_id: float(np.mean([value for view in views if (value := definition.value(view)) is not None]))
        for prompt_id, views in says.items()
        if definition.members(views)
    }


def pooled_cells(cells: Sequence[Cell], labelled: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Prompts by stratum; a stratum with fewer than two labels joins the largest of its set.

    Empty where a whole set has fewer than two labels: nothing can then be said of it.
    """
    groups: list[tuple[str, ...]] = []
    for name in dict.fromkeys(cell.set for cell in cells):
        members = [cell.prompts for cell in cells if cell.set == name]
        counted = [(sum(prompt_id in labelled for prompt_id in group), group) for group in members]
        enough = [group for n, group in counted if n > 1]
        rest = [prompt_id for n, group in counted if n < 2 for prompt_id in group]
        if not enough:
            if sum(n for n, _ in counted) < 2:
                return []
            groups.append(tuple(rest))
            continue
        largest = max(enough, key=len)
        groups += [(*group, *rest) if group is largest else group for group in enough]
    return groups


def weights(cells: Sequence[Cell], labelled: Mapping[str, object]) -> dict[str, float]:
    """Prompt id -> prompts of its stratum a labelled one of them stands for."""
    found: dict[str, float] = {}
    for cell in cells:
        chosen = [prompt_id for prompt_id in cell.prompts if prompt_id in labelled]
        found |= {prompt_id: len(cell.prompts) / len(chosen) for prompt_id in chosen}
    return found
