"""Reading recipes: shipped ones by name, a user's by path, with one parent and dotted overrides."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from selfmoa.errors import RecipeError, nearest
from selfmoa.recipe import Recipe

__all__ = [
    "as_name",
    "dump",
    "fields",
    "fingerprint",
    "load",
    "model_ref",
    "names",
    "read_text",
    "resolve",
    "shipped",
    "studies",
    "with_model",
    "with_overrides",
]

_ROOT = Path(str(files(__package__)))
_STUDIES = "studies/"
_SCHEMES = ("wheel:", "path:", "hub:")


def names() -> list[str]:
    """Names of the shipped recipes, e.g. `demo`, `paper/gemma-2-2b-it`."""
    return [name for name in _files() if not name.startswith(_STUDIES)]


def studies() -> list[str]:
    """Names of the shipped studies, e.g. `studies/main`; `selfmoa.study` reads them."""
    return [name for name in _files() if name.startswith(_STUDIES)]


def shipped(name: str) -> Path:
    """The file of a shipped recipe or study."""
    return _ROOT / f"{name}.yaml"


def _files() -> list[str]:
    return sorted(path.relative_to(_ROOT).with_suffix("").as_posix() for path in _ROOT.rglob("*.yaml"))


def as_name(text: str, otherwise: str) -> str:
    """`text` as the name of a run; `otherwise` where nothing of it may stand in one."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip(".-_") or otherwise


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or a file, and apply overrides such as `attack.k=64`.

    Raises `RecipeError` with the offending field, what it got and the nearest known name.
    """
    values = _read(name_or_path)
    for override in overrides:
        _apply(values, override)
    return _validate(values, str(name_or_path))


def resolve(target: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or file; anything else is a model (directory, .gguf, hub:...) run with the demo's settings.

    Raises `RecipeError` for a name that is neither, with the nearest recipe's.
    """
    if target in names() or target.endswith((".yaml", ".yml")):
        return load(target, overrides)
    folders = {name.partition("/")[0] for name in names() if "/" in name}
    path = "/" in target and target.partition("/")[0] not in folders
    if not (target.startswith(_SCHEMES) or Path(target).exists() or path):
        raise RecipeError(
            f"{target!r} is neither a recipe nor a model: expected a model's directory, a .gguf file or "
            f"hub:OWNER/NAME@REVISION, or a recipe.{nearest(target, names())}"
        )
    return with_overrides(with_model(load("demo"), target), overrides)


def model_ref(model: str) -> str:
    """The reference of a model that a person named; without a scheme it is a path."""
    return model if model.startswith(_SCHEMES) else f"path:{model}"


def with_model(recipe: Recipe, model: str) -> Recipe:
    """The same recipe for another model, named after it."""
    ref = model_ref(model)
    stem = Path(ref.partition(":")[2].partition("@")[0]).name.removesuffix(".gguf")
    return recipe.model_copy(
        update={"name": as_name(stem, "model"), "model": recipe.model.model_copy(update={"ref": ref})}
    )


def with_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """A copy of `recipe` with dotted overrides applied and everything checked again."""
    values = recipe.model_dump(mode="json")
    for override in overrides:
        _apply(values, override)
    return _validate(values, recipe.name)


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; reading it back gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def fingerprint(recipe: Recipe) -> str:
    """A hash of everything in the recipe; two runs are the same run if it is equal."""
    return hashlib.sha256(json.dumps(recipe.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def fields(
    model: type[BaseModel] = Recipe, prefix: str = "", values: BaseModel | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """(dotted name, default, range or choices, description) of every field; `values` is a section's own default.

    A section that is left out by default (`reset`) is listed as such, and then its fields.
    """
    for name, info in model.model_fields.items():
        dotted = f"{prefix}{name}"
        required = values is None and info.is_required()
        default = getattr(values, name) if values else info.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from fields(type(default), f"{dotted}.", default)
            continue
        shown = "required" if required else json.dumps(default, default=_plain)
        yield dotted, shown, _range(info), info.description or ""
        for kind in get_args(info.annotation):
            if default is None and isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields(kind, f"{dotted}.")


def _range(info: FieldInfo) -> str:
    """What a field may hold, as far as it is one range or a choice: '0 to 1', 'at least 1', 'a | b'."""
    annotation = info.annotation
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    bounds = {
        name: getattr(one, name) for one in info.metadata for name in ("ge", "gt", "le", "lt") if hasattr(one, name)
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    above = "more than " if "gt" in bounds else ""
    below = "less than " if "lt" in bounds else ""
    if low is None and high is None:
        return ""
    if high is None:
        return f"{above or 'at least '}{low:g}"
    return f"{below or 'at most '}{high:g}" if low is None else f"{above}{low:g} to {below}{high:g}"


def read_text(name_or_path: str | Path) -> str:
    """The recipe file as it is written."""
    path = _find(name_or_path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"Recipe {str(path)!r} cannot be read: {error}.") from error


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _find(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise RecipeError(
            f"There is no recipe file {str(path)!r}. Give an existing file or one of: {', '.join(names())}."
        )
    if str(name_or_path) in names():
        return shipped(str(name_or_path))
    raise RecipeError(f"There is no recipe {str(name_or_path)!r}.{nearest(str(name_or_path), names())}")


def _read(name_or_path: str | Path, *, child: str | None = None) -> dict[str, Any]:
    path = _find(name_or_path)
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds {type(values).__name__}, expected a mapping of recipe fields.")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if child is not None:
        raise RecipeError(f"{child} extends {name_or_path}, which extends {parent}; one parent at the most.")
    sibling = path.parent / str(parent)
    return _merge(_read(sibling if sibling.is_file() else str(parent), child=str(name_or_path)), values)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _apply(values: dict[str, Any], override: str) -> None:
    dotted, sign, text = override.partition("=")
    if not sign or not dotted.strip():
        raise RecipeError(f"Override {override!r} is not of the form field.name=value, e.g. attack.k=64.")
    *parents, last = dotted.strip().split(".")
    here = values
    for key in parents:
        if here.get(key) is None:  # a section that is off
            here[key] = {}
        here = here[key]
        if not isinstance(here, dict):
            raise RecipeError(f"Override {override!r}: {key!r} is a value, not a section.")
    try:
        here[last] = yaml.safe_load(text)
        if isinstance(here[last], str):  # YAML reads 3e-5 as text
            here[last] = _number(here[last])
    except yaml.YAMLError as error:
        raise RecipeError(f"Override {override!r}: the value is not YAML: {error}") from error


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _validate(values: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise RecipeError(f"Recipe {where!r} is not valid:\n" + "\n".join(f"  - {line}" for line in lines)) from error


def _explain(item: Any) -> str:
    dotted = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        siblings = _siblings(item["loc"][:-1])
        return f"{dotted}: unknown field.{nearest(str(item['loc'][-1]), siblings)}"
    message = item["msg"].removeprefix("Value error, ")
    got = "" if item["type"] in ("value_error", "missing") else f" (got {item['input']!r})"
    return f"{dotted}: {message}{got}" if dotted else message


def _siblings(loc: Sequence[Any]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in loc:
        info = model.model_fields.get(str(part))
        annotation = info.annotation if info else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
