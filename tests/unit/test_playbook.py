"""Playbooks: what was written, and every mistake in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from written import MODULES, mistakes, write

from provisioner.document import plain
from provisioner.errors import InputError
from provisioner.playbook import Playbook, Task, find_file, load_playbook, selected
from provisioner.playbook.freeform import split


def load(folder: Path, text: str, **files: str) -> Playbook:
    write(folder, site_yaml=text, **files)
    return load_playbook(folder / "site.yaml", MODULES)


def tasks(folder: Path, text: str, **files: str) -> tuple[Task, ...]:
    """Return the tasks of a play, given as YAML without indentation."""
    return load(folder, "- hosts: all\n  tasks:\n" + _indented(text), **files).plays[0].tasks


def wrong(folder: Path, text: str, **files: str) -> list[tuple[int, int, str]]:
    return mistakes(lambda: load(folder, text, **files))


def wrong_task(folder: Path, text: str, **files: str) -> list[str]:
    return [message for _, _, message in mistakes(lambda: tasks(folder, text, **files))]


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def args(task: Task) -> dict[str, object]:
    return {name: plain(node) for name, node in task.args.items()}


def test_a_play_with_everything(tmp_path: Path) -> None:
    """Each keyword of a play is where its name says, unrendered."""
    text = """\
        - name: demo
          hosts: [jetsons, "!maintenance"]
          become: yes
          become_user: "{{ admin }}"
          gather_facts: no
          serial: [1, "30%"]
          any_errors_fatal: true
          max_fail_percentage: 20
          force_handlers: true
          tags: [a, b]
          vars: {x: "{{ y }}"}
          vars_files: [more.yml]
          pre_tasks: [{debug: }]
          tasks: [{debug: {msg: 1}}]
          post_tasks: [{debug: {msg: 2}}]
          handlers: [{name: h, debug: , listen: topic}]
        """
    play = load(tmp_path, text, more_yml="z: 1").plays[0]
    assert (play.name, play.hosts, play.become, play.gather_facts) == ("demo", "jetsons,!maintenance", True, False)
    assert play.become_user
    assert play.become_user.text == "{{ admin }}"
    assert (play.serial, play.any_errors_fatal, play.max_fail_percentage) == ((1, "30%"), True, 20.0)
    assert (play.force_handlers, play.tags) == (True, ("a", "b"))
    assert plain(play.vars["x"]) == "{{ y }}"
    assert plain(play.vars_files["z"]) == 1
    assert [args(task) for task in play.tasks] == [{}, {"msg": 1}, {"msg": 2}]
    assert all(task.tags == ("a", "b") for task in play.tasks)
    assert play.handlers[0].listen == ("topic",)


def test_a_task_with_everything(tmp_path: Path) -> None:
    """Each keyword of a task is where its name says; flags may be expressions."""
    text = """\
- name: demo
  ansible.builtin.copy: {dest: /x, content: "{{ c }}"}
  when: [a, b == 1]
  loop: "{{ l }}"
  loop_control: {loop_var: it, index_var: i, label: "{{ it.name }}"}
  register: out
  notify: h
  tags: x, y
  become: "{{ root }}"
  become_user: nvidia
  vars: {c: 1}
  ignore_errors: yes
  changed_when: false
  failed_when: [out.rc != 0]
  no_log: true
  check_mode: no
