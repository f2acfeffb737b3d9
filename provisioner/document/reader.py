"""From the bytes of a YAML file to nodes; whatever is wrong with them is an InputError with its place."""

from __future__ import annotations

import os
import re
import unicodedata
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.document.tree import ListNode, MapNode, Node, ScalarNode, UnsafeText, Vault, raise_all
from provisioner.errors import InputError, Source
from provisioner.lean import patterns_later

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import yaml

_YAML = "tag:yaml.org,2002:"
# What YAML has no place for, and not the complement of what it has: a class of so many takes 5 ms to compile.
_NOT_YAML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_PACKAGE = Path(__file__).parent.parent
_WIDTH = 120
_DEEPEST = 2000
_BRACKET = re.compile(r"[\[\]{}]")
_DASHES = re.compile(rf"(?:[-?][ \t]+){{{_DEEPEST}}}")
_QUOTE = 'a value that starts with {{ has to be quoted whole: "{{ name }}/more"'


def load(path: Path, *, errors: list[InputError] | None = None, empty: bool = False) -> Node:
    """Read a YAML file; with `errors`, duplicate keys go there and reading goes on; with `empty`, nothing is a null."""
    return parse(read_text(path), str(path), errors=errors, empty=empty)


def parse(text: str, path: str, *, errors: list[InputError] | None = None, empty: bool = False) -> Node:
    """Read YAML text that came from path."""
    found: list[InputError] = []
    node = _Builder(path, found).document(text, empty=empty)
    if errors is not None:
        errors.extend(found)
    else:
        raise_all(found)
    return node


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, or say why it cannot be had."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", source=Source(str(path))) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise InputError("is not UTF-8 text", source=_place(str(path), before, len(before))) from error


def searched(tried: Iterable[Path]) -> str:
    """Return a hint that names each place that was looked at once, and our own as what is shipped."""
    seen: dict[Path, str] = {}
    for path in tried:
        real = Path(os.path.normpath(path.absolute()))
        seen.setdefault(_PACKAGE if _PACKAGE in real.parents else real, str(path))
    names = [name for place, name in seen.items() if place != _PACKAGE]
    return f"looked for {', '.join([*names, 'what is shipped'] if _PACKAGE in seen else names)}"


def beside(tried: Iterable[Path]) -> set[str]:
    """Return the names of the files that lie where one was looked for."""
    names: set[str] = set()
    for folder in {path.parent for path in tried}:
        with suppress(OSError):
            names |= {item.name for item in folder.iterdir() if item.is_file()}
    return names


