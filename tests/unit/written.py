"""Helpers: files as text in a folder, small modules, and what an error says."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.document import Mode  # noqa: TC001 - annotations are read at run time
from provisioner.errors import InputError, InputErrors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(folder: Path, **files: str) -> Path:
    """Write files (a__b_yml is a/b.yml) and return the folder."""
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / (stem.replace("__", "/") + "." + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def mistakes(run: Callable[[], object]) -> list[tuple[int, int, str]]:
    """Return line, column and message of every mistake that a call reports."""
    try:
        run()
    except InputError as error:
        found = error.errors if isinstance(error, InputErrors) else (error,)
        return [(e.source.line if e.source else 0, e.source.column if e.source else 0, e.message) for e in found]
    return []


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A module with the usual kinds of arguments."""

    dest: str
    src: str | None = None
    content: str | None = None
    mode: Mode | None = None
    owner: str | None = None
    force: bool = True
    remote_src: bool = False
    packages: list[str] = field(default_factory=list, metadata={"aliases": ("pkg", "name")})
    state: Literal["present", "absent"] = "present"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A module that takes free text."""

    free_form: ClassVar[str | None] = "cmd"

    cmd: str
    creates: str | None = None
    chdir: str | None = None


@dataclass(frozen=True, kw_only=True)
class Debug:
    """A module without required arguments."""

    msg: Any = "Hello world!"


@dataclass(frozen=True, kw_only=True)
class SetFact:
    """A module that takes every key."""

    any_argument: ClassVar[bool] = True

    free: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Assert:
    """A module whose argument is expressions."""

    that: Any


MODULES: dict[str, type] = {
    "copy": Copy,
    "template": Copy,
    "command": Command,
    "shell": Command,
    "assert": Assert,
    "debug": Debug,
    "set_fact": SetFact,
}
