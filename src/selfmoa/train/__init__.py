"""Training on the resident model: preference alignment of the target, SFT of the attackers."""

from selfmoa.train._adapter import restore, scale_update, snapshot
from selfmoa.train._align import align
from selfmoa.train._margins import filter_modpo_paper_eq1, first_tokens_share, objective_scores, shift
from selfmoa.train._modpo import ModpoTrainer, modpo_loss
from selfmoa.train._points import lora_shape, write_scaled, write_soup
from selfmoa.train._sft import sft
from selfmoa.train._watch import TrainOutcome

__all__ = [
    "ModpoTrainer",
    "TrainOutcome",
    "align",
    "filter_modpo_paper_eq1",
    "first_tokens_share",
    "lora_shape",
    "modpo_loss",
    "objective_scores",
    "restore",
    "scale_update",
    "sft",
    "shift",
    "snapshot",
    "write_scaled",
    "write_soup",
]