def excerpt(source: Source) -> str:
    """Return the line at a place with a caret below its column, or nothing where no such line can be read."""
    try:
        lines = Path(source.path).read_text(errors="replace").split("\n")
    except (OSError, ValueError):
        return ""
    if not 1 <= source.line <= len(lines):
        return ""
    line = "".join(" " if unicodedata.category(char).startswith("C") else char for char in lines[source.line - 1])
    column = max(source.column - 1, 0)
    start = max(column - _WIDTH // 2, 0) if len(line) > _WIDTH else 0
    number = str(source.line)
    shown = f"{number} | {line[start : start + _WIDTH]}".rstrip()
    return f"{shown}\n{' ' * len(number)} | {' ' * _cells(line[start:column])}^" if source.column else shown


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _place(path: str, text: str, index: int) -> Source:
    return Source(path, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _is_abyss(text: str) -> bool:
    """Tell whether text nests so deeply that the C parser would overrun its stack."""
    depth = 0
    if text.count("[") + text.count("{") > _DEEPEST:
        for found in _BRACKET.finditer(text):
            depth += 1 if found[0] in "[{" else -1
            if depth > _DEEPEST:
                return True
    return _DASHES.search(text) is not None


@cache
def _library() -> Any:
    with patterns_later():
        import yaml
    return yaml


class _Builder:
    """Turns what the YAML library composes into our nodes."""

    def __init__(self, path: str, errors: list[InputError]) -> None:
        self.path = path
        self.errors = errors
        self.done: dict[int, Node] = {}
        self.open: set[int] = set()

    def document(self, text: str, *, empty: bool) -> Node:
        yaml = _library()
        self._refuse(text)
        try:
            root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            if root is not None:
                self.scalars = yaml.constructor.SafeConstructor()
                return self.node(root)
        except yaml.YAMLError as error:
            raise self._explain(error, text) from error
        except RecursionError as error:
            raise InputError("is nested too deeply", source=Source(self.path, 1, 1)) from error
        if not empty:
            raise InputError("the file is empty", source=Source(self.path, 1, 1))
        return ScalarNode(Source(self.path, 1, 1), None)

    def _refuse(self, text: str) -> None:
        if text.startswith("\ufeff"):
            message = "the file starts with a byte order mark; save it as UTF-8 without one"
            raise InputError(message, source=Source(self.path, 1, 1))
        if text.startswith("$ANSIBLE_VAULT;"):
            raise InputError("vault is not supported yet", source=Source(self.path, 1, 1))
        if bad := _NOT_YAML.search(text):
            message = f"is not YAML: the character U+{ord(bad[0]):04X} is not allowed in it"
            raise InputError(message, source=_place(self.path, text, bad.start()))
        if _is_abyss(text):
            raise InputError("is nested too deeply", source=Source(self.path, 1, 1))

    def _explain(self, error: yaml.YAMLError, text: str) -> InputError:
        mark = getattr(error, "problem_mark", None)
        if mark is None or "end of stream" in (getattr(error, "problem", None) or ""):
            mark = getattr(error, "context_mark", None) or mark
        if mark is None:
            return InputError(f"is not YAML: {error}", source=Source(self.path, 1, 1))
        lines = text.split("\n")
        line = lines[mark.line] if mark.line < len(lines) else ""
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent:
            place = Source(self.path, mark.line + 1, indent.index("\t") + 1)
            return InputError("is not YAML: a tab cannot indent; use spaces", source=place)
        problem = " ".join(filter(None, (getattr(error, "context", None), getattr(error, "problem", None))))
        templated = re.search(r"[:-]\s+\{\{", line)
        hint = _QUOTE if templated else "a value that holds ': ' or starts with one of {[%@`&*!|> has to be quoted"
        return InputError(f"is not YAML: {problem}", source=self.source(mark), hint=hint)

    def source(self, mark: Any) -> Source:
        return Source(self.path, mark.line + 1, mark.column + 1)

    def error(self, message: str, place: Source, hint: str | None = None) -> None:
        self.errors.append(InputError(message, source=place, hint=hint))

    def node(self, raw: Any, *, unsafe: bool = False) -> Node:
        known = self.done.get(id(raw))
        if known is not None:
            return known
        if id(raw) in self.open:
            raise InputError("an anchor contains itself", source=self.source(raw.start_mark))
        self.open.add(id(raw))
        unsafe = unsafe or raw.tag == "!unsafe"
        built: Node
        if raw.id == "scalar":
            built = self.scalar(raw, unsafe=unsafe)
        elif raw.id == "sequence":
            self._known_tag(raw, "seq")
            built = ListNode(self.source(raw.start_mark), tuple(self.node(item, unsafe=unsafe) for item in raw.value))
        else:
            self._known_tag(raw, "map")
            built = MapNode(self.source(raw.start_mark), tuple(self.entries(raw, unsafe=unsafe)))
        self.open.discard(id(raw))
        self.done[id(raw)] = built
        return built

    def _known_tag(self, raw: Any, kind: str) -> None:
        if raw.tag not in (_YAML + kind, "!unsafe"):
            self.error(f"unknown tag {raw.tag.removeprefix(_YAML)!r}", self.source(raw.start_mark))

    def scalar(self, raw: Any, *, unsafe: bool) -> ScalarNode:
        place = self.source(raw.start_mark)
        return ScalarNode(place, self._value(raw, place, unsafe=unsafe), raw.value, bool(raw.style))

    def _value(self, raw: Any, place: Source, *, unsafe: bool) -> object:
        if unsafe and raw.tag in ("!unsafe", _YAML + "str"):
            return UnsafeText(raw.value)
        kind = raw.tag.removeprefix(_YAML)
        if kind in ("str", "value", "merge"):
            return raw.value
        if raw.tag in ("!vault", "!vault-encrypted"):
            return Vault(place)
        if kind == "null":
            return None
        if kind in ("bool", "int", "float", "timestamp", "binary"):
            try:
                return getattr(self.scalars, f"construct_yaml_{kind}")(raw)
            except (ValueError, KeyError) as error:
                self.error(f"{raw.value!r} is no {kind}: {error}", place, "quote it if it is text")
        else:
            self.error(f"unknown tag {raw.tag!r}", place)
        return raw.value

    def entries(self, raw: Any, *, unsafe: bool) -> Iterator[tuple[ScalarNode, Node]]:
        """Yield the pairs of a mapping: its own, then those that merge keys add."""
        own: dict[object, tuple[ScalarNode, Node]] = {}
        merged: list[MapNode] = []
        for raw_key, raw_value in raw.value:
            if raw_key.tag == _YAML + "merge":
                merged.extend(self._merged(raw_value))
            elif (key := self._key(raw_key)) is not None:
                self._once(own, key)
                own[key.value] = (key, self.node(raw_value, unsafe=unsafe))
        yield from own.values()
        for other in merged:
            for key, value in other.entries:
                if key.value not in own:
                    own[key.value] = (key, value)
                    yield key, value

    def _once(self, own: dict[object, tuple[ScalarNode, Node]], key: ScalarNode) -> None:
        if key.value in own:
            first = own[key.value][0].source
            self.error(
                f"{key.text!r} is a duplicate: it is already at line {first.line}, column {first.column}", key.source
            )

    def _key(self, raw: Any) -> ScalarNode | None:
        if raw.id == "scalar":
            return self.scalar(raw, unsafe=False)
        hint = _QUOTE if raw.id == "mapping" else None
        self.error("a key has to be plain text", self.source(raw.start_mark), hint)
        return None

    def _merged(self, raw: Any) -> Iterator[MapNode]:
        nodes = raw.value if raw.id == "sequence" else [raw]
        for item in nodes:
            node = self.node(item)
            if isinstance(node, MapNode):
                yield node
            else:
                self.error("only a mapping can be merged with <<", node.source)
