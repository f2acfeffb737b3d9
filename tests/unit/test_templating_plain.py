"""Strings with nothing but names in braces, which are rendered without Jinja."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import InputError, NotYetKnown
from provisioner.templating import Pending, Templar, Verbatim, used_names
from provisioner.templating.environment import compiled
from provisioner.templating.plain import pieces

NAMES = ("a", "number", "nothing", "nested", "there", "list", "true", "range", "missing", "open")
VARIABLES: dict[str, Any] = {
    "a": "x y",
    "number": 7,
    "nothing": None,
    "nested": "<{{ a }}>",
    "there": Verbatim("{{ not rendered }}"),
    "list": [1, None],
    "open": Pending("known later", "open"),
}
PARTS = st.sampled_from(
    ["", " ", "/etc/", "{", "}", "}}", "{{", "{% if a %}", "{#", "\n", "\r\n", "{{ a | upper }}", "{{- a }}", "é"]
)
TEXTS = st.lists(PARTS | st.sampled_from(NAMES).map("{{{{ {} }}}}".format) | st.just("{{a}}"), max_size=6).map("".join)


def rendered(text: str, scope: Any) -> object:
    """Return what Jinja makes of a text, or the kind of its complaint."""
    try:
        value = compiled(text, expression=False)(scope)
    except NotYetKnown:
        return NotYetKnown
    except Exception:  # noqa: BLE001 - any complaint counts
        return InputError
    return repr(value)


@given(TEXTS)
def test_they_come_out_as_jinja_has_them(text: str) -> None:
    """What is rendered without Jinja has the value, the type and the kind of error that Jinja gives it."""
    if pieces(text) is None:
        return
    templar = Templar(VARIABLES)
    wanted = rendered(text, templar._scope)
    try:
        got: object = repr(Templar(VARIABLES)._compiled(text))
    except NotYetKnown:
        got = NotYetKnown
    except Exception:  # noqa: BLE001 - any complaint counts
        got = InputError
    assert got == wanted


@pytest.mark.parametrize(
    "text", ["{{ a }}\r\n", "{{ a.b }}", "{{ range }}", "{{ not }}", "{% a %}", "plain", "{{- a }}", "a }}"]
)
def test_what_holds_more_than_names_is_jinjas(text: str) -> None:
    """Line ends, attributes, reserved words, statements and trimming are left to Jinja."""
    assert pieces(text) is None


def test_their_names_are_those_that_they_use() -> None:
    """The names of such a string are told without Jinja."""
    assert used_names("{{ one }}/{{two}}/{{ one }}") == {"one", "two"}
