"""Imports libraries without what nothing here uses: modules that are never asked, and patterns that never look."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Nothing(ModuleType):
    """A module that has every name, and nothing behind any."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


class _Later:
    """A pattern that is compiled when it is first used; PyYAML alone has one that takes 5 ms, for its slow reader."""

    def __init__(self, pattern: Any, flags: int = 0) -> None:
        self._given = pattern, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._given), name)
        setattr(self, name, found)
        return found


class _Patterns(ModuleType):
    """The module re, for libraries that ask their patterns themselves, and hand none to a function of re."""

    compile = _Later

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)


@contextmanager
def patterns_later() -> Iterator[None]:
    """Have the patterns of what is imported meanwhile compiled when they are first used."""
    sys.modules["re"] = _Patterns("re")
    try:
        yield
    finally:
        sys.modules["re"] = re


@contextmanager
def standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let modules stand in, while something is imported, for those that are not imported yet."""
    mine = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(mine)
    try:
        yield
    finally:
        for name, module in mine.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
