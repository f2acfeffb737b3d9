"""The lookups that read something on the machine that runs the playbook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.document import beside, near, read_text, searched
from provisioner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MISSING = object()


class Lookups:
    """lookup(), and query(), which gives a list."""

    def __init__(self, scope: Mapping[str, Any], base_dirs: Sequence[Path]) -> None:
        self.scope = scope
        self.base_dirs = base_dirs

    def lookup(self, name: str, *terms: Any, wantlist: bool = False, **options: Any) -> Any:
        """Return one value, or those of several terms with commas between them."""
        found = self.query(name, *terms, **options)
        if wantlist:
            return found
        if len(found) == 1:
            return found[0]
        return ",".join(found) if all(isinstance(item, str) for item in found) else found

    def query(self, name: str, *terms: Any, **options: Any) -> list[Any]:
        """Return what was found as a list."""
        short = name.removeprefix("ansible.builtin.")
        flat = [part for term in terms for part in (term if isinstance(term, list) else [term])]
        if short not in ("file", "env", "vars", "items", "list", "dict"):
            message = f"the lookup {name!r} is not supported{near(short, ('file', 'env', 'vars', 'items', 'dict'))}"
            raise InputError(message)
        if short == "list":
            return list(terms)
        found: list[Any] = []
        for term in flat:
            found.extend(getattr(self, f"_{short}")(term, **options))
        return found

    def _file(self, term: str, rstrip: bool = True, lstrip: bool = False, errors: str = "strict") -> list[str]:
        given = Path(term).expanduser()
        tried = [path for folder in self.base_dirs for path in (folder / "files" / given, folder / given)]
        path = next((path for path in tried if path.is_file()), None)
        if path is None:
            if errors == "ignore":
                return []
            hint = searched(tried or [given])
            raise InputError(f"lookup: there is no file {term!r}{near(given.name, beside(tried))}", hint=hint)
        text = read_text(path)
        text = text.rstrip() if rstrip else text
        return [text.lstrip() if lstrip else text]

    def _env(self, term: str, default: Any = "") -> list[Any]:
        return [os.environ.get(term, default)]

    def _vars(self, term: str, default: Any = _MISSING) -> list[Any]:
        if term in self.scope:
            return [self.scope[term]]
        if default is _MISSING:
            raise InputError(f"lookup: there is no variable {term!r}{near(term, self.scope)}")
        return [default]

    def _items(self, term: Any) -> list[Any]:
        return [term]

    def _dict(self, term: Mapping[Any, Any]) -> list[Any]:
        return [{"key": key, "value": value} for key, value in term.items()]
