"""Templates: native values, laziness, what is pending, what is undefined, Ansible's filters and tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path  # noqa: TC003
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written import mistakes

from provisioner.document import Node, ScalarNode, UnsafeText, parse
from provisioner.errors import InputError, Source
from provisioner.templating import (
    OMIT,
    NotYetKnown,
    Pending,
    Templar,
    UndefinedVariable,
    Verbatim,
    guarded_names,
    is_volatile,
    syntax_error,
    used_names,
)

PLACE = Source("f.yml", 3, 4)


def render(value: object, **variables: object) -> Any:
    return Templar(variables).render(value, source=PLACE)


def wrong(value: object, **variables: object) -> tuple[int, int, str]:
    (found,) = mistakes(lambda: render(value, **variables))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ n }}", 5),
        ("{{ n }}%", "5%"),
        ("{{ l }}", [1, "x"]),
        ("{{ none }}", None),
        ("a{{ none }}b", "ab"),
        ("{{ l | map('string') }}", ["1", "x"]),
        ("{{ d.keys() }}", ["k"]),
        ("{{ n > 4 and d.k is defined }}", True),
        ("{{ n }}\n", "5\n"),
        ("{% if n == 5 %}\nyes\n{% endif %}\n", "yes\n"),
        ("{# nothing #}", ""),
        ("{{ d.none.at.all | default('x') }}", "x"),
        ("{{ d.none.at.all is defined }}", False),
        ("{{ result.value }}", 7),
        ("{{ vars['n'] }}", 5),
        ("{{ lookup('vars', 'n') }}", 5),
        ("{{ query('items', l) }}", [1, "x"]),
    ],
)
def test_one_expression_keeps_its_type_and_all_else_is_text(text: Any, expected: Any) -> None:
    """A string that is exactly one expression gives that expression's value; any other gives text."""
    found = render(text, n=5, l=[1, "x"], d={"k": 1}, result={"value": 7})
    assert found == expected
    assert type(found) is type(expected)


@given(st.text())
@settings(max_examples=50)
def test_text_without_braces_is_itself(text: Any) -> None:
    """A string with nothing for Jinja in it is not touched."""
    assert "{{" in text or "{%" in text or "{#" in text or render(text) == text


def test_variables_are_rendered_when_they_are_used() -> None:
    """A variable may hold templates; one that is not used may be wrong."""
    variables = {"a": "{{ b }}/x", "b": "{{ c | upper }}", "c": "root", "bad": "{{ nothing"}
    assert render({"k": ["{{ a }}"]}, **variables) == {"k": ["ROOT/x"]}


def test_a_variable_of_what_is_undefined_may_have_a_default() -> None:
    """A variable that needs an undefined one is undefined itself."""
    assert render("{{ a | default('x') }}", a="{{ b }}/y") == "x"
    assert render("{{ a is defined }}", a="{{ b }}") is False


def test_a_loop_of_variables_is_drawn() -> None:
    """Variables that need each other are an error that names the way round."""
    assert wrong("{{ a }}", a="{{ b }}", b="{{ a }}") == (3, 4, "the variables need each other: a -> b -> a")


def test_nodes_give_their_places() -> None:
    """An error in a node has the place of the string, also in a variable that is a node."""
    node = parse("a: 1\nb: ['{{ nothing }}']\n", "g.yml")
    assert mistakes(lambda: Templar({}).render(node))[0][:2] == (2, 5)
    assert mistakes(lambda: Templar({"v": node}).render("{{ v.a }}", source=PLACE))[0][:2] == (2, 5)


def test_data_from_a_device_is_never_rendered() -> None:
    """Verbatim and !unsafe values arrive as they are, whatever braces they hold."""
    assert render("{{ out.stdout }}", out=Verbatim({"stdout": "{{ 1 + 1 }}"})) == "{{ 1 + 1 }}"
    assert render(UnsafeText("{{ 1 + 1 }}")) == "{{ 1 + 1 }}"
    assert render("{{ x }}", x=UnsafeText("{{ 1 + 1 }}")) == "{{ 1 + 1 }}"


def test_omit_takes_an_argument_away() -> None:
    """What is omitted is gone from mappings and lists."""
    assert render({"a": "{{ x | default(omit) }}", "b": [1, "{{ omit }}"]}) == {"b": [1]}
    assert render("{{ omit }}") is OMIT


