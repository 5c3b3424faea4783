"""A Llama body with one linear head on the last token (UltraRM's layout: `model.*`, `regression_head.weight`)."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

__all__ = ["LlamaRewardModel"]


class LlamaRewardModel(LlamaPreTrainedModel):
    """One unbounded reward a text, higher = better; `logits` has shape (n, 1)."""

    config_class = LlamaConfig

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_head = torch.nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        states = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        rewards = self.regression_head(states).squeeze(-1)
        # the last real token, whichever side the padding is on
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        last = (places * attention_mask).argmax(dim=1, keepdim=True)
        return SequenceClassifierOutput(logits=rewards.gather(1, last))
