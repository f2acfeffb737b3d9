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


PATTERNS_LATER: dict[str, ModuleType] = {"re": _Patterns("re")}


@contextmanager
def standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let modules stand in for others while something is imported; those that are there come back afterwards."""
    there = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in there.items():
            if module is not None:
                sys.modules[name] = module
            elif sys.modules.get(name) is modules[name]:
                del sys.modules[name]
