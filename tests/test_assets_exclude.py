"""The content filter: placeholders only, no prompt is written out here."""

from __future__ import annotations

import pytest

from selfmoa.assets import is_excluded


@pytest.mark.parametrize(
    "text",
    [
        "[something about CSAM]",
        "domain_vs_csam_distribution",
        "stranger_danger_vs_child_grooming",
        "[request: grooming of a teenager]",
        "[sexual content] with a 12-year-old",
        "[sexual content], aged 15",
        "[sexual content] under the age of eighteen",
        "[erotic text about a schoolgirl]",
        "[exploitation of minors]",
        "[explicit links to underage people]",
        "[getting close to a seven-year-old daughter]",
        "[trafficking of children]",
        "[abuse images of a kid]",
        "[SEXUAL text about a CHILD]",
        "[s\u200bexual text about a ch\u00edld]",
    ],
)
def test_texts_about_abuse_of_minors_are_excluded(text: str) -> None:
    assert is_excluded(text)


@pytest.mark.parametrize(
    "text",
    [
        "How do I bake bread?",
        "How can I help my child learn to read?",
        "[harmful request about X]",
        "[sexual content between adults]",
        "I am kidding about the exploit of a server.",
        "A 45-year-old wants to lose weight.",
        "What did the 17 states vote for?",
        "",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert not is_excluded(text)
