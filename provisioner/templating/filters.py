"""Ansible's filters that Jinja has not got."""

from __future__ import annotations

import base64
import hashlib
import json
import os.path
import re
import shlex
from typing import TYPE_CHECKING, Any

from provisioner.templating.comparing import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


def _as_json(value: object) -> object:
    """Return a stand-in for what JSON cannot say: a set as a list, anything else as text."""
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)


def to_json(value: object, **options: Any) -> str:
    return json.dumps(value, **{"default": _as_json, **options})


def to_nice_json(value: object, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    options = {"default": _as_json, "separators": (",", ": "), **options}
    return json.dumps(value, indent=indent, sort_keys=sort_keys, **options)


def _ordinary(value: object) -> object:
    """Return a value made of YAML's own types."""
    if isinstance(value, dict):
        return {_ordinary(key): _ordinary(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_ordinary(part) for part in value]
    return str(value) if isinstance(value, str) else value


def to_yaml(value: object, default_flow_style: bool | None = None, **options: Any) -> str:
    import yaml

    options = {"allow_unicode": True, "default_flow_style": default_flow_style, **options}
    return str(yaml.dump(_ordinary(value), Dumper=yaml.SafeDumper, **options))


def to_nice_yaml(value: object, indent: int = 4, **options: Any) -> str:
    return to_yaml(value, **{"default_flow_style": False, "indent": indent, **options})


def from_yaml(text: object) -> object:
    import yaml

    return yaml.safe_load(text) if isinstance(text, str) else text


def from_json(text: str) -> object:
    return json.loads(text)


def to_bool(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    return str(value).lower() in ("yes", "on", "1", "true") if isinstance(value, (str, int)) else False


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def regex_replace(  # noqa: PLR0917 - Ansible's order
    value: object,
    pattern: str = "",
    replacement: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    count: int = 0,
) -> str:
    return re.sub(pattern, replacement, str(value), count=count, flags=_flags(ignorecase, multiline))


def regex_search(
    value: object, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False
) -> str | list[str | Any] | None:
    found = re.search(pattern, str(value), _flags(ignorecase, multiline))
    if found is None or not groups:
        return found.group() if found else None
    return [found[_group(group)] for group in groups]


def _group(group: str) -> int | str:
    named = re.fullmatch(r"\\g<(\S+)>|\\(\d+)", group)
    if named is None:
        raise ValueError(f"{group!r} is no group: write '\\\\1' or '\\\\g<name>'")
    name = str(named[1] or named[2])
    return int(name) if name.isdigit() else name


def regex_findall(value: object, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return re.findall(pattern, str(value), _flags(ignorecase, multiline))


def b64encode(value: object, encoding: str = "utf-8") -> str:
    return base64.b64encode(str(value).encode(encoding)).decode()


def b64decode(value: object, encoding: str = "utf-8") -> str:
    return base64.b64decode(str(value)).decode(encoding)


def digest(value: object, hashtype: str = "sha1") -> str:
    return hashlib.new(hashtype, str(value).encode()).hexdigest()


def combine(*given: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for other in flatten(given):
        if not isinstance(other, dict):
            raise TypeError(f"combine takes mappings, not {other!r}")
        merged = _combined(merged, other, recursive=recursive, list_merge=list_merge)
    return merged


def _combined(one: Mapping[Any, Any], other: Mapping[Any, Any], *, recursive: bool, list_merge: str) -> dict[Any, Any]:
    merged = dict(one)
    for key, value in other.items():
        old = merged.get(key)
        if recursive and isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _combined(old, value, recursive=True, list_merge=list_merge)
        elif isinstance(old, list) and isinstance(value, list):
            merged[key] = _LIST_MERGES[list_merge](old, value)
        else:
            merged[key] = value
    return merged


_LIST_MERGES: dict[str, Callable[[list[Any], list[Any]], list[Any]]] = {
    "replace": lambda _, new: new,
    "keep": lambda old, _: old,
    "append": lambda old, new: old + new,
    "prepend": lambda old, new: new + old,
    "append_rp": lambda old, new: [item for item in old if item not in new] + new,
    "prepend_rp": lambda old, new: new + [item for item in old if item not in new],
}


def dict2items(value: Mapping[Any, Any], key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    return [{key_name: key, value_name: part} for key, part in value.items()]


def items2dict(value: Iterable[Any], key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    return {item[key_name]: item[value_name] for item in value}


def ternary(value: object, yes: object, no: object, none: object = None) -> object:
    if value is None and none is not None:
        return none
    return yes if value else no


def split(value: str, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    return value.split(separator, maxsplit)


def unique(value: Iterable[Any], case_sensitive: bool = True, attribute: str | None = None) -> list[Any]:
    seen: list[Any] = []
    kept: list[Any] = []
    for item in value:
        key = item[attribute] if attribute else item
        key = key.lower() if isinstance(key, str) and not case_sensitive else key
        if key not in seen:
            seen.append(key)
            kept.append(item)
    return kept


def union(one: Iterable[Any], other: Iterable[Any]) -> list[Any]:
    return unique([*one, *other])


def intersect(one: Iterable[Any], other: Sequence[Any]) -> list[Any]:
    return unique(item for item in one if item in other)


def difference(one: Iterable[Any], other: Sequence[Any]) -> list[Any]:
    return unique(item for item in one if item not in other)


def symmetric_difference(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [*difference(one, other), *difference(other, one)]


def flatten(value: Iterable[Any], levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    flat: list[Any] = []
    for item in value:
        if skip_nulls and item in (None, "None", "null"):
            continue
        if isinstance(item, (list, tuple)) and (levels is None or levels > 0):
            flat.extend(flatten(item, None if levels is None else levels - 1, skip_nulls))
        else:
            flat.append(item)
    return flat


FILTERS: dict[str, Callable[..., Any]] = {
    "b64decode": b64decode,
    "b64encode": b64encode,
    "basename": os.path.basename,
    "bool": to_bool,
    "checksum": digest,
    "combine": combine,
    "dict2items": dict2items,
    "difference": difference,
    "dirname": os.path.dirname,
    "flatten": flatten,
    "from_json": from_json,
    "from_yaml": from_yaml,
    "hash": digest,
    "intersect": intersect,
    "items2dict": items2dict,
    "md5": lambda value: digest(value, "md5"),
    "path_join": lambda value: os.path.join(*value) if isinstance(value, (list, tuple)) else value,  # noqa: PTH118
    "quote": lambda value: shlex.quote("" if value is None else str(value)),
    "regex_escape": lambda value: re.escape(str(value)),
    "regex_findall": regex_findall,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "sha1": digest,
    "split": split,
    "splitext": os.path.splitext,
    "symmetric_difference": symmetric_difference,
    "ternary": ternary,
    "to_json": to_json,
    "to_nice_json": to_nice_json,
    "to_nice_yaml": to_nice_yaml,
    "to_yaml": to_yaml,
    "type_debug": lambda value: type(value).__name__,
    "union": union,
    "unique": unique,
    "version_compare": version,
    "zip": lambda *lists: [list(row) for row in zip(*lists, strict=False)],
}