@pytest.mark.parametrize(
    "expression",
    [
        "p", "p.x", "p['x'].y", "p is defined", "p is undefined", "p.x is defined", "p | default(3)", "p is none",
        "p is string", "p is mapping", "not p", "p == 1", "1 == p", "1 in p", "p in [1]", "[p]", "{'a': [p]}", "p + 1",
        "1 + p", "p ~ 'x'", "p | int", "p | length", "p | to_json", "{'a': p} | to_json", "p | bool", "p | string",
        "p is changed", "p()", "p | list", "p | combine({})", "-p", "p > 1", "p and true", "p | type_debug",
        "p if p else 1", "[1] | union(p)", "p | mandatory", "p | ternary(1, 2)", "p is truthy", "p is iterable",
    ],
)  # fmt: skip
def test_whatever_observes_a_pending_value_raises(expression: Any) -> None:
    """A pending value is never taken for an ordinary one: each way to look at it raises NotYetKnown with the reason."""
    with pytest.raises(NotYetKnown) as caught:
        render("{{ " + expression + " }}", p=Pending("known after apply", "p"))
    assert caught.value.reason == "known after apply"


def test_a_pending_value_that_is_not_looked_at_is_no_obstacle() -> None:
    """What a branch does not reach need not be known."""
    pending = Pending("later", "p")
    assert render("{{ 1 if true else p }}", p=pending) == 1
    assert Templar({"p": pending}).holds(["false", "p"]) is False
    assert render("{{ v.k }}", v={"k": 1}, p=pending) == 1


def test_text_of_a_file_with_pending_values() -> None:
    """A template file that prints a pending value is not known yet."""
    with pytest.raises(NotYetKnown):
        Templar({"p": Pending("later", "p")}).text("a {{ p }}", "/t.j2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ hots }}", "the variable 'hots' is undefined; did you mean 'host'?"),
        ("x {{ zzz }}", "the variable 'zzz' is undefined"),
        ("{{ d.kex }}", "this mapping has no 'kex'; did you mean 'key'?"),
        ("{{ [1, zzz] }}", "the variable 'zzz' is undefined"),
        ("{{ zzz | to_json }}", "the variable 'zzz' is undefined"),
        ("{{ zzz | mandatory }}", "'zzz' is mandatory, and undefined"),
        ("{{ outer }}", "the variable 'zzz' is undefined"),
        ("{{ zzz == 1 }}", "the variable 'zzz' is undefined"),
    ],
)
def test_undefined_variables_name_what_is_near(text: Any, message: Any) -> None:
    """What is undefined is an UndefinedVariable at the string's place, with a suggestion."""
    with pytest.raises(UndefinedVariable) as caught:
        render(text, host=1, d={"key": 1}, outer="{{ zzz }}")
    assert (caught.value.message, caught.value.source) == (message, PLACE)
    assert caught.value.name in {"hots", "zzz", "kex"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ a", "is not a valid template"),
        ("{{ a b }}", "is not a valid template"),
        ("{% if %}", "is not a valid template"),
        ("{{ a | to_jsn }}", "there is no filter 'to_jsn'; did you mean 'to_json'?"),
        ("{{ a is defned }}", "there is no test 'defned'; did you mean 'defined'?"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'x' + 1 }}", "cannot be rendered"),
        ("{{ '{' | from_json }}", "cannot be rendered"),
        ("{{ [1] | combine }}", "combine takes mappings"),
        ("{{ lookup('pipe', 'rm') }}", "the lookup 'pipe' is not supported"),
        ("{{ lookup('file', 'none') }}", "there is no file 'none'"),
        ("{{ 'a' is changed }}", "asks about what a task registered"),
        ("{% include 'x' %}", "cannot be rendered"),
    ],
)
def test_errors_in_expressions_are_input_errors(text: Any, words: Any) -> None:
    """Whatever goes wrong in a template is an InputError at the string's place."""
    line, column, message = wrong(text, a=1)
    assert words in message
    assert (line, column) == (3, 4)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("n == 5 and name is match('jet')", True),
        ("n", 5),
        (True, True),
        ("true", True),
        ("{{ n == 5 }}", True),
        ("'x' in groups['g']", True),
        ("not n", False),
    ],
)
def test_evaluate(expression: Any, expected: Any) -> None:
    """A bare expression gives its value; a literal is itself; braces are looked through."""
    templar = Templar({"n": 5, "name": "jetson", "groups": {"g": ["x"]}})
    assert templar.evaluate(expression) == expected


