"""The verdict as JUnit XML, SARIF 2.1.0 and a GitHub step summary."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from importlib.metadata import version
from typing import Any

from selfmoa.display import visible
from selfmoa.gate._verdict import Checked, GateVerdict

__all__ = ["github_summary", "junit", "sarif"]

_LEVELS = {"passed": "none", "failed": "error", "inconclusive": "warning"}
_KINDS = {"passed": "pass", "failed": "fail", "inconclusive": "review"}
_MARKS = {"passed": "✅", "failed": "❌", "inconclusive": "❔"}


def junit(verdict: GateVerdict) -> str:
    """JUnit XML: one test case a condition; an inconclusive one is an error, so that no CI takes it for a pass."""
    outcomes = [item.outcome for item in verdict.checked]
    suite = ET.Element(
        "testsuite",
        name=f"selfmoa gate {visible(verdict.policy)}",
        tests=str(len(outcomes)),
        failures=str(outcomes.count("failed")),
        errors=str(outcomes.count("inconclusive")),
        skipped="0",
        time="0",
    )
    for item in verdict.checked:
        case = ET.SubElement(suite, "testcase", classname="selfmoa.gate", name=item.condition.words, time="0")
        tag = {"failed": "failure", "inconclusive": "error"}.get(item.outcome)
        if tag:
            ET.SubElement(case, tag, message=item.reason, type=item.outcome).text = _told(item)
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def sarif(verdict: GateVerdict, artifact: str) -> dict[str, Any]:
    """SARIF 2.1.0: one rule and one result a condition; `artifact` is the judged file as a relative path."""
    rules = [
        {"id": f"gate/{number}", "name": item.condition.metric, "shortDescription": {"text": item.condition.words}}
        for number, item in enumerate(verdict.checked)
    ]
    results = [
        {
            "ruleId": f"gate/{number}",
            "ruleIndex": number,
            "level": _LEVELS[item.outcome],
            "kind": _KINDS[item.outcome],
            "message": {"text": f"{item.condition.words}. {item.reason}. {_told(item)}"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": artifact}}}],
        }
        for number, item in enumerate(verdict.checked)
    ]
    driver = {"name": "selfmoa", "version": version("selfmoa"), "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }


def github_summary(verdict: GateVerdict) -> str:
    """Markdown for a GitHub step summary."""
    lines = [
        f"### selfmoa gate {visible(verdict.policy)}: {verdict.outcome}",
        "",
        "| | condition | figure [95 %] | n | judge | why |",
        "|---|---|---|---:|---|---|",
    ]
    for item in verdict.checked:
        cells = (_MARKS[item.outcome], item.condition.words, _shown(item), str(item.n), item.judge or "–", item.reason)
        lines.append("| " + " | ".join(visible(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(item: Checked) -> str:
    if item.value is None:
        return "not scored"
    bounds = "" if item.low is None or item.high is None else f" [{item.low:.3f}, {item.high:.3f}]"
    return f"{item.value:.3f}{bounds}"


def _told(item: Checked) -> str:
    return (
        f"{item.condition.metric} {item.condition.of} = {_shown(item)}, n {item.n}, judged by {item.judge or 'nobody'}"
    )
