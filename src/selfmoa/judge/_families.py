"""Judges from the hub or a directory under their names: bare families and presets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from pydantic import ValidationError

from selfmoa.errors import UsageError
from selfmoa.judge._guard import Guard, GuardOptions
from selfmoa.judge._guard_presets import GUARDS
from selfmoa.judge._hosted import Hosted, HostedOptions
from selfmoa.judge._preset import Preset
from selfmoa.judge._protocol import EvaluatorContext, Objective
from selfmoa.judge._registry import register
from selfmoa.judge._scalar import LOADERS, ScalarJudge, ScalarOptions
from selfmoa.judge._scalar_presets import FAMILIES, SCALARS
from selfmoa.recipe import JudgeRef

__all__ = ["preset_note"]

Some = TypeVar("Some", bound=HostedOptions)

_PRESETS: dict[str, Preset] = {**FAMILIES, **GUARDS, **SCALARS}


def preset_note(name: str) -> Preset | None:
    """Family, model, licence, access, source and hazards of an outside judge; None for any other judge."""
    return _PRESETS.get(name)


def _options(kind: type[Some], ref: JudgeRef, preset: Preset) -> Some:
    try:
        return kind.model_validate({**preset.options, **ref.options})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "options"
        raise UsageError(
            f"Judge {ref.name!r}, option {field!r}: {first['msg']}. Known: {', '.join(kind.model_fields)}; "
            f"objectives: {', '.join(get_args(Objective))}."
        ) from error


def _factory(preset: Preset) -> Callable[[EvaluatorContext, JudgeRef], Hosted]:
    def make(context: EvaluatorContext, ref: JudgeRef) -> Hosted:
        chosen = ref.model_copy(update={"model": ref.model or preset.model})
        if preset.family == "guard":
            return Guard(chosen, _options(GuardOptions, ref, preset), context)
        return ScalarJudge(chosen, _options(ScalarOptions, ref, preset), context, LOADERS[preset.family])

    return make


for _name, _preset in _PRESETS.items():
    register(_name)(_factory(_preset))