"""
    playbook = load(tmp_path, "- hosts: all\n  handlers: [{name: h, debug: }]\n  tasks:\n" + _indented(text))
    (task,) = playbook.plays[0].tasks
    assert (task.module, args(task)) == ("copy", {"dest": "/x", "content": "{{ c }}"})
    assert [node.value for node in task.when] == ["a", "b == 1"]
    assert task.loop is not None
    assert (task.loop.var, task.loop.index_var, task.loop.flatten) == ("it", "i", False)
    assert (task.register, task.tags, task.ignore_errors, task.no_log) == ("out", ("x", "y"), True, True)
    assert not isinstance(task.become, bool)
    assert task.become
    assert task.become.text == "{{ root }}"
    assert task.check_mode is False
    assert [node.value for node in task.changed_when or ()] == [False]
    assert [node.value for node in task.failed_when or ()] == ["out.rc != 0"]
    assert (task.source.line, task.place(("content",)).line) == (4, 5)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("copy: content=a dest='/x y' mode=0644", {"content": "a", "dest": "/x y", "mode": "0644"}),
        ("command: ls -l", {"cmd": "ls -l"}),
        ("command: ls \"a b\" creates=/x chdir='/t y'", {"cmd": 'ls "a b"', "creates": "/x", "chdir": "/t y"}),
        ("command: creates=/x touch /x", {"cmd": "touch /x", "creates": "/x"}),
        ("shell: A=1 env | grep x=y", {"cmd": "A=1 env | grep x=y"}),
        ("shell: echo {{ a b=1 }}  two", {"cmd": "echo {{ a b=1 }}  two"}),
        ("command: {cmd: ls, chdir: /}", {"cmd": "ls", "chdir": "/"}),
        ("debug:", {}),
        ("set_fact: a=1 b='x y'", {"a": "1", "b": "x y"}),
        ("set_fact: {anything: 1}", {"anything": 1}),
        ("command: 123", {"cmd": "123"}),
        ("meta: flush_handlers", {"action": "flush_handlers"}),
    ],
)
def test_arguments_in_one_line(tmp_path: Path, line: Any, expected: Any) -> None:
    """key=value words are arguments; free text keeps its words, quotes and spaces."""
    (task,) = tasks(tmp_path, f"- {line}" if "{{" not in line else f"- shell: '{line.partition(': ')[2]}'")
    assert args(task) == expected


def test_free_text_keeps_its_lines(tmp_path: Path) -> None:
    """A script of several lines arrives as it was written."""
    (task,) = tasks(tmp_path, "- shell: |\n    if a; then\n      b=1\n    fi\n  args: {chdir: /}\n")
    assert args(task) == {"cmd": "if a; then\n  b=1\nfi", "chdir": "/"}


def test_words_of_a_line() -> None:
    """Quotes and braces keep spaces together; an open quote ends nothing."""
    assert split("a 'b c' d=\"e f\" {{ g h }}i it's") == ["a", "'b c'", 'd="e f"', "{{ g h }}i", "it's"]


def test_blocks_hand_down(tmp_path: Path) -> None:
    """A block is laid flat: its when comes first, tags add up, its become holds unless the task says otherwise."""
    text = """\
- block:
    - debug:
      when: b
      tags: t
    - block: [{debug: , become: no, vars: {x: 2}}]
      when: c
  when: a
  tags: s
  become: yes
  ignore_errors: yes
  vars: {x: 1}
