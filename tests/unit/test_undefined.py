"""Names that nothing can define are found before any connection."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Any

import pytest
from written import MODULES, write

from provisioner.inventory import load_inventory
from provisioner.playbook import Play, load_playbook
from provisioner.undefined import defined_names, handed_on, undefined_names

if TYPE_CHECKING:
    from provisioner.errors import InputError


def play(folder: Path, text: str, head: str = "", **files: str) -> Play:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    write(folder, site_yaml=f"- hosts: all\n{head}  tasks:\n{lines}", **files)
    return load_playbook(folder / "site.yaml", MODULES).plays[0]


def found(folder: Path, text: str, head: str = "", known: frozenset[str] = frozenset(), **files: str) -> list[str]:
    hosts = load_inventory("host,").hosts.values()
    return [error.message for error in undefined_names(play(folder, text, head, **files), hosts, known)]


@pytest.mark.parametrize(
    "text",
    [
        "- debug: {msg: '{{ nothing }}'}",
        "- debug: {msg: {deep: ['{{ nothing.x }}']}}",
        "- debug:\n  when: nothing",
        "- debug:\n  when: a is defined or nothing",
        "- debug:\n  loop: '{{ nothing }}'",
        "- debug:\n  vars: {x: '{{ nothing }}'}",
        "- debug:\n  name: do {{ nothing }}",
        "- debug:\n  become: '{{ nothing }}'",
        "- debug:\n  changed_when: nothing",
        "- debug:\n  loop: []\n  loop_control: {label: '{{ nothing }}'}",
        "- template: {src: a.j2, dest: /x}",
        "- debug:\n  when: '{{ nothing }}'",
        "- assert: {that: [1 == 1, nothing == 1]}",
    ],
)
def test_a_name_that_nothing_defines_is_an_error_wherever_it_is_used(tmp_path: Path, text: Any) -> None:
    """Arguments, conditions, loops, vars, names and template files are all looked at."""
    assert found(tmp_path, text, templates__a_j2="x\n{{ nothing }}\n") == ["nothing defines the variable 'nothing'"]


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("- debug: {msg: '{{ x }}'}", "  vars: {x: 1}\n"),
        ("- debug: {msg: '{{ x }}'}", "  vars_files: v.yml\n"),
        ("- debug: {msg: '{{ x }}'}\n  vars: {x: 1}", ""),
        ("- debug:\n  register: x\n- debug: {msg: '{{ x }}'}", ""),
        ("- set_fact: {x: 1}\n- debug: {msg: '{{ x }}'}", ""),
        ("- debug: {msg: '{{ item }}'}\n  loop: [1]", ""),
        ("- debug: {msg: '{{ x }} {{ i }}'}\n  loop: [1]\n  loop_control: {loop_var: x, index_var: i}", ""),
        ("- debug: {msg: '{{ inventory_hostname }} {{ groups.all }} {{ ansible_user }} {{ omit }}'}", ""),
        ("- debug: {msg: '{{ x | default(1) }}'}", ""),
        ("- debug: {msg: '{{ x.y | d(1) }}'}", ""),
        ("- debug: {msg: '{{ x if x is defined else 1 }}'}", ""),
        ("- debug: {msg: '{{ x }}'}\n  when: x is defined", ""),
        ("- block: [debug: {msg: '{{ x }}'}]\n  when: [x is defined]", ""),
        ("- debug: {msg: '{% for x in [1] %}{{ x }}{% endfor %}'}", ""),
        ("- debug: {msg: !unsafe '{{ x }}'}", ""),
        ("- debug: {msg: '{{ fact }}'}", ""),
        ("- template: {src: b.j2, dest: /x}\n  vars: {x: 1}", ""),
        ("- debug:", "  vars: {never_used: '{{ x }}'}\n"),
    ],
)
def test_what_may_be_defined_is_no_error(tmp_path: Path, text: Any, head: Any) -> None:
    """Vars, registers, facts, loops and magic names define; default and `is defined` guard."""
    assert found(tmp_path, text, head, frozenset({"fact"}), v_yml="x: 1", templates__b_j2="{{ x }}") == []


def test_the_hosts_vars_define(tmp_path: Path) -> None:
    """A variable that any of the hosts has is defined."""
    write(tmp_path, hosts_yaml="all: {hosts: {a: {x: 1}, b: }}")
    hosts = load_inventory(str(tmp_path / "hosts.yaml")).hosts.values()
    assert not undefined_names(play(tmp_path, "- debug: {msg: '{{ x }}'}"), hosts, frozenset())


def test_places_and_suggestions(tmp_path: Path) -> None:
    """An error has the place of its string, in a template file that of the name, and names what is near."""
    text = "- debug: {msg: '{{ vresion }}'}\n- template: {src: a.j2, dest: /x}\n"
    one, two = undefined_names(
        play(tmp_path, text, "  vars: {version: 1}\n", templates__a_j2="vers\nx {{ vers }}\n"), [], frozenset()
    )
    assert one.source
    assert (one.source.line, one.source.column) == (4, 20)
    assert one.message == "nothing defines the variable 'vresion'; did you mean 'version'?"
    assert two.source
    assert (two.source.path, two.source.line, two.source.column) == (
        str(tmp_path / "templates/a.j2"),
        2,
        6,
    )


def test_play_vars_that_are_used_are_looked_into(tmp_path: Path) -> None:
    """A variable of the play that a task uses, directly or through another, must not need what nothing defines."""
    head = "  vars: {a: '{{ b }}', b: '{{ nothing }}'}\n"
    assert found(tmp_path, "- debug: {msg: '{{ a }}'}", head) == ["nothing defines the variable 'nothing'"]


def test_syntax_errors_are_found_too(tmp_path: Path) -> None:
    """A template that cannot be parsed is reported with the rest, a file's with its line."""
    text = "- debug: {msg: '{{ a b }}'}\n- debug:\n  when: x ==\n- template: {src: a.j2, dest: /x}"
    errors = undefined_names(play(tmp_path, text, templates__a_j2="\n{% if %}"), [], frozenset())
    assert all("is not a valid template" in error.message for error in errors)
    assert [error.source.line if error.source else 0 for error in errors] == [3, 5, 2]


