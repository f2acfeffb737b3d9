"""Edits of an inventory: what goes in and out, and that nothing else moves by a byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provisioner.errors import InputError
from provisioner.inventory.change import Entry, add, remove
from provisioner.inventory.edit import files_of, planned_add
from provisioner.inventory.read import inventory_of
from provisioner.inventory.spelling import Tree, flow, scalar

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = {"ansible_host": "10.0.0.5", "ansible_port": 22, "jetson_serial": "0421", "ansible_become": True}
LINES = "ansible_host: 10.0.0.5\nansible_port: 22\njetson_serial: '0421'\nansible_become: true\n"
BRACES = "{ansible_host: 10.0.0.5, ansible_port: 22, jetson_serial: '0421', ansible_become: true}"


def block(indent: int) -> str:
    """Return the variables of the unit, indented."""
    return "".join(" " * indent + line for line in LINES.splitlines(keepends=True))


# Each: the text before, the group, and the text after. The host is `new`.
PUT = {
    "nothing": ("", "g", f"all:\n  children:\n    g:\n      hosts:\n        new:\n{block(10)}"),
    "nothing, no group": ("", None, f"all:\n  hosts:\n    new:\n{block(6)}"),
    "comments only": ("# ours\n", None, f"# ours\nall:\n  hosts:\n    new:\n{block(6)}"),
    "document marks": ("---\n# ours\n...\n", None, f"---\n# ours\nall:\n  hosts:\n    new:\n{block(6)}...\n"),
    "no final newline": (
        "all:\n  hosts:\n    a:",
        None,
        f"all:\n  hosts:\n    a:\n    new:\n{block(6)}".removesuffix("\n"),
    ),
    "CRLF": (
        "all:\r\n  hosts:\r\n    a: # one\r\n# end\r\n",
        None,
        f"all:\n  hosts:\n    a: # one\n    new:\n{block(6)}# end\n".replace("\n", "\r\n"),
    ),
    "four blanks": (
        "all:\n    hosts:\n        a:\n            x: 1\n    vars: {y: 2}\n",
        None,
        f"all:\n    hosts:\n        a:\n            x: 1\n        new:\n{block(12)}    vars: {{y: 2}}\n",
    ),
    "comments around": (
        (
            "# top\ng: # the group\n  hosts: # its hosts\n    a: # one\n      x: 1\n      # y: 2\n"
            "    # b:\n\n  # vars\n  vars: {}\n"
        ),
        "g",
        (
            "# top\ng: # the group\n  hosts: # its hosts\n    a: # one\n      x: 1\n      # y: 2\n    new:\n"
            f"{block(6)}    # b:\n\n  # vars\n  vars: {{}}\n"
        ),
    ),
    "null hosts": (
        "g:\n  hosts: # none\n  vars: {}\n",
        "g",
        f"g:\n  hosts: # none\n    new:\n{block(6)}  vars: {{}}\n",
    ),
    "a word for null": ("g:\n  hosts: ~ # none\n", "g", f"g:\n  hosts: # none\n    new:\n{block(6)}"),
    "null group": (
        "all:\n  children:\n    g:\n",
        "g",
        f"all:\n  children:\n    g:\n      hosts:\n        new:\n{block(10)}",
    ),
    "no hosts": ("g:\n  vars: {x: 1}\n", "g", f"g:\n  vars: {{x: 1}}\n  hosts:\n    new:\n{block(6)}"),
    "braces": ("g: {hosts: {a: , b: }} # two\n", "g", f"g: {{hosts: {{a: , b: , new: {BRACES} }}}} # two\n"),
    "empty braces": ("g:\n  hosts: {}\n", "g", f"g:\n  hosts: {{new: {BRACES}}}\n"),
    "braces without colons": ("g: {hosts: {a, b}}\n", "g", f"g: {{hosts: {{a, b, new: {BRACES}}}}}\n"),
    "a comma at the end": ("g: {hosts: {a: {}, }}\n", "g", f"g: {{hosts: {{a: {{}}, new: {BRACES}, }}}}\n"),
    "braces on lines": (
        "g:\n  hosts: {\n    a: {}, # one\n    b: {} # two\n  }\n",
        "g",
        f"g:\n  hosts: {{\n    a: {{}}, # one\n    b: {{}}, # two\n    new: {BRACES}\n  }}\n",
    ),
    "hosts in braces beside": (
        "g:\n  hosts:\n    a: {ansible_host: 10.0.0.1}\n",
        "g",
        f"g:\n  hosts:\n    a: {{ansible_host: 10.0.0.1}}\n    new: {BRACES}\n",
    ),
    "JSON": (
        '{"g": {"hosts": {\n  "a": {}\n}}}\n',
        "g",
        (
            '{"g": {"hosts": {\n  "a": {},\n  "new": {"ansible_host": "10.0.0.5", "ansible_port": 22, '
            '"jetson_serial": "0421", "ansible_become": true}\n}}}\n'
        ),
    ),
    "new group below all": (
        "all:\n  children:\n    a:\n      hosts:\n        x:\n  # end\n",
        "g",
        (
            f"all:\n  children:\n    a:\n      hosts:\n        x:\n    g:\n      hosts:\n        new:\n"
            f"{block(10)}  # end\n"
        ),
    ),
    "new group, no children": (
        "all:\n  hosts:\n    x:\n",
        "g",
        f"all:\n  hosts:\n    x:\n  children:\n    g:\n      hosts:\n        new:\n{block(10)}",
    ),
    "new group, no all": ("a:\n  hosts:\n    x:\n", "g", f"a:\n  hosts:\n    x:\ng:\n  hosts:\n    new:\n{block(6)}"),
    "ungrouped": (
        "ungrouped:\n  hosts:\n    x:\nall:\n  hosts:\n    y:\n",
        "ungrouped",
        f"ungrouped:\n  hosts:\n    x:\n    new:\n{block(6)}all:\n  hosts:\n    y:\n",
    ),
    "a group named twice": (
        "all:\n  children:\n    v:\n      children:\n        g:\n    g:\n      hosts:\n        x:\n",
        "g",
        (
            f"all:\n  children:\n    v:\n      children:\n        g:\n"
            f"    g:\n      hosts:\n        x:\n        new:\n{block(10)}"
        ),
    ),
    "anchors and merge keys beside": (
        "g:\n  hosts:\n    <<: &old {z: {q: 1}}\n    a: &a\n      x: '1'\n    b:   *a   # as a\n",
        "g",
        (
            "g:\n  hosts:\n    <<: &old {z: {q: 1}}\n    a: &a\n      x: '1'\n    b:   *a   # as a\n"
            f"    new:\n{block(6)}"
        ),
    ),
    "block text": (
        "g:\n  hosts:\n    a:\n      x: |\n        # text\n\n\n  vars: {}\n",
        "g",
        f"g:\n  hosts:\n    a:\n      x: |\n        # text\n    new:\n{block(6)}\n\n  vars: {{}}\n",
    ),
    "block text that keeps its blank lines": (
        "g:\n  hosts:\n    a:\n      x: |+\n        text\n\n  vars: {}\n",
        "g",
        f"g:\n  hosts:\n    a:\n      x: |+\n        text\n\n    new:\n{block(6)}  vars: {{}}\n",
    ),
}


@pytest.mark.parametrize(("before", "group", "after"), PUT.values(), ids=PUT)
def test_a_host_is_put_into_its_group_and_nothing_else_moves(before: str, group: str | None, after: str) -> None:
    """The host stands at the end of its group's hosts, as the file is written; a second time changes nothing."""
    entry = Entry("new", group, UNIT)
    assert add(before, [entry]) == after
    assert add(after, [entry]) == after
    found = inventory_of(after, Path("x"))
    assert {key: found.hosts["new"].vars[key] for key in UNIT} == UNIT
    assert group in (None, *found.hosts["new"].groups)


