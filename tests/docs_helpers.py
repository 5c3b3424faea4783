"""Reads the documents: their fenced blocks, and the commands in them as a reader would type them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def fences(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every fenced block; commands are in those without a language."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[str]:
    """Every line that is typed, continued lines joined, comments cut off; file trees and formulas are none."""
    text = "\n".join(block for language, block in fences(page) if not language)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    typed = re.compile(r"(selfmoa|make|pip|python|lm_eval|grep|\.venv/bin/\w+) ")
    return [re.sub(r"\s+#.*$", "", line).strip() for line in lines if typed.match(line)]


def words_of(line: str) -> list[str]:
    """The command before a pipe or a redirection, as words."""
    words = shlex.split(line)
    ends = [place for place, word in enumerate(words) if word in ("|", ">")]
    return words[: min(ends, default=len(words))]


def named(page: Path) -> dict[str, str]:
    """File name -> text of every block whose first line says which file it is (`# seeds.yaml`)."""
    found = {}
    for _, text in fences(page):
        told = re.match(r"# ([\w./-]+\.\w+)\n", text)
        if told:
            found[told[1]] = text
    return found
