"""A Llama body with several rewards and a gate that weighs them by the prompt (the layout of ArmoRM).

Wang et al. 2024, "Interpretable Preferences via Multi-Objective Reward Modeling and Mixture-of-Experts"
(arXiv:2406.12845). The arithmetic is written anew here, because code from a model's repository never runs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

__all__ = ["GatedRewardModel", "last_place"]

_TURN = [128009, 128006, 78191, 128007, 271]
"""Llama 3's "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\\n\\n": where it starts, the prompt ends."""


class _Gate(torch.nn.Module):
    """States (n, hidden) -> weights (n, objectives) that add up to `logit_scale`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.temperature = float(getattr(config, "gating_temperature", 10))
        self.logit_scale = torch.nn.Parameter(torch.ones(1))
        inner = int(getattr(config, "gating_hidden_dim", 1024))
        sizes = [config.hidden_size, *[inner] * int(getattr(config, "gating_n_hidden", 3))]
        hidden = [torch.nn.Linear(wide, narrow) for wide, narrow in pairwise(sizes)]
        self.layers = torch.nn.ModuleList([*hidden, torch.nn.Linear(sizes[-1], _objectives(config))])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            states = torch.relu(layer(states))
        return torch.softmax(self.layers[-1](states) / self.temperature, dim=1) * self.logit_scale[0]


class GatedRewardModel(LlamaPreTrainedModel):
    """One unbounded reward a conversation, higher = better; `logits` has shape (n, 1).

    Raises `ValueError` for a text without an assistant turn: it was not written by the model's chat template.
    """

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        count = _objectives(config)
        self.regression_layer = torch.nn.Linear(config.hidden_size, count, bias=False)
        self.reward_transform_matrix = torch.nn.Parameter(torch.eye(count), requires_grad=False)
        self.gating = _Gate(config)
        self.turn = list(getattr(config, "gating_turn", _TURN))
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        rows = torch.arange(len(input_ids), device=input_ids.device)
        # the last real token, whichever side the padding is on
        ends = (torch.arange(input_ids.shape[1], device=input_ids.device) * attention_mask).argmax(dim=1)
        turns = torch.tensor([last_place(row, self.turn) for row in input_ids.tolist()], device=input_ids.device)
        rewards = self.regression_layer(states[rows, ends]) @ self.reward_transform_matrix
        return SequenceClassifierOutput(logits=(self.gating(states[rows, turns]) * rewards).sum(dim=1, keepdim=True))


def last_place(row: list[int], turn: list[int]) -> int:
    """Where the last copy of `turn` starts in `row`; `ValueError` where there is none."""
    for start in range(len(row) - len(turn), -1, -1):
        if row[start : start + len(turn)] == turn:
            return start
    raise ValueError("a text has no assistant turn of the Llama 3 chat template; use template: chat")


def _objectives(config: LlamaConfig) -> int:
    return int(getattr(config, "num_objectives", 19))