REFUSED = {
    "shared hosts": ("all:\n  hosts: &h\n    a:\ng:\n  hosts: *h\n", "all", "cannot be edited surely"),
    "hosts that are an alias": ("all:\n  hosts: &h\n    a:\ng:\n  hosts: *h\n", "g", "cannot be edited surely"),
    "a group that is an alias": ("a: &a\n  hosts:\n    x:\ng: *a\n", "g", "cannot be edited surely"),
    "hosts as text": ("g:\n  hosts: a\n", "g", "cannot be edited surely"),
    "odd line breaks": ("g:\r  hosts:\r    a:\r", "g", "LF or CR LF"),
    "tabs": ("g:\n\thosts:\n", "g", "a tab cannot indent"),
    "two documents": ("g:\n  hosts:\n    a:\n---\nb:\n", "g", "not YAML"),
    "a byte order mark": ("\ufeffg:\n  hosts:\n", "g", "byte order mark"),
    "another mistake": ("g:\n  host:\n", "g", "did you mean 'hosts'"),
    "the name of a group": ("new:\n  hosts:\n    a:\n", "g", "name of a group"),
    "in a range": ("g:\n  hosts:\n    n[a:f]w:\n", "g", "is there already, as n[a:f]w"),
    "another group": ("h:\n  hosts:\n    new: {ansible_host: 10.0.0.5}\n", "g", "in the group h"),
    "another address": ("g:\n  hosts:\n    new: {ansible_host: 10.0.0.6}\n", "g", "another unit"),
    "another serial number": (
        "g:\n  hosts:\n    new: {ansible_host: 10.0.0.5, jetson_serial: '99'}\n",
        "g",
        "jetson_serial is 99, not 0421",
    ),
    "a last line without an end": (
        "g:\n  hosts:\n    a:\n      x: |\n        text",
        "g",
        "surely: the file ends",
    ),
    "aliases of aliases": (
        "v: {vars: &a {x: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}\n"
        + "".join(
            f"v{n}: {{vars: &{'abcdefgh'[n + 1]} {{x: [{', '.join(['*' + 'abcdefgh'[n]] * 9)}]}}}}\n" for n in range(7)
        ),
        "g",
        "too much",
    ),
    "from an alias": ("a:\n  vars: &v {new: {ansible_host: 10.0.0.5}}\ng:\n  hosts: *v\n", "g", "alias or a merge key"),
}


