"""Reading the values of keywords; each mistake is kept, and the reading goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provisioner.document import Caution, ListNode, MapNode, Node, ScalarNode, decode, is_template, lossy
from provisioner.errors import InputError, Source

if TYPE_CHECKING:
    from provisioner.playbook.model import Flag

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset({"and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None"})


class Words:
    """Takes nodes for what they should be, and collects what they are not."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []
        self.warnings: list[Caution] = []
        self.lost = False

    def wrong(self, message: str, place: Source, hint: str | None = None, *, lost: bool = False) -> None:
        """Note a mistake; `lost` says that names may have been defined by what could not be read."""
        self.failed(InputError(message, source=place, hint=hint), lost=lost)

    def failed(self, error: InputError, *, lost: bool = False) -> None:
        """Note a mistake that somebody else found."""
        self.errors.append(error)
        self.lost = self.lost or lost

    def take(self, node: Node, into: Any, name: str, default: Any = None) -> Any:
        """Return a literal of a type, or the default after a mistake."""
        try:
            return decode(node, into, name=name, warnings=self.warnings)
        except InputError as error:
            self.errors.append(error)
            return default

    def flag(self, node: Node, name: str) -> Flag | None:
        """Return yes or no, or the node of an expression in braces."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and is_template(node.value):
            return node
        value: bool | None = self.take(node, bool, name)
        return value

    def text(self, node: Node, name: str) -> ScalarNode | None:
        """Return a scalar that is text, or may become text."""
        if isinstance(node, ScalarNode) and node.value is not None:
            return node
        self.wrong(f"{name} has to be text", node.source)
        return None

    def scalars(self, node: Node, name: str) -> tuple[ScalarNode, ...]:
        """Return one scalar or a list of them."""
        if isinstance(node, ScalarNode):
            return () if node.value is None else (node,)
        if isinstance(node, ListNode):
            return tuple(item for part in node.items for item in self.scalars(part, name))
        self.wrong(f"{name} has to be text or a list of texts", node.source)
        return ()

    def conditions(self, node: Node, name: str) -> tuple[ScalarNode, ...]:
        """Return the expressions of a condition; all of them have to hold."""
        found = self.scalars(node, name)
        for item in found:
            if isinstance(item.value, str) and ("{{" in item.value or "{%" in item.value):
                self.warnings.append(Caution(item.source, f"{name}: an expression stands here without {{{{ }}}}"))
            elif not isinstance(item.value, (str, bool, int, float)):
                self.wrong(f"{name} has to be an expression", item.source)
        return found

    def names(self, node: Node, name: str) -> tuple[str, ...]:
        """Return plain names from a list, or from text with commas."""
        found: list[str] = []
        for item in self.scalars(node, name):
            if isinstance(item.value, str) and is_template(item.value):
                self.wrong(f"{name} cannot hold a template", item.source)
            text = item.text if not isinstance(item.value, str) else item.value
            found.extend(part.strip() for part in text.split(",") if part.strip())
        return tuple(dict.fromkeys(found))

    def identifier(self, node: Node, name: str) -> str | None:
        """Return the name of a variable."""
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, str) and _IDENTIFIER.fullmatch(value) and value not in _RESERVED:
            return str(value)
        shown = repr(node.text) if isinstance(node, ScalarNode) else "this"
        self.wrong(f"{name} has to be the name of a variable, and {shown} is none", node.source, lost=True)
        return None

    def mapping(self, node: Node, name: str) -> dict[str, Node]:
        """Return a mapping of text to nodes."""
        if isinstance(node, ScalarNode) and node.value is None:
            return {}
        if not isinstance(node, MapNode):
            self.wrong(f"{name} has to be a mapping", node.source, lost=True)
            return {}
        self.warnings.extend(lossy(node))
        for key, _ in node.entries:
            if not isinstance(key.value, str):
                self.wrong(f"{name}: {key.text!r} is no name; quote it", key.source, lost=True)
        return {key.value: value for key, value in node.entries if isinstance(key.value, str)}

    def items(self, node: Node, name: str) -> tuple[Node, ...]:
        """Return the nodes of a list."""
        if isinstance(node, ListNode):
            return node.items
        if not (isinstance(node, ScalarNode) and node.value is None):
            self.wrong(f"{name} has to be a list", node.source, lost=True)
        return ()
