"""The published verifiers: imported from the pinned wheel only where answers are checked, and kept off the network."""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from selfmoa import assets
from selfmoa.errors import DependencyError
from selfmoa.instructions._constraints import Constraints

__all__ = ["Verdict", "Verifiers", "absent", "judge_name", "load_verifiers"]

_WHEEL = "wheel:ifbench"
_PACKAGES = ("emoji", "syllapy")
"""What the verifiers import and selfmoa does not need elsewhere. The wheel asks for much more, for its own runner."""
_NOT = "Whether answers follow instructions was not checked:"
_WORDS = "tokenizers/punkt_tab"
_NEEDS: Mapping[str, Sequence[str]] = {
    "ratio:stop_words": ("corpora/stopwords",),
    "words:start_verb": (_WORDS, "taggers/averaged_perceptron_tagger_eng"),
    "words:keywords_specific_position": (_WORDS,),
    "words:words_position": (_WORDS,),
    "format:title_case": (_WORDS,),
}
"""Constraint -> NLTK data that its verifier reads. They are on no package registry; where they lie, they are used."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """1 = every constraint is met, 0 = one is not, None = not checked."""

    strict: float | None
    """Of the answer as it stands."""
    loose: float | None
    """Also met where the answer meets it without its first line, its last line, its asterisks, or several of them."""
    reason: str = ""
    """Why something is None: each constraint that could not be checked, with what it lacks, parted by "; "."""


class Verifiers:
    """IFBench's verifiers and its two ways of asking them."""

    def __init__(self, library: Any, needs: Mapping[str, Sequence[str]] = _NEEDS) -> None:
        """`library` is `ifbench.evaluation_lib`, or what has its names."""
        self._library, self._needs = library, needs

    def verdict(self, asked: Constraints, answer: str) -> Verdict:
        """Strict and loose, higher = better. Nothing is said where a constraint cannot be checked: meeting the others
        is not meeting all."""
        if lacking := [f"{name} ({why})" for name in asked.ids if (why := self._lacks(name))]:
            return Verdict(None, None, "; ".join(lacking))
        strict, reason = self._ask(self._library.test_instruction_following_strict, asked, answer)
        loose, loosely = self._ask(self._library.test_instruction_following_loose, asked, answer)
        return Verdict(strict, loose, reason or loosely)

    def _lacks(self, name: str) -> str:
        if name not in self._library.instructions_registry.INSTRUCTION_DICT:
            return "no verifier"
        return ", ".join(f"needs NLTK's {path.partition('/')[2]}" for path in self._needs.get(name, ()) if _no(path))

    def _ask(self, test: Any, asked: Constraints, answer: str) -> tuple[float | None, str]:
        """One of the library's tests; it fills the request in, so each gets its own."""
        told = [{key: value for key, value in kwargs.items() if value is not None} for kwargs in asked.kwargs]
        request = self._library.InputExample(0, list(asked.ids), asked.prompt, told)
        names = " and ".join(asked.ids)
        state = random.getstate()
        with _apart():
            try:
                found = test(request, {asked.prompt: answer}).follow_all_instructions
            except Exception as error:  # foreign code that an odd answer throws off has no verdict on it
                return None, f"{names} (verifier failed with {type(error).__name__})"
            drawn = random.getstate() != state
        # a value that the verifier draws itself is not the prompt's
        return (None, f"{names} (verifier draws at random)") if drawn else (float(found), "")


def absent() -> str:
    """Why no verifier can be asked, and what to run, in one line; empty where all is there. Imports nothing."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        return f'{_NOT} {" and ".join(missing)} must be installed. Run: pip install "selfmoa[ifbench]"'
    if not assets.is_cached(_WHEEL):
        return f"{_NOT} the verifiers' wheel is not here. Run: selfmoa assets pull"
    return ""


def judge_name() -> str:
    """Package and version, as they stand beside a figure."""
    wheel = assets.info(_WHEEL).wheels[0]
    return f"{wheel.package} {wheel.version}"


@cache
def load_verifiers() -> Verifiers:
    """The verifiers of the pinned, hash-checked wheel. Raises `DependencyError` with what `absent` says."""
    if why := absent():
        raise DependencyError(why)
    path = str(assets.fetch(_WHEEL))
    sys.path.insert(0, path)
    try:
        with _apart(), _without_spacy():
            return Verifiers(importlib.import_module("ifbench.evaluation_lib"))
    finally:
        sys.path.remove(path)


def _no(path: str) -> bool:
    import nltk

    try:
        nltk.data.find(path)
    except LookupError:
        return True
    return False


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """The verifiers fetch NLTK's data whenever they are asked, and may draw: neither is to be noticed outside."""
    import nltk

    fetch, state = nltk.download, random.getstate()
    nltk.download = _nothing
    try:
        yield
    finally:
        nltk.download = fetch
        random.setstate(state)


@contextlib.contextmanager
def _without_spacy() -> Iterator[None]:
    """The verifiers import spaCy for nothing but installing a model that none of them uses."""
    names = ("spacy", "spacy.cli")
    kept = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: ModuleType(name) for name in names})
    sys.modules["spacy.cli"].__dict__["download"] = _nothing
    try:
        yield
    finally:
        for name, module in kept.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _nothing(*_: object, **__: object) -> bool:
    return False