"""
    one, two = tasks(tmp_path, text)
    assert ([n.value for n in one.when], one.tags, one.become, one.ignore_errors) == (
        ["a", "b"],
        ("s", "t"),
        True,
        True,
    )
    assert ([n.value for n in two.when], two.tags, two.become) == (["a", "c"], ("s",), False)
    assert (plain(one.vars["x"]), plain(two.vars["x"])) == (1, 2)


def test_import_tasks_is_laid_flat(tmp_path: Path) -> None:
    """The tasks of an imported file stand in its place, with what the import says; files import files beside them."""
    files = {
        "parts__one_yml": "- import_tasks: two.yml\n- debug: {msg: one}\n",
        "parts__two_yml": "- copy: {src: here.txt, dest: /x}\n",
        "parts__files__here_txt": "",
    }
    found = tasks(tmp_path, "- import_tasks: parts/one.yml\n  when: a\n  tags: t\n- debug:\n", **files)
    assert [task.module for task in found] == ["copy", "debug", "debug"]
    assert ([n.value for n in found[0].when], found[0].tags, found[0].base_dir) == (["a"], ("t",), tmp_path)
    assert found[0].source.path == str(tmp_path / "parts/two.yml")


def test_import_playbook(tmp_path: Path) -> None:
    """The plays of an imported playbook stand in its place."""
    found = load(tmp_path, "- import_playbook: a.yml\n- hosts: y\n", a_yml="- hosts: x\n")
    assert [play.hosts for play in found.plays] == ["x", "y"]


def test_all_mistakes_at_once_in_order(tmp_path: Path) -> None:
    """Every mistake of a playbook is reported together, at its place and with a suggestion."""
    text = """\
        - hosts: all
          tsks: []
          tasks:
            - copyy: {src: a}
            - copy: {content: a, dst: /x, dest: /y}
              notfy: x
              notify: restrt
            - copy: {dest: /x, owner: [1]}
            - command: ls
              shell: ls
            - name: x
            - 3
            - command:
            - template: {src: b.j2, dest: /x}
          handlers: [{name: restart, debug: }]
          roles: [a]
        - tasks: []
        """
    assert wrong(tmp_path, text, templates__a_j2="") == [
        (2, 3, "unknown keyword 'tsks' in a play; did you mean 'tasks'?"),
        (4, 7, "unknown module 'copyy'; did you mean 'copy'?"),
        (5, 26, "copy: unknown key 'dst'; did you mean 'dest'?"),
        (6, 7, "unknown keyword 'notfy'; did you mean 'notify'?"),
        (7, 15, "there is no handler 'restrt'; did you mean 'restart'?"),
        (8, 31, "copy: owner: expected text, got the list [1]"),
        (10, 7, "a task has one module, and this has 'command' and 'shell'"),
        (11, 7, "the task names no module"),
        (12, 7, "a task has to be a mapping such as `copy: {src: a, dest: b}`"),
        (13, 7, "command: 'cmd' is required"),
        (14, 23, "there is no template 'b.j2'; did you mean 'a.j2'?"),
        (16, 3, "'roles' is not supported yet"),
        (17, 3, "a play needs `hosts`"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- debug:\n  delegate_to: x", "'delegate_to' is not supported yet"),
        ("- debug:\n  with_dict: {}", "'with_dict' is not supported yet"),
        ("- include_role: {name: x}", "'include_role' is not supported yet"),
        ("- block: []\n  rescue: []", "'rescue' is not supported yet"),
        ("- block: []\n  register: x", "unknown keyword 'register' in a block"),
        ("- block: 3", "block has to be a list"),
        ("- community.docker.docker_image: {}", "unknown module 'community.docker.docker_image'"),
        ("- debug:\n  register: a-b", "register has to be the name of a variable, and 'a-b' is none"),
        ("- debug:\n  become: maybe", "become: expected yes or no, got 'maybe'"),
        ("- debug:\n  become_method: su", "the only become_method is sudo"),
        ("- debug:\n  loop: {a: 1}", "a loop has to be a list"),
        ("- debug:\n  loop: x", "a loop has to be a list"),
        ("- debug:\n  loop: []\n  with_items: []", "give loop or with_items"),
        ("- debug:\n  loop_control: {}", "no loop to control"),
        ("- debug:\n  loop: []\n  loop_control: {loop_vra: x}", "did you mean 'loop_var'?"),
        ("- debug:\n  vars: []", "vars has to be a mapping"),
        ("- debug:\n  when: {a: b}", "when has to be text or a list"),
        ("- debug:\n  tags: '{{ x }}'", "tags cannot hold a template"),
        ("- debug: hello", "'hello' is no argument"),
        ("- debug: [1]", "arguments have to be a mapping"),
        ("- copy: '{{ all_of_it }}'", "is no argument"),
        ("- meta: end_play", "'end_play' is not supported"),
        ("- import_tasks: none.yml", "there is no file of tasks 'none.yml'"),
        ("- import_tasks: '{{ x }}'", "cannot hold a template"),
        ("- include_tasks: a.yml\n  when: x", "'when' is not supported on include_tasks"),
        ("- import_tasks: a.yml", "imports itself"),
    ],
)
def test_what_is_not_supported_or_wrong_says_so(tmp_path: Path, text: Any, words: Any) -> None:
    """Nothing is silently ignored: what we have not got is an error that names it."""
    found = wrong_task(tmp_path, text, a_yml="- import_tasks: a.yml\n")
    assert any(words in message for message in found), found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1", "a playbook has to be a list"),
        ("- 1", "a play has to be a mapping"),
        ("- hosts: all\n  serial: 0", "serial has to be"),
        ("- hosts: all\n  gather_facts: '{{ x }}'", "gather_facts: expected yes or no"),
        ("- hosts: []", "`hosts` is empty"),
        ("- hosts: all\n  vars_files: none.yml", "there is no file 'none.yml'"),
        ("- import_playbook: site.yaml", "import each other"),
        ("- hosts: all\n  handlers: 1", "handlers has to be a list"),
        ("- hosts: all\n  connection: local", "'connection' is not supported yet"),
    ],
)
def test_wrong_plays(tmp_path: Path, text: Any, words: Any) -> None:
    """A play that is none, or says what a play cannot, is an error."""
    assert any(words in message for _, _, message in wrong(tmp_path, text))


def test_lossy_values_are_warnings(tmp_path: Path) -> None:
    """A decimal mode, a float version and braces in when are warnings with their places."""
    text = "- copy: {dest: /x, mode: 644}\n  vars: {v: 36.10}\n  when: '{{ a }}'\n"
    found = load(tmp_path, "- hosts: all\n  tasks:\n" + _indented(text)).warnings
    assert sorted(w.source.line for w in found) == [3, 4, 5]


def test_find_file_searches_as_ansible_does(tmp_path: Path) -> None:
    """The folder of the task's file comes first, then the playbook's; what was searched is said."""
    (task,) = tasks(tmp_path, "- debug:\n", templates__a_j2="", b_j2="", files__c_txt="")
    assert find_file(task, "templates", "a.j2") == tmp_path / "templates/a.j2"
    assert find_file(task, "templates", "b.j2") == tmp_path / "b.j2"
    assert find_file(task, "files", str(tmp_path / "files/c.txt")) == tmp_path / "files/c.txt"
    with pytest.raises(InputError, match=r"no template 'aa.j2'; did you mean 'a.j2'") as caught:
        find_file(task, "templates", "aa.j2")
    assert str(tmp_path / "templates/aa.j2") in str(caught.value.hint)


def test_remote_and_templated_sources_are_not_searched(tmp_path: Path) -> None:
    """A source on the device, or one that is not known yet, is no missing file."""
    tasks(tmp_path, "- copy: {src: /far, dest: /x, remote_src: yes}\n- copy: {src: '{{ a }}', dest: /x}\n")


@pytest.mark.parametrize(
    ("own", "tags", "skip", "expected"),
    [
        ("", "", "", True),
        ("a", "", "", True),
        ("a", "a b", "", True),
        ("a", "b", "", False),
        ("", "a", "", False),
        ("always", "a", "", True),
        ("never", "", "", False),
        ("never a", "", "", False),
        ("never a", "a", "", True),
        ("never", "never", "", True),
        ("never a", "tagged", "", False),
        ("a", "tagged", "", True),
        ("", "tagged", "", False),
        ("", "untagged", "", True),
        ("a", "untagged", "", False),
        ("always", "untagged", "", True),
        ("a", "all", "a", False),
        ("a", "", "tagged", False),
        ("", "", "tagged", True),
        ("", "", "untagged", False),
        ("a", "", "all", False),
        ("always", "", "all", True),
        ("always", "", "all always", False),
        ("always", "", "always", False),
        ("always a", "", "a", False),
    ],
)
def test_tags_select_as_in_ansible(tmp_path: Path, own: Any, tags: Any, skip: Any, expected: Any) -> None:
    """--tags and --skip-tags leave in what Ansible leaves in."""
    (task,) = tasks(tmp_path, f"- debug:\n  tags: [{', '.join(own.split())}]\n")
    assert selected(task, tags.split(), skip.split()) is expected


@dataclass(frozen=True, kw_only=True)
class Line:
    """A module as those that ship: a mode of several types, content of any, and a regular expression."""

    path: str
    mode: str | int | None = None
    directory_mode: str | int | None = None
    content: Any = None
    regexp: str | None = field(default=None, metadata={"aliases": ("regex",)})
    insertafter: str | None = None


def line(folder: Path, arguments: str) -> Playbook:
    write(folder, site_yaml="- hosts: all\n  tasks:\n" + _indented(f"- line: {{{arguments}}}"))
    return load_playbook(folder / "site.yaml", {**MODULES, "line": Line})


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("- line: {path: /x, mode: 644}", 30, "line: mode: 644 is read as a decimal number"),
        ("- line: {path: '{{ x }}', mode: 755}", 37, "line: mode: 755 is read as a decimal number"),
        ("- line: {path: /x, directory_mode: 755}", 40, "write '0755'"),
        ("- line: {path: /x, content: 36.10}", 33, "36.10 is read as the number 36.1"),
        ("- line: {path: /x, content: {v: [36.10]}}", 38, "36.10 is read as the number 36.1"),
        ("- set_fact: {v: 36.10}", 21, "36.10 is read as the number 36.1"),
        ("- copy: {dest: /x, mode: 644}", 30, "copy: mode: 644 is read as a decimal number"),
        ("- copy: {dest: /x, owner: 36.10}", 31, "copy: owner: 36.10 is read as 36.1"),
        ("- debug:\n  loop: [36.10]", 14, "36.10 is read as the number 36.1"),
    ],
)
def test_each_lossy_argument_is_one_warning_at_its_place(tmp_path: Path, text: Any, column: Any, words: Any) -> None:
    """A mode that is no octal number, and a number that loses a digit, are warned about once, with line and column."""
    write(tmp_path, site_yaml="- hosts: all\n  tasks:\n" + _indented(text))
    (warning,) = load_playbook(tmp_path / "site.yaml", {**MODULES, "line": Line}).warnings
    assert words in warning.message
    assert (warning.source.line, warning.source.column) == (3 + text.count("\n"), column)


@pytest.mark.parametrize("mode", ["0644", "'644'", "'0644'", "u+rwX", "preserve", "'{{ m }}'", "", "0"])
def test_modes_that_are_meant_are_no_warning(tmp_path: Path, mode: Any) -> None:
    """Octal numbers, text and templates are modes as they were meant."""
    assert line(tmp_path, f"path: /x, mode: {mode}").warnings == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("mode: u+q", "line: mode: expected a file mode"),
        ("mode: 99999", "got the number 99999"),
        ("directory_mode: 'x=1'", "line: directory_mode: expected a file mode"),
        ("regexp: '('", "line: regexp: '(' is no regular expression: missing )"),
        ("regex: '['", "line: regex: '[' is no regular expression"),
        ("insertafter: '*'", "line: insertafter: '*' is no regular expression"),
    ],
)
def test_modes_and_expressions_that_are_none_are_found_early(tmp_path: Path, arguments: Any, words: Any) -> None:
    """A literal mode or regular expression that is none is a mistake at its place, also beside templates."""
    ((row, column, message),) = mistakes(lambda: line(tmp_path, f"path: '{{{{ p }}}}', {arguments}"))
    assert words in message
    assert (row, column) == (3, 32 + arguments.index(": ") + 1)


def test_a_hint_names_each_place_once_and_ours_as_what_is_shipped(tmp_path: Path) -> None:
    """Where a file was looked for is said once for each folder of the user's; the package's own is not spelt out."""
    (task,) = tasks(tmp_path, "- debug:\n")
    with pytest.raises(InputError) as caught:
        find_file(task, "templates", "none.j2")
    hint = caught.value.hint or ""
    shown = hint.removeprefix("looked for ").split(", ")
    assert shown[-1] == "what is shipped"
    assert len(shown) == len(set(shown)) == 4
    assert not any("provisioner/" in one for one in shown)


def test_with_a_list_mistakes_go_there_and_the_rest_is_read(tmp_path: Path) -> None:
    """With a list for errors the plays that could be read come back beside them."""
    errors: list[InputError] = []
    write(tmp_path, site_yaml="- hosts: all\n  tasks: [{comand: ls}, {debug: }]\n- hosts: x\n")
    book = load_playbook(tmp_path / "site.yaml", MODULES, errors=errors)
    assert [play.hosts for play in book.plays] == ["all", "x"]
    assert len(errors) == 1


def test_the_folder_above_is_found_from_within_the_playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A playbook named without its folder finds the templates beside that folder as well."""
    write(tmp_path, books__site_yaml="- hosts: all\n  tasks: [{debug: }]\n", templates__a_j2="")
    monkeypatch.chdir(tmp_path / "books")
    (task,) = load_playbook(Path("site.yaml"), MODULES).plays[0].tasks
    assert find_file(task, "templates", "a.j2").samefile(tmp_path / "templates/a.j2")
