"""YAML nodes with a Source (path, line, column), and decode(value, type): driven by annotations, exact."""

from provisioner.document.decode import Mode, check, decode, type_hints
from provisioner.document.reader import beside, excerpt, load, parse, read_text, searched
from provisioner.document.tree import (
    Caution,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    UnsafeText,
    Vault,
    is_template,
    lossy,
    near,
    places,
    plain,
    raise_all,
    walk,
)

__all__ = [
    "Caution",
    "ListNode",
    "MapNode",
    "Mode",
    "Node",
    "ScalarNode",
    "UnsafeText",
    "Vault",
    "beside",
    "check",
    "decode",
    "excerpt",
    "is_template",
    "load",
    "lossy",
    "near",
    "parse",
    "places",
    "plain",
    "raise_all",
    "read_text",
    "searched",
    "type_hints",
    "walk",
]
