"""decode(value, type): what a value has to look like is what the annotations say."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence as AnySequence
from typing import TYPE_CHECKING, Any, Literal, NewType, TypeVar, Union, overload

from provisioner.document import coerce
from provisioner.document.tree import Caution, Node, ScalarNode, Vault, find, is_template, near, plain, raise_all
from provisioner.errors import InputError, InputErrors, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Path = tuple[object, ...]
    _Field = dataclasses.Field[Any]
    Place = Callable[[Path], Source] | Source

T = TypeVar("T")

Mode = NewType("Mode", str)
"""A file mode as chmod takes it: four octal digits, symbolic, or `preserve`."""

_WRONG = object()
_NAMES: dict[str, Any] = {"Mode": Mode, "Any": Any, "Literal": Literal, "Mapping": AnyMapping, "Sequence": AnySequence}
_SHOWN = 60
_MODES = frozenset(f"{number:04o}" for number in range(0o1000))
_NO_KEY: tuple[str, frozenset[type], frozenset[str]] = ("", frozenset(), frozenset())


class _Any(frozenset[type]):
    """The types of a field that takes any value; what is encrypted is a value to nobody."""

    def __contains__(self, kind: object) -> bool:
        return kind is not Vault


_EXPECTED: dict[Any, str] = {
    str: "text",
    bool: "yes or no",
    int: "a whole number",
    float: "a number",
    types.NoneType: "nothing",
}
_GOT = {
    str: "",
    bool: "the boolean ",
    int: "the number ",
    float: "the number ",
    list: "the list ",
    dict: "the mapping ",
}


@overload
def decode(
    value: object,
    into: type[T],
    source: Place | None = None,
    *,
    strict: bool = False,
    name: str = "",
    warnings: list[Caution] | None = None,
) -> T: ...
@overload
def decode(
    value: object,
    into: object,
    source: Place | None = None,
    *,
    strict: bool = False,
    name: str = "",
    warnings: list[Caution] | None = None,
) -> Any: ...
def decode(
    value: object,
    into: object,
    source: Place | None = None,
    *,
    strict: bool = False,
    name: str = "",
    warnings: list[Caution] | None = None,
) -> Any:
    """Return value (a Node, or ordinary Python) as `into`, or raise every mistake in it at once.

    `strict` takes exact types, for our own data; otherwise values are made to fit as Ansible does it.
    `name` says in messages what is being read, such as the module.
    """
    if type(value) is dict and not strict and dataclasses.is_dataclass(into):
        made = _straight(value, into)
        if made is not None:
            return made
    decoder = _Decoder(value, source, strict=strict, name=name, warnings=warnings)
    result = decoder.value(decoder.plain, into, ())
    decoder.finish()
    return result


def check(
    value: object,
    into: object,
    source: Place | None = None,
    *,
    name: str = "",
    warnings: list[Caution] | None = None,
) -> bool:
    """Raise every mistake that shows without rendering; return whether nothing was left to render."""
    decoder = _Decoder(value, source, strict=False, name=name, warnings=warnings, templates=True)
    decoder.value(decoder.plain, into, ())
    decoder.finish()
    return not decoder.deferred


@functools.cache
def type_hints(cls: type) -> Mapping[str, Any]:
    """Return the annotations of a class as types, also where it imports the usual names for type checking only."""
    return typing.get_type_hints(cls, localns=_NAMES)


class _Decoder:
    """One value being read: where its parts lie, and what is wrong with them."""

    def __init__(
        self,
        value: object,
        source: Place | None,
        *,
        strict: bool,
        name: str,
        warnings: list[Caution] | None,
        templates: bool = False,
    ) -> None:
        self.root = value if isinstance(value, Node) else None
        self.plain = plain(value) if isinstance(value, Node) else value
        self.source = source
        self.strict = strict
        self.name = name
        self.warnings = warnings if warnings is not None else []
        self.templates = templates
        self.deferred = False
        self.errors: list[InputError] = []

    def finish(self) -> None:
        raise_all(self.errors)

    def place(self, path: Path) -> Source | None:
        if self.root is not None:
            return find(self.root, path).source
        if self.source is None or isinstance(self.source, Source):
            return self.source
        return self.source(path)

    def key_place(self, path: Path, key: object) -> Source | None:
        if self.root is not None:
            above = find(self.root, path)
            node = above.key(key) if hasattr(above, "key") else None
            return node.source if node else above.source
        return self.place((*path, key))

    def text(self, path: Path) -> str | None:
        """Return what was written for an unquoted scalar."""
        node = find(self.root, path) if self.root is not None else None
        return node.text if isinstance(node, ScalarNode) and not node.quoted else None

    def wrong(self, message: str, path: Path, place: Source | None = None) -> object:
        label = ".".join(str(step) for step in path)
        prefix = ": ".join(filter(None, (self.name, label)))
        self.errors.append(InputError(f"{prefix}: {message}" if prefix else message, source=place or self.place(path)))
        return _WRONG

    def warn(self, message: str, path: Path) -> None:
        place = self.place(path)
        if place is not None:
            label = ": ".join(filter(None, (self.name, ".".join(str(step) for step in path))))
            self.warnings.append(Caution(place, f"{label}: {message}" if label else message))

    def value(self, value: object, into: Any, path: Path) -> Any:
        if self.templates and isinstance(value, str) and is_template(value):
            self.deferred = True
            return _WRONG
        if isinstance(value, Vault):
            return self.wrong("vault is not supported yet", path, value.source)
        if into is Mode:
            return self.mode(value, path)
        if isinstance(into, NewType):
            into = into.__supertype__
        return value if into in (Any, object) else self.shaped(value, into, path)

    def shaped(self, value: object, into: Any, path: Path) -> Any:
        sort, origin, args = _anatomy(into)
        if sort is _Sort.DATACLASS:
            return self.dataclass(value, into, path)
        if sort is _Sort.UNION:
            return self.union(value, args, path)
        if sort is _Sort.LITERAL:
            return self.literal(value, args, path)
        if sort is _Sort.SEQUENCE:
            return self.sequence(value, origin, args, path)
        if sort is _Sort.MAPPING:
            return self.mapping(value, args[1] if args else Any, path)
        return self.scalar(value, into, path)

    def scalar(self, value: object, into: Any, path: Path) -> Any:
        if type(value) is into or (into is str and isinstance(value, str)):
            return value
        if into is float and type(value) is int:
            return float(value)
        if self.strict or into not in coerce.SCALARS:
            fits = into not in coerce.SCALARS and isinstance(value, into)
            return value if fits else self.wrong(f"expected {_expected(into)}, got {_got(value)}", path)
        try:
            result = coerce.SCALARS[into](value)
        except ValueError:
            return self.wrong(f"expected {_expected(into)}, got {_got(value)}", path)
        written = self.text(path)
        if into is str and written is not None and written != result:
            self.warn(f"{written} is read as {result}; quote it if it is text", path)
        return result

    def mode(self, value: object, path: Path) -> Any:
        try:
            result = coerce.mode(value)
        except ValueError as error:
            return self.wrong(f"{error}, got {_got(value)}", path)
        written = self.text(path)
        if type(value) is int and written and not written.startswith("0"):
            self.warn(f"{written} is read as a decimal number, which is {result} in octal; write '0{written}'", path)
        return Mode(result)

    def union(self, value: object, choices: tuple[Any, ...], path: Path) -> Any:
        if value is None and types.NoneType in choices:
            return None
        rest = [choice for choice in choices if choice is not types.NoneType]
        if len(rest) == 1:
            return self.value(value, rest[0], path)
        if type(value) in rest and type(value) in coerce.SCALARS and not self.templates:
            return value
        for choice in sorted(rest, key=lambda choice: not _fits(value, choice)):
            trial = self._trial()
            result = trial.value(value, choice, path)
            if not trial.errors:
                self.deferred |= trial.deferred
                self.warnings.extend(trial.warnings)
                return result
        return self.wrong(f"expected {' or '.join(_expected(c) for c in rest)}, got {_got(value)}", path)

    def _trial(self) -> _Decoder:
        return _Decoder(
            self.root, self.source, strict=self.strict, name=self.name, warnings=None, templates=self.templates
        )

    def literal(self, value: object, choices: tuple[Any, ...], path: Path) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        if not self.strict:
            texts = {str(choice): choice for choice in choices}
            for text in coerce.as_texts(value):
                if text in texts:
                    return texts[text]
        named = [str(choice) for choice in choices]
        guess = near(str(value), named)
        return self.wrong(f"expected {_expected(Literal[choices])}, got {_got(value)}{guess}", path)

    def sequence(self, value: object, kind: Any, args: tuple[Any, ...], path: Path) -> Any:
        if not self.strict:
            value = coerce.to_list(value)
        if not isinstance(value, (list, tuple)):
            return self.wrong(f"expected a list, got {_got(value)}", path)
        fixed = kind is tuple and args and args[-1] is not Ellipsis
        if fixed and len(args) != len(value):
            return self.wrong(f"expected {len(args)} values, got {len(value)}", path)
        inner = args if fixed else (args[0] if args else Any,) * len(value)
        items = [self.value(item, inner[i], (*path, i)) for i, item in enumerate(value)]
        if any(item is _WRONG for item in items):
            return _WRONG
        return items if kind in (list, AnySequence) else kind(items)

    def mapping(self, value: object, inner: Any, path: Path) -> Any:
        if not self.strict:
            value = coerce.to_dict(value)
        if not isinstance(value, AnyMapping):
            return self.wrong(f"expected a mapping, got {_got(value)}", path)
        result: dict[str, object] = {}
        for key, item in value.items():
            if self.strict and not isinstance(key, str):
                self.wrong(f"expected a key that is text, got {_got(key)}", path, self.key_place(path, key))
            result[str(key)] = self.value(item, inner, (*path, key))
        return _WRONG if any(item is _WRONG for item in result.values()) else result

    def dataclass(self, value: object, cls: type, path: Path) -> Any:
        if type(value) is cls:
            return value
        if not isinstance(value, AnyMapping):
            return self.wrong(f"expected a mapping, got {_got(value)}", path)
        count = len(self.errors)
        arguments: dict[str, object] = {}
        given = self._fields(value, cls, path)
        for item, hint, fitting, required in _readings(cls):
            if item.name in given:
                part = value[given[item.name]]
                if type(part) in fitting and not self.templates:
                    arguments[item.name] = part
                else:
                    self._field(item, hint, part, (*path, given[item.name]), arguments)
            elif required:
                self.wrong(f"{_key(item)!r} is required", path)
        if len(self.errors) > count or any(part is _WRONG for part in arguments.values()):
            return _WRONG
        return self._construct(cls, arguments, path)

    def _field(self, item: _Field, hint: Any, value: object, path: Path, arguments: dict[str, object]) -> None:
        """Read one field; as in Ansible an empty value counts as absent."""
        if value is not None or self.strict or _takes_none(hint):
            arguments[item.name] = self.value(value, hint, path)
        elif _required(item):
            self.wrong("is required, but it is empty", path)

    def _fields(self, value: Mapping[Any, Any], cls: type, path: Path) -> dict[str, object]:
        """Return which key gives which field; report the keys that give none."""
        fields = _fields_by_key(cls)
        given: dict[str, object] = {}
        for key in value:
            name = fields.get(key) if isinstance(key, str) else None
            if name is None:
                known = near(str(key), fields) or f"; known: {', '.join(sorted(fields)) or 'none'}"
                self.wrong(f"unknown key {str(key)!r}{known}", path, self.key_place(path, key))
            elif name in given:
                message = f"{key!r} says the same as {given[name]!r}; give one of them"
                self.wrong(message, path, self.key_place(path, key))
            else:
                given[name] = key
        return given

    def _construct(self, cls: type, arguments: dict[str, object], path: Path) -> Any:
        try:
            return cls(**arguments)
        except InputErrors as error:
            self.errors.extend(error.errors)
        except InputError as error:
            self.wrong(error.message, path, error.source)
        except ValueError as error:
            self.wrong(str(error), path)
        return _WRONG


def _straight(value: dict[Any, Any], cls: Any) -> Any:
    """Return a dataclass of values that are all as they have to be; None where one is not, or something is wrong.

    That is how most tasks are written, and many hosts have many of them.
    """
    keys, required = _straight_keys(cls)
    arguments: dict[str, object] = {}
    for key, part in value.items():
        name, fitting, choices = keys.get(key, _NO_KEY)
        if name in arguments or not (type(part) in fitting or (type(part) is str and part in choices)):
            return None
        arguments[name] = part
    if not required <= arguments.keys():
        return None
    try:
        return cls(**arguments)
    except (InputError, InputErrors, ValueError):
        return None  # what is wrong is told with its place, by who reads it slowly


class _Sort(enum.Enum):
    """What a type is made of, as far as reading it goes."""

    DATACLASS = enum.auto()
    UNION = enum.auto()
    LITERAL = enum.auto()
    SEQUENCE = enum.auto()
    MAPPING = enum.auto()
    SCALAR = enum.auto()


@functools.lru_cache(maxsize=1024)
def _anatomy(into: Any) -> tuple[_Sort, Any, tuple[Any, ...]]:
    """Return a type's sort, the plain type behind it, and its arguments: worked out once, asked for every value."""
    origin, args = typing.get_origin(into), typing.get_args(into)
    base = origin or into
    if dataclasses.is_dataclass(into) and isinstance(into, type):
        sort = _Sort.DATACLASS
    elif origin in (Union, types.UnionType):
        sort = _Sort.UNION
    elif origin is Literal:
        sort = _Sort.LITERAL
    elif base in (list, tuple, set, frozenset, AnySequence):
        sort = _Sort.SEQUENCE
    elif base in (dict, AnyMapping):
        sort = _Sort.MAPPING
    else:
        sort = _Sort.SCALAR
    return sort, base, args