def test_evaluate_gives_places() -> None:
    """An error in a condition has the condition's place."""
    (node,) = (n for n in [parse("a ==", "g.yml")] if isinstance(n, ScalarNode))
    assert isinstance(node, Node)
    assert mistakes(lambda: Templar({}).evaluate(node))[0][:2] == (1, 1)
    assert "goes on after its end" in mistakes(lambda: Templar({"a": 1}).evaluate("a a"))[0][2]


def test_conditions_stop_at_the_first_that_is_false() -> None:
    """All conditions have to hold; those behind a false one may be undefined."""
    templar = Templar({"a": False})
    assert templar.holds(["true", "not a"]) is True
    assert templar.holds(["a", "nothing"]) is False
    assert templar.holds([]) is True


def test_flags() -> None:
    """A flag is itself, or what its expression gives."""
    node = parse("'{{ x }}'", "f.yml")
    assert isinstance(node, ScalarNode)
    assert [Templar({"x": "yes"}).flag(value) for value in (None, True, node)] == [None, True, True]
    assert mistakes(lambda: Templar({"x": "maybe"}).flag(node))


def test_more_variables_come_before() -> None:
    """with_vars lays variables over, also for those that are made of them."""
    templar = Templar({"a": "{{ item }}", "item": 1})
    assert templar.render("{{ a }}") == 1
    assert templar.with_vars({"item": 2}).render("{{ a }}") == 2


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("a\n{% if true %}\nb\n{% endif %}\n", {}, "a\nb\n"),
        ("a\n  {% if true %}\nb\n  {% endif %}\n", {}, "a\n  b\n  "),
        ("a\n  {% if true %}\nb\n  {% endif %}\n", {"lstrip_blocks": True}, "a\nb\n"),
        ("{% if true %}\nb\n{% endif %}\n", {"trim_blocks": False}, "\nb\n\n"),
        ("#jinja2: trim_blocks: False\n{% if true %}\nb{% endif %}", {}, "\nb"),
        ("a\r\nb\n", {}, "a\nb\n"),
        ("a\nb", {"newline_sequence": "\r\n"}, "a\r\nb"),
        ("{{ n }}", {}, "5"),
        ("{{ l | to_nice_yaml }}", {}, "- 1\n- x\n"),
        ("{% for i in l %}{{ loop.index }}{{ i }}{% endfor %}", {}, "112x"),
    ],
)
def test_template_files(source: Any, options: Any, expected: Any) -> None:
    """A template file makes the text that Ansible's template module makes."""
    assert Templar({"n": 5, "l": [1, "x"]}).text(source, "/t.j2", **options) == expected


