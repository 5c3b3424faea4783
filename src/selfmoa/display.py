"""Hostile text made safe to show in a terminal, a page or a file that people open."""

from __future__ import annotations

import unicodedata

__all__ = ["visible"]

_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """`text` with every character that could steer a terminal or a page made visible instead.

    Control characters (ESC, NUL, carriage return ...), bidirectional overrides, invisible tags and lone
    surrogates become `\\x1b`, `\\u202e` and so on; newline and tab stay, as do the joiners that emoji and
    Indic scripts need.
    """
    return "".join(_escaped(char) if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    if char in "\n\t" or char in _JOINERS:
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
