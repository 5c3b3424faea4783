"""Published classifiers and reward models as data."""

from __future__ import annotations

from dataclasses import replace

from selfmoa.judge._conversation import CHAT
from selfmoa.judge._preset import UNPINNED, Preset

__all__ = ["FAMILIES", "SCALARS"]

_HELPFUL = {"objective": "helpfulness", "squash": "fit"}


def _family(family: str, note: str, **options: object) -> Preset:
    return Preset(family, None, "that of the model you name", "your recipe", note, options=options)


FAMILIES: dict[str, Preset] = {
    "guard": _family("guard", "A causal guard read at its label token; set model, template, lead and labels."),
    "classifier": _family(
        "classifier", "A sequence classifier; set model, template, label, direction and squash.", squash="sigmoid"
    ),
    "reward": _family("reward", "A reward model with one output; set model and template.", **_HELPFUL, max_length=1024),
    "llama-reward": _family(
        "llama-reward", "A Llama body with one regression head, as UltraRM's.", **_HELPFUL, max_length=2048
    ),
    "gated-reward": _family(
        "gated-reward", "A Llama body with gated rewards, as ArmoRM's.", **_HELPFUL, template=CHAT, max_length=4096
    ),
}
"""The bare families: the recipe names the model."""

_SKYWORK = Preset(
    family="reward",
    model="hub:Skywork/Skywork-Reward-V2-Qwen3-0.6B",
    licence="Apache-2.0",
    commercial=True,
    source="huggingface.co/Skywork/Skywork-Reward-V2-Qwen3-0.6B (card); arXiv:2507.01352",
    note=f"One output over the chat template, unbounded. Prefers style that people prefer, refusals of harm included. "
    f"{UNPINNED}",
    options={**_HELPFUL, "template": CHAT, "max_length": 4096},
)

SCALARS: dict[str, Preset] = {
    "absolute-harmfulness": Preset(
        family="classifier",
        model="hub:safepaca/absolute-harmfulness-predictor-redteam-osst",
        licence="MIT",
        commercial=True,
        source="huggingface.co/safepaca/absolute-harmfulness-predictor-redteam-osst; its ratings run from 0 to 4 "
        "(red-team part of Anthropic/hh-rlhf)",
        note=f"The paper's evaluation judge of safety: higher output = more harmful. Reads 512 tokens. {UNPINNED}",
        options={"direction": "lower", "squash": "range", "low": 0.0, "high": 4.0},
    ),
    "gpt2-large-helpful": Preset(
        family="reward",
        model="hub:Ray2333/gpt2-large-helpful-reward_model",
        licence="MIT",
        commercial=True,
        source="huggingface.co/Ray2333/gpt2-large-helpful-reward_model (card)",
        note=f"The paper's evaluation judge of helpfulness; 0.726 of its own test pairs right. {UNPINNED}",
        options={**_HELPFUL, "max_length": 1024},
    ),
    "ultrarm-13b": Preset(
        family="llama-reward",
        model="hub:openbmb/UltraRM-13b",
        licence="not verified; built on LLaMA 2, whose community licence applies",
        source="huggingface.co/openbmb/UltraRM-13b; arXiv:2310.01377; clipping to [-25, 10] as in the Self-MOA paper",
        note=f"The paper's training judge of helpfulness. NOT VERIFIED: licence; and the weights must be safetensors "
        f"(convert pickled ones and name the directory as path:). {UNPINNED}",
        options={
            "objective": "helpfulness",
            "template": "Human: {prompt}\n\nAssistant: {response}",
            "squash": "range",
            "low": -25.0,
            "high": 10.0,
            "max_length": 2048,
        },
    ),
    "armorm-llama3-8b": Preset(
        family="gated-reward",
        model="hub:RLHFlow/ArmoRM-Llama3-8B-v0.1@eb2676d20da2f2d41082289d23c59b9f7427f955",
        licence="not verified; built on Llama 3, whose community licence applies",
        source="huggingface.co/RLHFlow/ArmoRM-Llama3-8B-v0.1 (configuration, layout of the weights); arXiv:2406.12845",
        note="Nineteen rewards weighed by a gate; the weighted sum is read. The repository's code is not run, its "
        "arithmetic stands in this package. NOT VERIFIED: licence.",
        options={**_HELPFUL, "template": CHAT, "max_length": 4096},
    ),
    "skywork-reward-v2-qwen3-0.6b": _SKYWORK,
    "skywork-reward-v2-llama-3.2-1b": replace(
        _SKYWORK,
        model="hub:Skywork/Skywork-Reward-V2-Llama-3.2-1B",
        licence="Llama 3.2 Community License (base model); the repository's own tag is not verified",
        commercial=False,
        source="huggingface.co/Skywork/Skywork-Reward-V2-Llama-3.2-1B; arXiv:2507.01352",
    ),
}
"""Judge's name -> preset."""