def test_names_that_a_play_hands_to_the_next(tmp_path: Path) -> None:
    """Registered values and set facts are told for the plays after it; vars are the play's own."""
    found_play = play(tmp_path, "- debug:\n  register: r\n- set_fact: {f: 1}", "  vars: {v: 1}\n")
    assert defined_names(found_play) == {"r", "f", "v"}
    assert handed_on(found_play) == {"r", "f"}


def test_unknown_filters_and_tests_are_found_before_any_connection(tmp_path: Path) -> None:
    """A filter or test that there is not is reported with its place and what is near, in braces and in when."""
    text = "- debug: {msg: '{{ x | to_jsn }}'}\n- debug:\n  when: x is defned\n- debug:\n  when: x | nof\n"
    errors = undefined_names(play(tmp_path, text), [], frozenset({"x"}))
    assert [(error.source.line, error.source.column) for error in errors if error.source] == [(3, 20), (5, 13), (7, 13)]
    assert [error.message.partition(": ")[2] for error in errors] == [
        "there is no filter 'to_jsn'; did you mean 'to_json'?",
        "there is no test 'defned'; did you mean 'defined'?",
        "there is no filter 'nof'",
    ]


def test_without_an_inventory_only_syntax_is_looked_at(tmp_path: Path) -> None:
    """Where the hosts could not be read no name is called undefined, and templates are still parsed."""
    found_play = play(tmp_path, "- debug: {msg: '{{ nothing }} {{ 1 | nof }}'}\n- debug: {msg: '{{ nothing }}'}\n")
    assert [error.message for error in undefined_names(found_play, None, frozenset())] == [
        "is not a valid template: there is no filter 'nof'"
    ]


def test_all_that_is_wrong_with_a_playbook_comes_in_one_round(tmp_path: Path) -> None:
    """What a play's structure hides from nobody: templates, filters, names and conditions are reported beside it."""
    text = """\
        - hosts: all
          tasks:
            - comand: ls
              register: out
            - st_fact: {v: 1}
            - copy: {dst: /x, content: "{{ a b }}"}
            - debug: {msg: "{{ out.rc }} {{ v }} {{ nothing }} {{ lates }}"}
              notify: nobody
            - debug: {msg: "{{ v | nof }}"}
            - debug:
              when: v ==
            - nomodule: {msg: "{{ lates }}"}
              register: later
              when: missing
        """
    write(tmp_path, site_yaml=text)
    errors: list[InputError] = []
    book = load_playbook(tmp_path / "site.yaml", MODULES, errors=errors)
    for one in book.plays:
        errors += undefined_names(one, [], frozenset())
    found = sorted((error.source.line, error.message) for error in errors if error.source)
    assert [line for line, _ in found] == [3, 5, 6, 6, 6, 7, 7, 8, 9, 11, 12, 12, 14]
    words = " ".join(message for _, message in found)
    assert all(f"variable {name!r}" in words for name in ("nothing", "lates", "missing"))
    assert "variable 'out'" not in words
    assert "variable 'v'" not in words


def test_where_a_part_could_not_be_read_no_name_is_called_undefined(tmp_path: Path) -> None:
    """Names that a file or a part would define that cannot be read are not reported as undefined."""
    text = "- hosts: all\n  vars_files: none.yml\n  tasks:\n"
    text += "  - debug: {msg: '{{ x }}'}\n  - debug: {msg: '{{ x | nof }}'}\n"
    write(tmp_path, site_yaml=text)
    errors: list[InputError] = []
    (one,) = load_playbook(tmp_path / "site.yaml", MODULES, errors=errors).plays
    assert [error.message for error in errors] == ["there is no file 'none.yml'"]
    assert len(undefined_names(one, [], frozenset())) == 1
