"""selfmoa: make a small language model refuse harm without making it useless.

    import selfmoa
    run = selfmoa.align("demo")          # a shipped recipe, a YAML file, a Recipe or a model
    print(run.directory, run.result)

Importing this package imports no torch.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from selfmoa.recipe import Recipe

if TYPE_CHECKING:
    from selfmoa.api import align, evaluate
    from selfmoa.callback import EvalCallback
    from selfmoa.run import Run

# read when huggingface_hub is first imported: TRL would send a ping for every training
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = ["EvalCallback", "Recipe", "Run", "__version__", "align", "evaluate"]

_HOMES = {"align": "selfmoa.api", "evaluate": "selfmoa.api", "EvalCallback": "selfmoa.callback", "Run": "selfmoa.run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'selfmoa' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