@pytest.mark.parametrize(
    ("source", "line"),
    [("a\n{{ nothing }}\n", 2), ("a\n{% if %}\n", 2), ("#jinja2: lstrip_blocks: True\nb\n{{ 1/0 }}", 3)],
)
def test_errors_in_template_files_have_the_files_line(source: Any, line: Any) -> None:
    """An error in a template file is at that file's path and line."""
    with pytest.raises(InputError) as caught:
        Templar({}).text(source, "/t.j2")
    assert caught.value.source == Source("/t.j2", line)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'yes' | bool", True),
        ("'nope' | bool", False),
        ("none | d('x')", None),
        ("'' | d('x', true)", "x"),
        ("{'b': 1, 'a': [1]} | to_json", '{"b": 1, "a": [1]}'),
        ("{'b': 1, 'a': 2} | to_nice_json", '{\n    "a": 2,\n    "b": 1\n}'),
        ("'[1]' | from_json", [1]),
        ("'a: [1]' | from_yaml", {"a": [1]}),
        ("{'a': [1]} | to_yaml", "a: [1]\n"),
        ("'R36.4' | regex_replace('R(\\\\d+)', '<\\\\1>')", "<36>.4"),
        ("'R36.4' | regex_search('\\\\d+')", "36"),
        ("'R36.4' | regex_search('R(\\\\d+).(\\\\d+)', '\\\\2', '\\\\1')", ["4", "36"]),
        ("'R36.4' | regex_search('x')", None),
        ("'a1b2' | regex_findall('\\\\d')", ["1", "2"]),
        ("'/a/b.c' | basename", "b.c"),
        ("'/a/b.c' | dirname", "/a"),
        ("'é' | b64encode | b64decode", "é"),
        ("'x' | hash('md5')", "9dd4e461268c8034f5c8564e155c67a6"),
        ("'a b' | quote", "'a b'"),
        ("{'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true)", {"a": {"x": 1, "y": 2}}),
        ("{'a': [1]} | combine({'a': [2]}, list_merge='append')", {"a": [1, 2]}),
        ("{'a': 1} | dict2items", [{"key": "a", "value": 1}]),
        ("[{'key': 'a', 'value': 1}] | items2dict", {"a": 1}),
        ("true | ternary('y', nothing)", "y"),
        ("'a,b' | split(',')", ["a", "b"]),
        ("[2, 1, 2] | unique", [2, 1]),
        ("[1, 2] | union([2, 3])", [1, 2, 3]),
        ("[1, 2] | intersect([2, 3])", [2]),
        ("[1, 2] | difference([2, 3])", [1]),
        ("[1, [2, [3]]] | flatten", [1, 2, 3]),
        ("[1, [2, [3]]] | flatten(levels=1)", [1, 2, [3]]),
        ("'36.4.3' is version('36.4.10', '<')", True),
        ("'1.0' is version('1.0.1', 'lt')", True),
        ("'1.0.0-rc1' is version('1.0.0', '<', version_type='semver')", True),
        ("'36.4' | version_compare('36.3', '>=')", True),
        ("'jetson' is match('JET', ignorecase=true)", True),
        ("'xjetson' is match('jet')", False),
        ("'xjetson' is search('jet')", True),
        ("'a' is regex('^a$')", True),
        ("r is changed and r is succeeded and r is not skipped", True),
        ("{'results': [{'changed': true}]} is changed", True),
        ("[1] is subset([1, 2]) and [1, 2] is superset([1])", True),
        ("[1, 2] is contains(1)", True),
        ("1 in [1] and 1 is in [1]", True),
        ("'' is falsy and 'x' is truthy", True),
        ("nothing is undefined", True),
        ("'5' | int + 1", 6),
        ("lookup('env', 'PROVISIONER_NONE')", ""),
        ("lookup('env', 'PROVISIONER_NONE', default='x')", "x"),
        ("'x' | ansible.builtin.to_json", '"x"'),
    ],
)
def test_filters_tests_and_lookups(expression: Any, expected: Any) -> None:
    """Filters, tests and lookups give what Ansible's give."""
    assert render("{{ " + expression + " }}", r={"changed": True, "failed": False}) == expected


def test_lookup_of_a_file(tmp_path: Path) -> None:
    """A file is looked for in files/ and beside the playbook; its end is trimmed."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.txt").write_text("text\n\n")
    assert Templar({}, base_dirs=[tmp_path]).render("{{ lookup('file', 'a.txt') }}") == "text"


def test_used_and_guarded_names() -> None:
    """What a template asks for, and what it may find undefined, is told without rendering."""
    text = "{% for i in l %}{{ i }}{{ a.b }}{% endfor %}{{ c | default(d) }}{{ lookup('env', e) }}{{ range(3) }}"
    assert used_names(text) == {"l", "a", "c", "d", "e"}
    assert guarded_names(text) == {"c"}
    assert used_names("x.y == z", expression=True) == {"x", "z"}
    assert guarded_names("x.y is defined and z is not defined", expression=True) == {"x", "z"}
    assert used_names("plain text") == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ now() }}", True),
        ("{{ [1] | random }}", True),
        ("{{ lookup('password', '/dev/null') }}", True),
        ("{{ lookup('pipe', 'date') }}", True),
        ("{{ ansible_date_time.iso8601 }}", True),
        ("{{ lookup('env', 'pipe') }}", False),
        ("{{ random }}", False),
        ("now()", False),
    ],
)
def test_volatile_templates(text: Any, expected: Any) -> None:
    """A template that gives something else each time is told apart."""
    assert is_volatile(text) is expected


def test_a_template_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked of a template, and for however many hosts it is rendered, it is parsed and compiled once."""
    from provisioner.templating.library import jinja2

    made: list[str] = []
    for name in ("_parse", "_compile"):
        real = getattr(jinja2.Environment, name)
        monkeypatch.setattr(
            jinja2.Environment, name, lambda *args, real=real, name=name: (made.append(name), real(*args))[1]
        )
    for text in ("{% for n in of %}{{ n | default('x') }}{% endfor %} read once", "{{ of | first | default('once') }}"):
        made.clear()
        assert syntax_error(text) is None
        assert used_names(text) == {"of"}
        assert not is_volatile(text)
        guarded_names(text)
        for number in range(3):
            Templar({"of": [number]}).render(text)
            if text.endswith("read once"):
                Templar({"of": [number]}).text(text, f"/of/host/{number}")
        assert sorted(made) == ["_compile", "_parse"]


