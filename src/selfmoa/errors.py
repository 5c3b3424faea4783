"""Every error that selfmoa raises on purpose.

Each is also a built-in type, so that callers can catch it without importing this module, and each
carries the exit code that the command line ends with:
0 ok, 1 gate failed, 2 bad usage or recipe, 3 inconclusive, 4 infrastructure, 5 refused.
A message says what was got, what was expected and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class SelfMoaError(Exception):
    """Base class; `exit_code` is the process exit code of the command line."""

    exit_code = 4


class UsageError(SelfMoaError, ValueError):
    """The caller asked for something impossible: a bad argument, file or recipe."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe does not parse or contradicts itself."""


class RunExistsError(UsageError):
    """The run directory exists and the policy is `raise`, or it belongs to another recipe."""


class AssetError(SelfMoaError, OSError):
    """A model or data set is missing, corrupt or cannot be fetched."""


class ModelError(UsageError):
    """A model file cannot be loaded: corrupt, unknown architecture, no tokenizer."""


class DependencyError(SelfMoaError, ImportError):
    """An optional package is not installed."""


class EndpointError(SelfMoaError, ConnectionError):
    """A model behind an HTTP endpoint gave no answer."""


class EvaluatorError(SelfMoaError, RuntimeError):
    """A judge left more items unscored than `judges.max_unscored` allows."""


class TrainingError(SelfMoaError, RuntimeError):
    """Training diverged (NaN or infinite loss)."""


class StorageError(SelfMoaError, OSError):
    """The run directory cannot be written: disk full or no permission."""


class GateFailed(SelfMoaError):
    """A condition on the results does not hold."""

    exit_code = 1


class RefusedError(SelfMoaError):
    """What was asked for is possible, and is not done: a model whose safety was taken away does not leave its run."""

    exit_code = 5


def first_problem(error: ValidationError, whole: str = "") -> str:
    """The first thing that is wrong with values, as 'field.inner: what'; `whole` stands for no field in particular."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    what = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def first_line(error: BaseException) -> str:
    """The first line of what a library's error says, its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def nearest(name: str, known: list[str]) -> str:
    """A hint for an unknown name: ' Did you mean ...?' or the list of what is known."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(sorted(known))}."
