"""The house stands as drawn: rooms use each other's public names only, without circles, in small pieces."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import selfmoa

ROOT = Path(selfmoa.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
FUNCTION_LINES, FILE_LINES = 60, 400


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    """The room a file lies in; the file's own name for those that lie above the rooms."""
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names) of every import of selfmoa, at any depth."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names if alias.name.startswith("selfmoa."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "selfmoa":
            yield node.module or "", tuple(alias.name for alias in node.names)


def modules_used(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(room or module used, full path of what is imported from it)."""
    for module, names in imports(tree):
        if module == "selfmoa":
            yield from ((name, f"selfmoa.{name}") for name in names)
        else:
            yield from ((module.split(".")[1], ".".join((module, name))) for name in names or ("",))


def at_run_time(tree: ast.Module) -> ast.Module:
    """The tree without what only a type checker reads."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
                return None
            return self.generic_visit(node)

    return Strip().visit(tree)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 20
    assert {"assets", "attack", "audit", "bench", "generate", "judge", "prefer", "run", "train"} <= set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_rooms_use_public_names_only(path: Path) -> None:
    private = [
        target
        for used, target in modules_used(parse(path))
        if used != room_of(path)
        and any(part.startswith("_") and not part.startswith("__") for part in target.split("."))
    ]
    assert not private, f"{name_of(path)} reaches into another room: {private}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_what_is_public(room: str) -> None:
    tree = parse(ROOT / room / "__init__.py")
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert listed, f"selfmoa.{room} has no __all__"
    assert not [name for name in listed[0] if name.startswith("_")]


def test_public_names_of_other_rooms_are_listed() -> None:
    """`from selfmoa.x import y` uses only what x.__all__ names."""
    wrong = []
    for path in FILES:
        for module, names in imports(parse(path)):
            parts = module.split(".")
            if len(parts) != 2 or parts[1] not in ROOMS or parts[1] == room_of(path):
                continue
            init = (ROOT / parts[1] / "__init__.py").read_text(encoding="utf-8")
            wrong += [f"{name_of(path)}: {module}.{name}" for name in names if f'"{name}"' not in init]
    assert not wrong, wrong


def test_no_circle_between_rooms() -> None:
    uses: dict[str, set[str]] = {}
    for path in FILES:
        if path == ROOT / "__init__.py":
            continue  # offers the library's names lazily
        room = room_of(path)
        found = {used for used, _ in modules_used(at_run_time(parse(path)))}
        uses.setdefault(room, set()).update(found - {room})

    def walk(room: str, trail: tuple[str, ...]) -> None:
        assert room not in trail, f"import circle: {' -> '.join((*trail, room))}"
        for used in sorted(uses.get(room, ())):
            if room not in done:
                walk(used, (*trail, room))
        done.add(room)

    done: set[str] = set()
    for room in sorted(uses):
        walk(room, ())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_pieces_are_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_LINES, f"{name_of(path)} has {lines} lines"
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{name_of(path)}: {node.name} has {length} lines"


@pytest.mark.parametrize(
    "module",
    [
        "selfmoa",
        "selfmoa.recipe",
        "selfmoa.recipes",
        "selfmoa.records",
        "selfmoa.errors",
        "selfmoa.assets",
        "selfmoa.bench",
        "selfmoa.judge",
        "selfmoa.audit",
        "selfmoa.display",
    ],
)
def test_no_torch_where_help_needs_none(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'trl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]", f"importing {module} also imports {done.stdout.strip()}"