def test_what_is_said_of_a_template_is_said_after_rendering_too() -> None:
    """To compile a template changes nothing of what can be told of it, and what is volatile is made each time."""
    text = "{{ range(1000000000) | random }}"
    assert len({Templar({}).render(text) for _ in range(3)}) == 3
    assert is_volatile(text)
    assert used_names("{{ 'a' ~ ('b' | upper) ~ there }}") == {"there"}


def test_syntax_errors_without_rendering() -> None:
    """A template's syntax can be checked on its own."""
    assert syntax_error("{{ a }}") is None
    assert syntax_error("a\n{{ a b }}") == ("expected token 'end of print statement', got 'b'", 2)
    assert syntax_error("a ==", expression=True) is not None


def test_vault_is_an_error_where_it_is_used() -> None:
    """An encrypted variable does no harm until something asks for it."""
    node = parse("!vault x", "g.yml")
    assert render("{{ a }}", a=1, v=node) == 1
    assert wrong("{{ v }}", a=1, v=node) == (1, 1, "vault is not supported yet")


def test_jinja_and_yaml_are_imported_late() -> None:
    """Importing the readers imports neither Jinja nor YAML: start-up time is a figure."""
    code = (
        "import sys, provisioner.document, provisioner.inventory, provisioner.playbook, provisioner.templating, "
        "provisioner.undefined; print([m for m in ('jinja2', 'yaml', 'paramiko', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ a | nofilter }}", "there is no filter 'nofilter'"),
        ("{{ a is nosuchtest }}", "there is no test 'nosuchtest'"),
        ("{% if a %}{{ a | to_jsn }}{% endif %}", "there is no filter 'to_jsn'; did you mean 'to_json'?"),
        ("{{ (a | uper) if a else 1 }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("{{ a | map('uper') | list }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("{{ a | selectattr('x', 'defned') | list }}", "there is no test 'defned'; did you mean 'defined'?"),
    ],
)
def test_an_unknown_filter_or_test_is_found_without_rendering(text: Any, words: Any) -> None:
    """A filter or test that there is not is a mistake of the template's text, wherever in it that stands."""
    found = syntax_error(text)
    assert found is not None
    assert words in found[0]
    assert used_names(text) <= {"a"}
    assert guarded_names(text) == frozenset()


def test_a_filter_that_a_template_asks_for_need_not_be_there() -> None:
    """A template that asks `'x' is filter` may name filters that there are not."""
    assert syntax_error("{% if 'x' is filter %}{{ 1 | x }}{% endif %}") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ 'a' | regex_search('(') }}", "'(' is no regular expression"),
        ("{{ 'a' is match('[') }}", "'[' is no regular expression"),
        ("{{ 'a: [' | from_yaml }}", "cannot be rendered"),
        ("{{ 'a' | hash('none') }}", "cannot be rendered"),
        ("{{ [{}] | items2dict }}", "has no 'key'"),
        ("{{ 'é' | b64encode('ascii') }}", "cannot be rendered"),
        ("{{ strange.boom }}", "RuntimeError: a bug"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "is nested too deeply"),
    ],
)
def test_nothing_that_a_template_does_is_a_traceback(text: Any, words: Any) -> None:
    """Any exception out of a filter, a test or an expression is an InputError at the string's place."""

    class Strange:
        @property
        def boom(self) -> int:
            raise RuntimeError("a bug")

    line, column, message = wrong(text, strange=Strange())
    assert words in message
    assert (line, column) == (3, 4)


def test_an_unknown_option_in_a_template_files_head_has_its_place() -> None:
    """A mistake in the first line of a template file is at that line."""
    with pytest.raises(InputError) as caught:
        Templar({}).text("#jinja2: trm_blocks: True\n", "/t.j2")
    assert caught.value.source == Source("/t.j2", 1)


def test_a_missing_file_of_a_lookup_names_each_place_once(tmp_path: Path) -> None:
    """Where a lookup looked is said once for each place, also where folders coincide."""
    folders = [tmp_path, tmp_path / "files" / "..", tmp_path]
    with pytest.raises(InputError) as caught:
        Templar({}, base_dirs=folders).render("{{ lookup('file', 'none') }}")
    assert (caught.value.hint or "").count(str(tmp_path)) == 2