@functools.cache
def _inputs(cls: Any) -> tuple[_Field, ...]:
    """Return the fields that a key can give."""
    return tuple(item for item in dataclasses.fields(cls) if item.init)


@functools.cache
def _readings(cls: Any) -> tuple[tuple[_Field, Any, frozenset[type], bool], ...]:
    """Return each field that a key can give with its hint, the types that fit as they are, and whether it is needed."""
    hints = type_hints(cls)
    return tuple((item, hints[item.name], _fitting(hints[item.name]), _required(item)) for item in _inputs(cls))


@functools.cache
def _straight_keys(cls: Any) -> tuple[Mapping[str, tuple[str, frozenset[type], frozenset[str]]], frozenset[str]]:
    """Return, for each key, the field that it gives, the types that fit, and the texts that do; and what is needed."""
    keys = {key: (item.name, fitting, _texts(hint)) for item, hint, fitting, _ in _readings(cls) for key in _keys(item)}
    return keys, frozenset(item.name for item, _, _, required in _readings(cls) if required)


def _texts(hint: Any) -> frozenset[str]:
    """Return the texts that a field takes unchanged where it does not take every one."""
    hints = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    if Mode in hints:
        return _MODES
    literals = (hint for hint in hints if typing.get_origin(hint) is Literal)
    return frozenset(text for one in literals for text in typing.get_args(one) if type(text) is str)


