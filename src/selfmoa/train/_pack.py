"""Pairs without padding, and with what they have in common read once: what TRL's padded batch asks, in fewer tokens.

A row begins with the tokens that all prompts begin with (a system prompt). Behind them each pair lies as [the rest of
its prompt without the last token | last token, chosen | last token, rejected]. A mask keeps the pairs, and the two
answers, from seeing each other, so log-probs and gradients are those of the padded batch, but for rounding
(tests/test_train_pack.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from selfmoa.run import POSITIONS

__all__ = ["Packing", "can_pack", "pack"]

_ROW = 1024
"""Tokens of a row, longer only where one pair is: its attention grows with the square."""
_TOLERANCE = 1e-3
"""Largest difference of a token's log-prob (nats) at which the packed pass counts as the padded one."""
_CHECKED = 4
"""Longest pairs on which that is measured; each is read twice."""
_IGNORED = -100


@dataclass(frozen=True)
class _Packed:
    inputs: dict[str, torch.Tensor]
    source: torch.Tensor
    """(2N, width - 1): place in the flattened packed output of what the padded batch asks for."""
    asked: torch.Tensor
    """(2N, width - 1): True where an answer's token is predicted."""
    empty: int
    """Places of the packed rows that hold nothing."""


def pack(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> _Packed:
    """Pack TRL's batch of N chosen rows over N rejected ones, right-padded, with `labels` -100 outside the answers."""
    half = len(input_ids) // 2
    lengths = attention_mask.sum(dim=1).tolist()
    starts = (labels != _IGNORED).int().argmax(dim=1).tolist()
    common = _common(input_ids[:half], min(starts) - 1)
    rows: list[list[int]] = [[]]
    filled = common
    for pair in range(half):
        size = lengths[pair] + lengths[half + pair] - (starts[pair] - 1) - common
        if rows[-1] and filled + size > _ROW:
            rows.append([])
            filled = common
        rows[-1].append(pair)
        filled += size
    laid = [_lay(row, half, lengths, starts, common) for row in rows]
    width = max(len(row) for row, _ in laid)
    device = input_ids.device
    source = torch.zeros(len(input_ids), input_ids.shape[1] - 1, dtype=torch.long, device=device)
    table = torch.full((len(rows), width, 5), -1, dtype=torch.long)
    for number, (row, spans) in enumerate(laid):
        table[number, : len(row)] = torch.tensor(row)
        for owner, begin, first in spans:
            count = lengths[owner] - first - 1
            source[owner, first : first + count] = torch.arange(begin, begin + count) + number * (width - 1)
    answer, column, group, part, learnt = table.to(device).unbind(dim=2)
    given = answer >= 0
    tokens = input_ids[answer.clamp(min=0), column.clamp(min=0)]
    inputs = {
        "input_ids": tokens.where(given, 0),
        "labels": tokens.where(learnt > 0, _IGNORED),
        "position_ids": column.clamp(min=0),
        "attention_mask": _mask(group, part, everyone=half),
    }
    return _Packed(inputs, source, labels[:, 1:] != _IGNORED, len(rows) * width - sum(len(row) for row, _ in laid))


def _common(prompts: torch.Tensor, most: int) -> int:
    """How many tokens, `most` at the most, all rows begin with."""
    differ = (prompts[:, :most] != prompts[:1, :most]).any(dim=0)
    return int(differ.int().argmax()) if bool(differ.any()) else most


def _lay(
    pairs: list[int], half: int, lengths: list[int], starts: list[int], common: int
) -> tuple[list[tuple[int, int, int, int, int]], list[tuple[int, int, int]]]:
    """One row: (padded row, column, pair, part, 1 where it is learnt) a token; (padded row, where it begins, column)
    an answer. Part 0 is what both answers see, pair `half` what all pairs see."""
    row: list[tuple[int, int, int, int, int]] = [(pairs[0], column, half, 0, 0) for column in range(common)]
    spans = []
    for pair in pairs:
        last = starts[pair] - 1  # the prompt's last token stands before each answer, which it predicts
        row += [(pair, column, pair, 0, 0) for column in range(common, last)]
        for part, answer in ((1, pair), (2, half + pair)):
            spans.append((answer, len(row), last))
            row += [(answer, column, pair, part, int(column > last)) for column in range(last, lengths[answer])]
    return row, spans


def _mask(group: torch.Tensor, part: torch.Tensor, *, everyone: int) -> torch.Tensor:
    """(rows, 1, width, width), True where the token of the row may see that of the column."""
    width = group.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool, device=group.device).tril()
    same = (group[:, :, None] == group[:, None, :]) | (group[:, None, :] == everyone)
    visible = (part[:, None, :] == 0) | (part[:, :, None] == part[:, None, :])
    return (earlier & same & visible)[:, None]


class Packing:
    """A model as TRL calls it, which reads the batch packed and answers as if it were padded."""

    def __init__(self, net: Any) -> None:
        self._net = net

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, **options: Any
    ) -> Any:
        packed = pack(input_ids, attention_mask, labels)
        POSITIONS.fill(packed.empty)
        output = self._net(**packed.inputs, **options)
        found = {
            name: value.flatten()[packed.source].where(packed.asked, 0)
            for name in ("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs")
            if (value := getattr(output, name, None)) is not None
        }
        return SimpleNamespace(**found, aux_loss=getattr(output, "aux_loss", None))


def can_pack(net: Any, batch: dict[str, torch.Tensor]) -> bool:
    """True where the model reads a packed batch as it reads the padded one; measured on pairs of `batch`.

    `batch` is TRL's own. Never with a sliding window, which would count the other pairs' tokens, nor at less than
    float32, where rounding hides a difference.
    """
    config = net.config.get_text_config()
    if getattr(config, "sliding_window", None) or next(net.parameters()).dtype != torch.float32:
        return False
    if getattr(config, "router_aux_loss_coef", 0):  # TRL balances experts' load by the mask of a padded batch
        return False
    if getattr(config, "_attn_implementation", "") != "sdpa":  # others want a mask of another form
        return False
    half = len(batch["input_ids"]) // 2
    longest = batch["attention_mask"].sum(dim=1).view(2, half).sum(dim=0).argsort(descending=True)[:_CHECKED]
    few = torch.cat([longest, half + longest])  # several, so that one could see another
    tokens, given, answers = (batch[name][few] for name in ("input_ids", "attention_mask", "completion_mask"))
    labels = tokens.masked_fill(answers == 0, _IGNORED)
    if not bool((labels[:, 0] == _IGNORED).all()):  # no prompt to share
        return False
    asked = {"input_ids": tokens, "attention_mask": given, "labels": labels}
    with torch.no_grad():
        plain = net(**asked, use_cache=False, fused_lm_head=True).log_probs
        try:
            packed = Packing(net)(**asked, use_cache=False, fused_lm_head=True).log_probs
        except (RuntimeError, TypeError, ValueError):  # the model takes no such mask or positions
            return False
    return bool(((plain - packed).abs() <= _TOLERANCE).all())
