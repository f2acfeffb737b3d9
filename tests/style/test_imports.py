"""Imports go downwards only: the layout is the architecture."""

from __future__ import annotations

import ast
from pathlib import Path

import provisioner

TOP = Path(provisioner.__file__).parent

LEVELS = [
    {"__main__"},
    {"cli"},
    {"commands"},
    {"onboarding"},
    {"connection", "runner", "report", "lab"},
    {"engine", "transport"},
    {"compiler", "undefined"},
    {"tasks", "wire"},
    {"jetson"},
    {"observables", "playbook", "inventory"},
    {"templating", "model", "events"},
    {"shell", "document", "files"},
    {"errors"},
    {"records", "lean"},
]
"""From the top down; a module imports from lower levels, or within its own folder."""

ALLOWED = {
    ("connection", "transport"), ("connection", "lab"), ("tasks", "jetson"),
    ("playbook", "templating"), ("events", "model"), ("runner", "connection"),
}  # fmt: skip

NEVER = {
    "engine": {"transport", "observables", "tasks", "jetson", "lab", "report"},
    "compiler": {"transport", "observables", "tasks", "jetson", "lab", "report", "engine", "wire"},
    "wire": {"observables", "tasks", "jetson", "lab", "engine", "transport"},
    "tasks": {"engine", "transport", "wire", "runner"},
    "observables": {"engine", "transport", "wire", "runner", "tasks", "jetson"},
    "jetson": {"engine", "transport", "runner", "commands"},
}
"""Where knowledge of devices and of domains must not be."""


def part(name: str) -> str:
    """Return the first part of a module's name below the package."""
    return name.split(".", maxsplit=1)[0]


def imports(path: Path) -> set[str]:
    """Return the parts of the package that a module imports, wherever in the file."""
    package = path.relative_to(TOP).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("provisioner.")}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level]] if node.level else []
            names = (node.module or "").split(".") if node.module else []
            whole = [*base, *names] if node.level else names[1:] if names[:1] == ["provisioner"] else None
            if whole:
                found.add(whole[0])
            elif whole is not None:
                found |= {alias.name for alias in node.names}
    return found & set().union(*LEVELS)


def level(name: str) -> int:
    """Return how far down a part of the package is."""
    return next(number for number, names in enumerate(LEVELS) if name in names)


def test_every_part_has_its_place() -> None:
    """No module stands outside the picture."""
    parts = {path.stem if path.is_file() else path.name for path in TOP.iterdir()}
    parts -= {"__pycache__", "__init__", "py", "shipped"}
    assert parts == set().union(*LEVELS)


def test_imports_go_downwards() -> None:
    """A module imports nothing from its own level or above, outside its own folder."""
    wrong = []
    for path in sorted(TOP.rglob("*.py")):
        own = part(".".join(path.relative_to(TOP).with_suffix("").parts))
        if own == "__init__":
            continue
        others = {other for other in imports(path) - {own} if level(other) <= level(own)}
        wrong += [f"{path.relative_to(TOP)} imports {one}" for one in others if (own, one) not in ALLOWED]
    assert wrong == []


def test_knowledge_stays_where_it_belongs() -> None:
    """The engine, the compiler and the wire know no domain; tasks and observables know no network."""
    wrong = [
        f"{path.relative_to(TOP)} imports {other}"
        for own, others in NEVER.items()
        for path in [*(TOP / own).rglob("*.py"), *TOP.glob(f"{own}.py")]
        for other in sorted(imports(path) & others)
    ]
    assert wrong == []
