"""Judges by name: the embedded ones, and those of installed packages (entry points `selfmoa.evaluators`)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from selfmoa.errors import UsageError, nearest
from selfmoa.judge._protocol import Evaluator, EvaluatorContext
from selfmoa.recipe import JudgeRef

__all__ = ["Factory", "is_own", "known", "make", "register"]

Factory = Callable[[EvaluatorContext, JudgeRef], Evaluator]

GROUP = "selfmoa.evaluators"
_FACTORIES: dict[str, Factory] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Register a factory under a name that recipes use. A package of your own names its factory as an entry point."""

    def keep(factory: Factory) -> Factory:
        _FACTORIES[name] = factory
        return factory

    return keep


def known() -> list[str]:
    """Every name that a recipe may use, sorted."""
    return sorted({*_FACTORIES, *(point.name for point in entry_points(group=GROUP))})


def is_own(name: str) -> bool:
    """True for a judge that the user brought: registered by a module outside selfmoa, or by an entry point."""
    factory = _FACTORIES.get(name)
    return name in known() if factory is None else factory.__module__.split(".")[0] != __name__.split(".")[0]


def make(ref: JudgeRef, context: EvaluatorContext) -> Evaluator:
    """The judge that a recipe names; heads that are not in the cache yet are trained now.

    Raises `UsageError` for an unknown name or a bad option, `AssetError` where its files cannot be had.
    """
    factory = _FACTORIES.get(ref.name)
    if factory is None:
        point = next(iter(entry_points(group=GROUP, name=ref.name)), None)
        if point is None:
            raise UsageError(f"There is no judge {ref.name!r}.{nearest(ref.name, known())}")
        factory = point.load()
    return factory(context, ref)


def no_options(ref: JudgeRef) -> None:
    """Raise `UsageError` where a judge that takes neither model nor options is given some."""
    if ref.model or ref.options:
        raise UsageError(
            f"Judge {ref.name!r} takes no model and no options, got {ref.model!r} and {sorted(ref.options)}. "
            "Remove them from the recipe."
        )
