"""Engines that turn prompts into text, and the resident model that all roles share."""

from selfmoa.generate._endpoint import Endpoint, EndpointGenerator
from selfmoa.generate._language_model import LanguageModel
from selfmoa.generate._ledger import Charge, Ledger
from selfmoa.generate._openers import DECLINING_OPENERS, SAFE_SYSTEM_PROMPT
from selfmoa.generate._protocol import Generation, Generator, Request, Unanswered
from selfmoa.generate._scripted import ScriptedGenerator

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
    "Request",
    "ScriptedGenerator",
    "Unanswered",
]
