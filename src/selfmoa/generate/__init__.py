"""Engines that turn prompts into text, and the resident model that all roles share."""

from typing import TYPE_CHECKING, Any

from selfmoa.generate._chat import dateless
from selfmoa.generate._endpoint import Endpoint, EndpointGenerator
from selfmoa.generate._ledger import Charge, Ledger
from selfmoa.generate._memory import give_back_memory
from selfmoa.generate._openers import DECLINING_OPENERS, SAFE_SYSTEM_PROMPT
from selfmoa.generate._protocol import Generation, Generator, Request, Unanswered
from selfmoa.generate._scripted import ScriptedGenerator

if TYPE_CHECKING:
    from selfmoa.generate._base import load_plain, load_tokenizer, save_merged, write_merged
    from selfmoa.generate._language_model import LanguageModel
    from selfmoa.generate._plain import PlainModel

__all__ = [
    "DECLINING_OPENERS",
    "SAFE_SYSTEM_PROMPT",
    "Charge",
    "Endpoint",
    "EndpointGenerator",
    "Generation",
    "Generator",
    "LanguageModel",
    "Ledger",
    "PlainModel",
    "Request",
    "ScriptedGenerator",
    "Unanswered",
    "dateless",
    "give_back_memory",
    "load_plain",
    "load_tokenizer",
    "save_merged",
    "write_merged",
]


def __getattr__(name: str) -> Any:
    """torch is loaded by whoever needs the model, not by whoever needs a `Request`."""
    if name == "LanguageModel":
        from selfmoa.generate._language_model import LanguageModel

        return LanguageModel
    if name == "PlainModel":
        from selfmoa.generate._plain import PlainModel

        return PlainModel
    if name in ("load_plain", "load_tokenizer", "save_merged", "write_merged"):
        from selfmoa.generate import _base

        return getattr(_base, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
