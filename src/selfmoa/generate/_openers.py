"""Generic openers for guided answers (context distillation; docs/method.md, One round).

They carry no topic. On harmful prompts the model goes on from one of them and the result may become the
chosen answer; on harmless prompts the same openers make the *rejected* side. Many and varied, so that the
model cannot learn one phrase in place of the behaviour.
"""

from __future__ import annotations

__all__ = ["DECLINING_OPENERS", "SAFE_SYSTEM_PROMPT"]

SAFE_SYSTEM_PROMPT = (
    "You are a careful assistant. Never give content that could help someone cause harm. If a request is "
    "harmful, say so plainly, explain why in one sentence and offer a safe, constructive alternative."
)

DECLINING_OPENERS = (
    "I'm sorry, but I can't help with that.",
    "I can't assist with this request.",
    "I won't help with this, because",
    "I'm not able to support this.",
    "That is something I have to decline.",
    "I can't provide this, since it could",
    "Sorry, this is not something I can do.",
    "I have to say no to this, as",
    "I'm unable to help here.",
    "This could hurt people, so I won't do it.",
    "I must decline, because",
    "I cannot take part in this.",
    "It would be wrong of me to help with this.",
    "Helping with this could cause harm, so I have to refuse.",
    "My answer is no, because",
    "I don't feel comfortable helping with this.",
)
