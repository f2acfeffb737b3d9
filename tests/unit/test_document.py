"""YAML nodes and decode."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003
from typing import Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from written import Copy, mistakes

from provisioner.document import (
    Caution,
    MapNode,
    Mode,
    ScalarNode,
    UnsafeText,
    Vault,
    check,
    decode,
    excerpt,
    is_template,
    load,
    lossy,
    near,
    parse,
    places,
    plain,
    walk,
)
from provisioner.errors import InputError, InputErrors, Source


def value(text: str) -> Any:
    return plain(parse(text, "f.yml"))


def test_every_key_and_value_has_its_place() -> None:
    """A key and a value are at the line and column, from 1, where they were written."""
    node = parse("a: 1\nb:\n  - {c: d}\n", "f.yml")
    assert isinstance(node, MapNode)
    key = node.key("b")
    assert key
    assert key.source == Source("f.yml", 2, 1)
    assert places(node)(("b", 0, "c")) == Source("f.yml", 3, 9)
    assert places(node)(("b", 7)) == Source("f.yml", 3, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True),
        ("off", False),
        ("0644", 420),
        ("644", 644),
        ("36.10", 36.1),
        ("~", None),
        ("'yes'", "yes"),
        ("0x1f", 31),
        ("1e3", "1e3"),
        ("=", "="),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
        ("!unsafe '{{ x }}'", "{{ x }}"),
    ],
)
def test_values_are_yaml_1_1(text: Any, expected: Any) -> None:
    """A scalar is what Ansible's YAML makes of it."""
    assert value(text) == expected


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
        max_leaves=8,
    )
)
def test_plain_agrees_with_safe_load(data: Any) -> None:
    """What is read is what PyYAML's safe loader reads."""
    text = yaml.safe_dump(data)
    assert value(text) == yaml.safe_load(text)


def test_the_written_text_is_kept() -> None:
    """A scalar keeps its text, and whether it was quoted."""
    node = parse("[0644, '0644']", "f.yml")
    found = [(n.value, n.text, n.quoted) for n in walk(node)]
    assert found == [(420, "0644", False), ("0644", "0644", True)]


def test_merge_keys_and_aliases() -> None:
    """A merge key adds what the mapping has not got itself; the first of several wins; an alias is shared."""
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\nd: *a\n"
    found = value(text)
    assert found["c"] == {"x": 9, "y": 2, "z": 4}
    assert found["d"] is found["a"]


def test_unsafe_and_vault_tags() -> None:
    """!unsafe text is marked down to the leaves; a !vault value is an error only where it is used."""
    node = parse("a: !unsafe ['{{ x }}']\nb: !vault |\n  $ANSIBLE\n", "f.yml")
    found: Any = plain(node)
    assert isinstance(found["a"][0], UnsafeText)
    assert found["b"] == Vault(Source("f.yml", 2, 4))
    assert mistakes(lambda: decode(node, dict[str, Any])) == [(2, 4, "b: vault is not supported yet")]


def test_all_duplicate_keys_with_both_places() -> None:
    """Each duplicate key is reported where it is, and names the place of the first."""
    found = mistakes(lambda: value("a: 1\nb: {c: 1, c: 2}\na: 2\n"))
    assert found == [
        (2, 11, "'c' is a duplicate: it is already at line 2, column 5"),
        (3, 1, "'a' is a duplicate: it is already at line 1, column 1"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a:\n\tb: 1", 2, 1, "tab"),
        ("\ufeffa: 1", 1, 1, "byte order mark"),
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
        ("a: b: c", 1, 5, "not YAML"),
        ("a: {{ x }}", 1, 5, "plain text"),
        ("a: [1", 2, 1, "not YAML"),
        ("a: 'x", 1, 4, "not YAML"),
        ("a: \x01", 1, 4, "U+0001"),
        ("a: !new x", 1, 4, "unknown tag"),
        ("a: !!python/object:os.system x", 1, 4, "unknown tag"),
        ("a: &a [*a]", 1, 4, "contains itself"),
        ("a: 2024-99-99", 1, 4, "timestamp"),
        ("a: 1\n---\nb: 1", 2, 1, "not YAML"),
        ("$ANSIBLE_VAULT;1.1;AES256\n00", 1, 1, "vault"),
        ("[" * 3000 + "]" * 3000, 1, 1, "nested"),
        ("[" * 300_000, 1, 1, "nested"),
        ("- " * 300_000, 1, 1, "nested"),
        ("<<: 1", 1, 5, "merged"),
    ],
)
def test_what_is_not_yaml_is_one_error_with_its_place(text: Any, line: Any, column: Any, words: Any) -> None:
    """Whatever is wrong with the text is one InputError with a line, a column and its cause."""
    ((found_line, found_column, message),) = mistakes(lambda: value(text))
    assert words in message
    if words != "nested":
        assert (found_line, found_column) == (line, column)