@pytest.mark.parametrize(("text", "group", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_edited_surely_is_refused(text: str, group: str, why: str) -> None:
    """An error says why and where; where only the layout is in the way, it tells the lines to add by hand."""
    name = "nbw" if "range" in why or "n[a:f]w" in why else "new"
    with pytest.raises(InputError, match=why.replace("[", r"\[")) as caught:
        add(text, [Entry(name, group, UNIT)])
    if "surely" in why:
        assert f"    {name}:\n      ansible_host: 10.0.0.5" in (caught.value.hint or "")


BAD_NAMES = ["", "a b", "a,b", "a[1:2]", "x:22", "-o", "all#", "a\nb", "!x", "@x", "a/b", "é\u202e", "x" * 300, "*"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    """No range, list, port, pattern, option or path gets into an inventory as the name of a host."""
    with pytest.raises(InputError, match="no name for a host"):
        add("", [Entry(name, None, {})])


@pytest.mark.parametrize("name", ["007", "yes", "a:b", "null", "1.5", "12e3", "fe80::1", "2024-01-01", "kitchen"])
def test_names_are_quoted_where_yaml_would_read_something_else(name: str) -> None:
    """Whatever a host is called, the inventory has a host of that name, in lines and in braces."""
    for text in ("", "all: {hosts: {a: }}\n", '{"all": {"hosts": {"a": {}}}}\n'):
        after = add(text, [Entry(name, None, {"x": name})])
        assert inventory_of(after, Path("x")).hosts[name].vars["x"] == name
        assert name not in inventory_of(remove(after, [name]), Path("x")).hosts


UPDATED = {
    "a value": (
        "new:\n      ansible_host: 10.0.0.5 # desk\n      r: '36.3' # old\n",
        {"r": "36.4"},
        "'36.3'",
        "'36.4'",
    ),
    "quotes stay": ('new: {r: "36.3"}\n', {"r": "36.4"}, '"36.3"', '"36.4"'),
    "a number becomes text": ("new: {r: 0421}\n", {"r": "0421"}, "0421", "'0421'"),
    "nothing becomes something": ("new:\n      r:   # ?\n", {"r": "36.4"}, "r:", "r: '36.4'"),
    "a new one in braces": ("new: {q: 1} # x\n", {"r": 2}, "{q: 1}", "{q: 1, r: 2}"),
    "a new one on a line": ("new:\n      q: 1 # x\n", {"r": 2}, "# x\n", "# x\n      r: 2\n"),
    "the first ones": ("new: # x\n", {"r": 2, "s": True}, "# x\n", "# x\n      r: 2\n      s: true\n"),
}


@pytest.mark.parametrize(("host", "values", "old", "new"), UPDATED.values(), ids=UPDATED)
def test_a_host_that_is_there_is_brought_up_to_date_in_place(
    host: str, values: dict[str, Any], old: str, new: str
) -> None:
    """Only values that differ are replaced, in their quotes, and only those that are missing are added."""
    before = f"g:\n  hosts:\n    a: # one\n    {host}    z:\n"
    after = add(before, [Entry("new", None, values)])
    assert after == before.replace(old, new, 1)
    assert add(after, [Entry("new", "g", values)]) == after


def test_what_a_group_says_already_is_not_said_again() -> None:
    """A variable that the host has from its group, with the same value, is not added to it."""
    text = "g:\n  vars: {ansible_user: nvidia}\n  hosts:\n    new: {x: 1}\n"
    assert add(text, [Entry("new", "g", {"ansible_user": "nvidia", "x": 1})]) == text


def test_a_unit_that_replaces_another_takes_its_name() -> None:
    """With `replaces` the entry of another unit is overwritten, where it stands."""
    before = "g:\n  hosts:\n    new: {ansible_host: 10.0.0.6, jetson_serial: '99'} # desk\n    z:\n"
    values = {"ansible_host": "10.0.0.5", "jetson_serial": "0421"}
    after = add(before, [Entry("new", "g", values, replaces=True)])
    assert after == before.replace("10.0.0.6", "10.0.0.5").replace("99", "0421")


def test_the_same_unit_keeps_its_entry_at_a_new_address() -> None:
    """The serial number says which unit it is; its address is then a value like others."""
    before = "g:\n  hosts:\n    new: {ansible_host: 10.0.0.6, jetson_serial: '0421'}\n"
    assert add(before, [Entry("new", "g", UNIT)]).startswith("g:\n  hosts:\n    new: {ansible_host: 10.0.0.5, ")


GONE = {
    "lines": ("g:\n  hosts:\n    a:\n      x: 1\n    b:\n", "a", "g:\n  hosts:\n    b:\n"),
    "the last one": ("g:\n  hosts: # ours\n    a: {x: 1}\n  vars: {}\n", "a", "g:\n  hosts: # ours\n  vars: {}\n"),
    "its comments": (
        "g:\n  hosts:\n    z: # z\n    # a is new\n    # and red\n    a: # here\n      # x: 1\n    # b\n    b:\n",
        "a",
        "g:\n  hosts:\n    z: # z\n    # b\n    b:\n",
    ),
    "not its comments": (
        "g:\n  hosts:\n    z:\n      x: 1\n      # y: 1\n    # of all\n\n    a:\n  # of vars\n  vars: {}\n",
        "a",
        "g:\n  hosts:\n    z:\n      x: 1\n      # y: 1\n    # of all\n\n  # of vars\n  vars: {}\n",
    ),
    "no final newline": ("g:\r\n  hosts:\r\n    b:\r\n    a: {x: 1}", "a", "g:\r\n  hosts:\r\n    b:"),
    "every group": ("g:\n  hosts:\n    a: {x: 1}\nh: {hosts: {a: , b: }}\n", "a", "g:\n  hosts:\nh: {hosts: {b: }}\n"),
    "first in braces": ("g: {hosts: {a: {x: 1}, b: }}\n", "a", "g: {hosts: {b: }}\n"),
    "last in braces": ("g: {hosts: {b: , a: {x: 1}}}\n", "a", "g: {hosts: {b: }}\n"),
    "alone in braces": ("g: {hosts: {a: {x: 1},}}\n", "a", "g: {hosts: {}}\n"),
    "on lines in braces": ("g: {hosts: {\n  b: {}, # b\n  a: {} # a\n}}\n", "a", "g: {hosts: {\n  b: {} # b\n}}\n"),
    "alone as text": ("g:\n  hosts: a\nh:\n  hosts:\n    b:\n", "a", "g:\n  hosts:\nh:\n  hosts:\n    b:\n"),
    "with a port": ("g:\n  hosts:\n    a:22:\n    b:\n", "a", "g:\n  hosts:\n    b:\n"),
    "text that looks like a comment": (
        "g:\n  hosts:\n    b:\n      x: |\n        # text\n    a:\n",
        "a",
        "g:\n  hosts:\n    b:\n      x: |\n        # text\n",
    ),
}


@pytest.mark.parametrize(("before", "name", "after"), GONE.values(), ids=GONE)
def test_a_host_is_taken_out_with_its_comments_and_nothing_else(before: str, name: str, after: str) -> None:
    """Its lines go, the comments at its right, right above and further in go, and all groups lose it."""
    assert remove(before, [name]) == after
    assert name not in inventory_of(after, Path("x")).hosts


NOT_GONE = {
    "unknown": ("g:\n  hosts:\n    kitchen:\n", "kitchne", "did you mean 'kitchen'"),
    "in a range": ("g:\n  hosts:\n    rack-[1:3]:\n", "rack-2", r"rack-2 is one of rack-\[1:3\]"),
    "by an alias": ("a:\n  vars: &v {new: {x: 1}}\ng:\n  hosts: *v\n", "new", "alias or a merge key"),
    "by a merge key": ("a:\n  vars: &v {new: {x: 1}}\ng:\n  hosts:\n    <<: *v\n", "new", "alias or a merge key"),
    "with an anchor that is needed": ("g:\n  hosts:\n    a: &a {x: 1}\n    b: *a\n", "a", "anchors, aliases"),
}


@pytest.mark.parametrize(("text", "name", "why"), NOT_GONE.values(), ids=NOT_GONE)
def test_what_cannot_be_taken_out_surely_is_refused(text: str, name: str, why: str) -> None:
    """Nothing that others stand on goes, and nothing is guessed."""
    with pytest.raises(InputError, match=why):
        remove(text, [name])


# Random inventories.

COMMENTS = st.sampled_from(["", "", "", " # why: so", " #", "   # a, b: {"])
VALUES = st.sampled_from(["1", "'1'", '"a: #b"', "yes", "{q: [1, 2]}", "[a, 'b']", "|\n{deep}text\n{deep}# no comment"])
Lines = list[str]


@st.composite
def filler(draw: Callable[..., Any], columns: list[int]) -> Lines:
    """Return blank lines and comments at odd places."""
    marks = st.sampled_from([*columns, 0, 1, 11])
    return [
        draw(st.sampled_from(["", " " * draw(marks) + "# note: x"])) for _ in range(draw(st.sampled_from([0, 0, 1, 2])))
    ]


@st.composite
def hosts_of(draw: Callable[..., Any], names: list[str], column: int, step: int) -> Lines:
    """Return the entries of a group's hosts, one way or another."""
    made: Lines = []
    for name in names:
        made += draw(filler([column, column + step]))
        head, tail = " " * column + name + ":", draw(COMMENTS)
        kind = draw(st.sampled_from(["none", "braces", "lines"]))
        made.append(head + {"none": "", "braces": " {x: 1, y: }", "lines": ""}[kind] + tail)
        if kind == "lines":
            deep = " " * (column + step)
            for key in draw(st.sampled_from([["x"], ["x", "y"]])):
                made += draw(filler([column, column + step]))
                made += f"{deep}{key}: {draw(VALUES)}".replace("{deep}", deep + "  ").split("\n")
    return made


@st.composite
def inventories(draw: Callable[..., Any]) -> tuple[str, list[str]]:
    """Return the text of an inventory, and its groups: at random indented, commented, in lines or in braces."""
    step = draw(st.sampled_from([1, 2, 4]))
    made: Lines = draw(st.sampled_from([[], ["---"], ["# top", "", "---", "# more"]]))
    groups = draw(st.sampled_from([["g"], ["g", "h"], ["g", "h", "i"]]))
    below_all = draw(st.booleans())
    made = [*made, *(["all:", " " * step + "children:" + draw(COMMENTS)] if below_all else [])]
    column = 2 * step if below_all else 0
    for group in groups:
        names = [f"{group}{n}" for n in range(draw(st.integers(0, 3)))]
        made += draw(filler([column]))
        made.append(f"{' ' * column}{group}:{draw(COMMENTS)}")
        if draw(st.booleans()):
            made.append(f"{' ' * (column + step)}vars: {{v: 1}}")
        head = f"{' ' * (column + step)}hosts:"
        shape = draw(st.sampled_from(["lines", "lines", "braces", "spread"]))
        if shape == "lines" or not names:
            made.append(head + draw(COMMENTS))
            made += draw(hosts_of(names, column + 2 * step, step))
        elif shape == "braces":
            made.append(f"{head} {{{', '.join(name + ': ' + draw(st.sampled_from(['', '{}'])) for name in names)}}}")
        else:
            made.append(f"{head} {{")
            for n, name in enumerate(names):
                comma = "," if n < len(names) - 1 or draw(st.booleans()) else ""
                made.append(f"{' ' * (column + 2 * step)}{name}: {{}}{comma}{draw(COMMENTS)}")
            made.append(" " * (column + step) + "}")
        made += draw(filler([column, column + step, column + 2 * step]))
    made += draw(st.sampled_from([[], ["..."], ["# end"]]))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    # The last line of a block of text is another text with an end than without one.
    ends = [newline] if made[-1].endswith(("text", "# no comment")) else ["", newline]
    return newline.join(made) + draw(st.sampled_from(ends)), groups


@settings(max_examples=60, deadline=None)
@given(inventories(), st.sampled_from([{}, UNIT, {"x": "a: b"}]), st.integers(0, 2))
def test_what_was_put_in_can_be_taken_out_again(
    made: tuple[str, list[str]], values: dict[str, Any], which: int
) -> None:
    """Adding a host to a group and taking it out gives back the file, byte for byte; adding twice is adding once."""
    text, groups = made
    entry = Entry("new", groups[which % len(groups)], values)
    after = add(text, [entry])
    assert add(after, [entry]) == after
    assert remove(after, ["new"]) == text


@settings(max_examples=40, deadline=None)
@given(inventories(), st.integers(0, 2))
def test_putting_in_changes_only_the_lines_that_it_adds(made: tuple[str, list[str]], which: int) -> None:
    """Every line of the file is still there, in order; only one with braces may have become longer."""
    text, groups = made
    after = iter(add(text, [Entry("new", groups[which % len(groups)], UNIT)]).splitlines())
    for line in text.splitlines():
        assert any(line == found or ("}" in line and _grew(line, found)) for found in after), line


def _grew(line: str, found: str) -> bool:
    return len(found) > len(line) and any(
        found.startswith(line[:at]) and found.endswith(line[at:]) for at in range(len(line) + 1)
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\ufffe\uffff"), max_size=12)


@settings(deadline=None)
@example("\x85")
@example("\u2028\U000e0001")
@given(
    st.recursive(TEXTS | st.integers() | st.booleans() | st.none(), lambda one: st.lists(one, max_size=3), max_leaves=5)
)
def test_a_value_reads_back_as_it_was(value: Any) -> None:
    """Whatever is written as a variable, in a line or in braces, is read as exactly that."""
    for text in ("all:\n  hosts:\n    a:\n", "all: {hosts: {a: }}\n", '{"all": {"hosts": {"a": {}}}}'):
        try:
            after = add(text, [Entry("new", None, {"x": value})])
        except InputError as error:
            assert "not allowed in it" in str(error)  # noqa: PT017 - a character that no YAML may hold
            continue
        assert inventory_of(after, Path("x")).hosts["new"].vars["x"] == value


@given(TEXTS)
def test_text_is_text_whatever_it_looks_like(text: str) -> None:
    """A scalar that is text stays text, in the quotes that were there or in others that are needed."""
    for written in (scalar(text), scalar(text, "'"), scalar(text, '"'), flow(text)):
        assert "\n" not in written
    assert flow(Tree({"a": [text]})).startswith("{a: [")


# Files.


def test_a_folder_is_edited_in_the_file_that_has_the_group(tmp_path: Path) -> None:
    """Of several files that one is chosen which has the host, or else the group; what is not clear is refused."""
    (tmp_path / "a.yaml").write_text("g:\n  hosts:\n    x:\n")
    (tmp_path / "b.yaml").write_text("h:\n  hosts:\n    y:\n")
    assert planned_add(tmp_path, [Entry("new", "h", {})]).path == tmp_path / "b.yaml"
    assert planned_add(tmp_path, [Entry("x", None, {})]).path == tmp_path / "a.yaml"
    assert files_of(tmp_path, ["y", "x"]) == {tmp_path / "a.yaml": ["x"], tmp_path / "b.yaml": ["y"]}
    with pytest.raises(InputError, match=r"has the group new.*a\.yaml.*b\.yaml"):
        planned_add(tmp_path, [Entry("new-1", "new", {})])
    with pytest.raises(InputError, match="several files"):
        planned_add(tmp_path, [Entry("new-1", "g", {}), Entry("new-2", "h", {})])


def test_a_list_of_names_cannot_be_written_to() -> None:
    """An inventory on the command line is no file."""
    with pytest.raises(InputError, match="list of names"):
        planned_add(Path("a,b"), [Entry("new", None, {})])


def test_errors_tell_the_file(tmp_path: Path) -> None:
    """What is wrong with a file is told with its path and line."""
    (tmp_path / "a.yaml").write_text("g:\n  hosts:\n    n[a:f]w:\n")
    with pytest.raises(InputError) as caught:
        planned_add(tmp_path / "a.yaml", [Entry("nbw", "g", {})])
    assert str(caught.value.source) == f"{tmp_path / 'a.yaml'}:3:5"