def _fitting(hint: Any) -> frozenset[type]:
    """Return the plain types whose values are taken unchanged."""
    if hint in (Any, object):
        return _Any()
    choices = typing.get_args(hint) if typing.get_origin(hint) in (Union, types.UnionType) else (hint,)
    return frozenset(choice for choice in choices if isinstance(choice, type) and choice in coerce.SCALARS)


@functools.cache
def _fields_by_key(cls: Any) -> Mapping[str, str]:
    """Return which field each key gives."""
    return {name: item.name for item in _inputs(cls) for name in _keys(item)}


def _key(item: _Field) -> str:
    return str(item.metadata.get("key", item.name))


def _keys(item: _Field) -> tuple[str, ...]:
    return (_key(item), *item.metadata.get("aliases", ()))


def _required(item: _Field) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _fits(value: object, choice: Any) -> bool:
    kind: Any = typing.get_origin(choice) or choice
    return type(value) is kind


def _takes_none(hint: Any) -> bool:
    return hint in (Any, object, None, types.NoneType) or types.NoneType in typing.get_args(hint)


def _expected(into: Any) -> str:
    """Say in words what a type takes."""
    origin, args = typing.get_origin(into), typing.get_args(into)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in args)
    if origin in (Union, types.UnionType):
        return " or ".join(_expected(arg) for arg in args if arg is not types.NoneType)
    if origin in (list, tuple, set, frozenset, AnySequence):
        return "a list"
    if origin in (dict, AnyMapping) or dataclasses.is_dataclass(into):
        return "a mapping"
    named = "a file mode" if into is Mode else str(getattr(into, "__name__", into))
    return _EXPECTED.get(into, named)


def _got(value: object) -> str:
    if value is None:
        return "nothing"
    shown = repr(str(value) if isinstance(value, str) else value)
    return _GOT.get(type(value), "") + (shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "...")