@settings(max_examples=150)
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@` \t\n,?<=~\x00é\ufeff")))
def test_no_text_ends_in_a_traceback(text: Any) -> None:
    """Any text is either a tree or an InputError."""
    with contextlib.suppress(InputError):
        value(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and a file that is no UTF-8 are InputErrors."""
    (tmp_path / "latin").write_bytes(b"a: 1\nb: caf\xe9\n")
    assert "No such file" in mistakes(lambda: load(tmp_path / "none.yml"))[0][2]
    assert "directory" in mistakes(lambda: load(tmp_path))[0][2]
    assert mistakes(lambda: load(tmp_path / "latin")) == [(2, 7, "is not UTF-8 text")]


def test_excerpt_shows_the_line_and_a_caret(tmp_path: Path) -> None:
    """The caret stands below the column, wide characters counted; nothing is shown of a place that is none."""
    path = tmp_path / "f.yml"
    path.write_text("a: 1\nb: 日本 x\x1b[0m\n")
    assert excerpt(Source(str(path), 2, 7)) == "2 | b: 日本 x [0m\n  |         ^"
    assert excerpt(Source(str(path), 9, 1)) == ""
    assert excerpt(Source("command line")) == ""


def test_excerpt_of_a_long_line_is_cut_around_the_column(tmp_path: Path) -> None:
    """A line of any length is shown as at most a terminal's width."""
    path = tmp_path / "f.yml"
    path.write_text("x" * 5000 + "!" + "y" * 5000)
    line, caret = excerpt(Source(str(path), 1, 5001)).split("\n")
    assert len(line) < 140
    assert line[caret.index("^")] == "!"


def test_lossy_floats_are_named() -> None:
    """A float that loses its last zero is a warning; others are not."""
    node = parse("a: 36.10\nb: 36.1\nc: '36.10'\nd: 1.0\n", "f.yml")
    assert [caution.source.line for caution in lossy(node)] == [1]


@pytest.mark.parametrize(
    ("given_value", "into", "expected"),
    [
        ("yes", bool, True),
        (0, bool, False),
        ("Off", bool, False),
        (5, str, "5"),
        (True, str, "True"),
        ("12", int, 12),
        (2.0, int, 2),
        ("1.5", float, 1.5),
        ("a, b", list[str], ["a", "b"]),
        (5, list[str], ["5"]),
        (["1", 2], tuple[int, ...], (1, 2)),
        ([1, "x"], tuple[int, str], (1, "x")),
        ("a=1, b='x y'", dict[str, str], {"a": "1", "b": "x y"}),
        ('{"a": [1]}', dict[str, list[int]], {"a": [1]}),
        (True, Literal["yes", "no"], "yes"),
        (28, Literal["28", "29"], "28"),
        (None, str | None, None),
        (3, int | str, 3),
        ("3", int | str, "3"),
        ({"a": 1}, Any, {"a": 1}),
        (420, Mode, "0644"),
        ("644", Mode, "0644"),
        ("0o644", Mode, "0644"),
        ("02755", Mode, "2755"),
        ("u=rw,g=r,o=", Mode, "u=rw,g=r,o="),
        ("a+rX", Mode, "a+rX"),
        ("preserve", Mode, "preserve"),
    ],
)
def test_values_are_made_to_fit_as_ansible_does(given_value: Any, into: Any, expected: Any) -> None:
    """Without strict, a value becomes what Ansible's argument types make of it."""
    found = decode(given_value, into)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("given_value", "into", "words"),
    [
        ("maybe", bool, "expected yes or no, got 'maybe'"),
        ([1], str, "expected text, got the list [1]"),
        ("x", int, "expected a whole number, got 'x'"),
        (1.5, int, "got the number 1.5"),
        ("inf", int, "expected a whole number"),
        ({}, list[str], "expected a list"),
        ("presnt", Literal["present", "absent"], "did you mean 'present'?"),
        ("0888", Mode, "expected a file mode"),
        (-1, Mode, "expected a file mode"),
        ("", Mode, "expected a file mode"),
        (5, dict[str, int], "expected a mapping"),
        ([1], int | str, "expected a whole number or text"),
        (None, str, "got nothing"),
    ],
)
def test_what_does_not_fit_says_what_was_expected_and_what_was_there(given_value: Any, into: Any, words: Any) -> None:
    """A wrong type is one error that names both sides."""
    ((_, _, message),) = mistakes(lambda: decode(given_value, into, Source("f.yml", 1, 2)))
    assert words in message


@pytest.mark.parametrize(
    ("given_value", "into"),
    [("yes", bool), (1, bool), (5, str), ("5", int), (True, int), ("a,b", list[str]), (True, Literal["yes"])],
)
def test_strict_takes_exact_types(given_value: Any, into: Any) -> None:
    """With strict nothing is converted."""
    assert mistakes(lambda: decode(given_value, into, strict=True))


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    default_runtime: str = field(default="runc", metadata={"key": "default-runtime"})


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    rows: tuple[Inner, ...] = ()

    def __post_init__(self) -> None:
        if self.inner.size == 13:
            raise ValueError("13 is unlucky")


def test_dataclasses_with_keys_and_nesting() -> None:
    """Fields are read by their key; nested dataclasses and tuples of them too."""
    node = parse("inner: {size: 1, default-runtime: nvidia}\nrows: [{size: 2}]\n", "f.yml")
    expected = Outer(inner=Inner(size=1, default_runtime="nvidia"), rows=(Inner(size=2),))
    assert decode(node, Outer, strict=True) == expected


def test_all_mistakes_of_a_dataclass_at_once_in_order() -> None:
    """Unknown keys with a suggestion, missing ones and wrong types are reported together, each at its place."""
    node = parse("iner: {}\nrows:\n  - {size: x}\n  - {siz: 1, size: 2}\n", "f.yml")
    assert mistakes(lambda: decode(node, Outer, strict=True, name="data")) == [
        (1, 1, "data: unknown key 'iner'; did you mean 'inner'?"),
        (1, 1, "data: 'inner' is required"),
        (3, 12, "data: rows.0.size: expected a whole number, got 'x'"),
        (4, 6, "data: rows.1: unknown key 'siz'; did you mean 'size'?"),
    ]


def test_a_dataclass_can_refuse() -> None:
    """What __post_init__ raises is an error at the place of the mapping."""
    assert mistakes(lambda: decode(parse("inner: {size: 13}", "f.yml"), Outer)) == [(1, 1, "13 is unlucky")]


def test_aliases() -> None:
    """An alias gives its field; the field and its alias together are an error."""
    assert decode({"dest": "/x", "pkg": "a,b"}, Copy).packages == ["a", "b"]
    assert "says the same" in mistakes(lambda: decode({"dest": "/x", "pkg": "a", "name": "b"}, Copy))[0][2]


def test_an_empty_value_counts_as_absent() -> None:
    """As in Ansible a null leaves the default; for a required argument it is an error."""
    assert decode({"dest": "/x", "force": None}, Copy).force is True
    assert "required" in mistakes(lambda: decode({"dest": None}, Copy))[0][2]


def test_places_of_rendered_values() -> None:
    """For ordinary values the place comes from the function that was given."""
    node = parse("dest: /x\nforce: '{{ x }}'\n", "f.yml")
    assert mistakes(lambda: decode({"dest": "/x", "force": "maybe"}, Copy, places(node)))[0][:2] == (2, 8)


def test_check_sees_what_is_literal() -> None:
    """Templates fit everything, and what is literal beside them is checked."""
    assert check(parse("dest: '{{ x }}'\nmode: '{{ y }}'\n", "f.yml"), Copy) is False
    assert check(parse("dest: /x\n", "f.yml"), Copy) is True
    found = mistakes(lambda: check(parse("dest: '{{ x }}'\nforce: maybe\n", "f.yml"), Copy))
    assert found == [(2, 8, "force: expected yes or no, got 'maybe'")]


def test_lossy_arguments_are_cautions() -> None:
    """A mode without a leading zero and a version that became a float are warnings with their place."""
    warnings: list[Caution] = []
    node = parse("dest: /x\nmode: 644\nowner: 36.10\ncontent: '36.10'\n", "f.yml")
    found = decode(node, Copy, warnings=warnings)
    assert (found.mode, found.owner, found.content) == ("1204", "36.1", "36.10")
    assert [(caution.source.line, caution.message.split(";")[0]) for caution in warnings] == [
        (2, "mode: 644 is read as a decimal number, which is 1204 in octal"),
        (3, "owner: 36.10 is read as 36.1"),
    ]


def test_small_helpers() -> None:
    """near suggests a name or nothing; is_template finds all of Jinja's braces."""
    assert near("hsots", ["hosts", "vars"]) == "; did you mean 'hosts'?"
    assert near("zzz", ["hosts"]) == ""
    assert [is_template(text) for text in ("{{ x }}", "{% x %}", "{# x #}", "{x}")] == [True, True, True, False]


def test_errors_collect_where_asked() -> None:
    """With a list for errors, duplicates go there and the tree is still had."""
    errors: list[InputError] = []
    node = parse("a: 1\na: 2\n", "f.yml", errors=errors)
    assert isinstance(node, MapNode)
    assert isinstance(node.get("a"), ScalarNode)
    assert len(errors) == 1
    with pytest.raises(InputErrors):
        value("a: 1\na: 2\na: 3\n")


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("source", ["force", "src", "dest"], "src"),
        ("nosuchgroup", ["ungrouped"], ""),
        ("childern", ["hosts", "children"], "children"),
        ("tsks", ["tags", "tasks"], "tasks"),
    ],
)
def test_near_prefers_what_begins_alike(name: Any, names: Any, expected: Any) -> None:
    """Of names about as near the one with the same first letter is meant; one that begins otherwise is doubted."""
    assert near(name, names) == (f"; did you mean {expected!r}?" if expected else "")
