"""What the documents say can be typed and followed: every link leads somewhere, every command parses."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
import yaml

import selfmoa
from docs_helpers import PAGES, ROOT, commands, fences, named, words_of
from report_fixture_results import results
from selfmoa import api, recipes, suites
from selfmoa.cli._app import app
from selfmoa.judge._guard import GuardOptions
from selfmoa.recipe import Recipe

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
COMMANDS = [(page, line) for page in PAGES for line in commands(page)]


# -- links ----------------------------------------------------------------------------------------------


def prose(page: Path) -> str:
    """The page without its code, in which brackets are no links and # is no heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: code.group().replace("[", " ").replace("(", " "), text)


def anchors(page: Path) -> set[str]:
    """Ids that GitHub gives the headings of a page."""
    found: dict[str, int] = {}
    for heading in HEADING.findall(prose(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[name] = found.get(name, -1) + 1
    return {name if n == 0 else f"{name}-{n}" for name, last in found.items() for n in range(last + 1)}


def broken(page: Path) -> list[str]:
    wrong = []
    for link in (one or other for one, other in LINK.findall(prose(page))):
        if re.match(r"[a-z]+:", link):
            continue  # another site's
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken(page)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A *b*, `c`!\n[x](page.md#a-b-c) [y](#a-b) [z](absent.md) ![p](p.png) [w](https://x.org/y) `[v](no.md)`\n"
        "```\n[u](no.md)\n# no heading\n```\n[t](#no-heading)\n"
    )
    assert broken(page) == ["#a-b", "absent.md", "p.png", "#no-heading"]


def test_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.name != "README.md":
            assert f"({page.relative_to(ROOT).as_posix()}" in readme, page.name


# -- commands -------------------------------------------------------------------------------------------


def test_there_are_commands_to_check() -> None:
    names = {words_of(line)[1] for _, line in COMMANDS if line.startswith("selfmoa ")}
    assert {"align", "evaluate", "compare", "gate", "explain", "judges", "suites", "recipes", "plan"} <= names
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page.name}: {line[:60]}" for page, line in COMMANDS])
def test_every_command_parses(page: Path, line: str) -> None:
    words = words_of(line)
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")
    elif words[0] == "pip":
        check_extras(line)
    elif words[0] == "selfmoa":
        check_selfmoa(words[1:])
    else:
        assert words[0] in ("grep", "lm_eval", "python", ".venv/bin/pytest"), f"what is {words[0]}?"


def check_extras(line: str) -> None:
    extras = re.search(r"\[(\w+)\]", line)
    toml = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert extras and re.search(rf"^{extras[1]} = \[", toml, re.MULTILINE)


def check_selfmoa(words: list[str]) -> None:
    """Commands and options exist; recipes, suites and fields that are named exist, too."""
    found = parse(words)
    name, params = found.info_name, found.params
    recipe = params.get("target") or params.get("recipe") or "demo"
    if name == "study":
        assert f"studies/{params['target']}" in recipes.studies() or params["target"].endswith(".yaml")
        return
    if name in ("align", "plan", "evaluate", "validate"):
        load("demo" if is_path(str(recipe)) else str(recipe), *(params.get("override") or ()))
    suite = params.get("suite")
    if suite and not str(suite).endswith((".yaml", ".csv")):
        suites.load(str(suite))


@cache
def load(name: str, *overrides: str) -> Recipe:
    return recipes.load(name, overrides)


def is_path(text: str) -> bool:
    return text.endswith((".yaml", ".csv")) or text.startswith(("path/", "path:", "hub:", "wheel:", "runs/"))


def parse(words: list[str]) -> typer.Context:
    """The context of the innermost command, or what click says is wrong."""
    command = typer.main.get_command(app)
    context = command.make_context("selfmoa", list(words), resilient_parsing=False)
    while hasattr(context.command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None, name
        context = command.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize(
    "line",
    [
        "selfmoa algin demo",
        "selfmoa align demo --dryrun",
        "selfmoa align dmo",
        "selfmoa evaluate path/to/m --suite quik",
    ],
)
def test_a_wrong_command_does_not_parse(line: str) -> None:
    with pytest.raises(Exception, match=r"No such|There is no"):
        check_selfmoa(words_of(line)[1:])


def test_recipes_in_documents_are_recipes(tmp_path: Path) -> None:
    """A block of YAML is a recipe, or sections of one, which then stand upon the demo; others only have to be YAML."""
    blocks = [(page, yaml.safe_load(text)) for page in PAGES for language, text in fences(page) if language == "yaml"]
    sections = {"model", "attack", "judges", "train", "evaluate"}
    found = [(page, values) for page, values in blocks if sections & set(values) and "options" not in values]
    assert len(found) >= 4
    for page, values in found:
        path = tmp_path / "one.yaml"
        path.write_text(yaml.safe_dump({"name": "one", "extends": "demo", **values}))
        assert recipes.load(path), page
    guards = [values for _, values in blocks if values.get("name") == "guard"]
    assert guards and all(GuardOptions.model_validate(guard["options"]) for guard in guards)


def test_the_python_of_the_howto_prints_every_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only the run itself is put in the place of another: the tutorial's test runs a real one."""
    asked = {}

    def align(recipe: Recipe, *, on_existing: str, progress: str) -> SimpleNamespace:
        asked.update(recipe=recipe, on_existing=on_existing, progress=progress)
        return SimpleNamespace(directory=tmp_path, result=results())

    monkeypatch.setattr(selfmoa, "align", align, raising=False)
    exec(compile(named(ROOT / "docs" / "howto.md")["one_round.py"], "one_round.py", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(results()["metrics"]) and printed[0].startswith(results()["metrics"][0]["label"])
    assert (asked["recipe"].seed, asked["recipe"].loop.n_rounds, asked["on_existing"]) == (1, 1, "resume")
    assert {"on_existing", "progress"} <= inspect.signature(api.align).parameters.keys()
