"""Inventories: groups, ranges, precedence of vars, patterns."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from written import mistakes, write

from provisioner.errors import InputError, Source
from provisioner.inventory import Inventory, load_inventory
from provisioner.inventory.ranges import expand

FLEET = """
    all:
      vars: {level: all}
      hosts:
        alone:
      children:
        jetsons:
          vars: {level: jetsons, fan: quiet}
          hosts:
            jetson[01:03].lab: {ansible_user: nvidia}
          children:
            nanos:
              hosts: {nano: {level: host}, jetson02.lab: }
              vars: {level: nanos}
    maintenance:
      hosts: nano
    """


def load(folder: Path, text: str, **files: str) -> Inventory:
    write(folder, hosts_yaml=text, **files)
    return load_inventory(str(folder / "hosts.yaml"))


def wrong(folder: Path, text: str, **files: str) -> list[tuple[int, int, str]]:
    return mistakes(lambda: load(folder, text, **files))


def test_hosts_and_groups_in_order(tmp_path: Path) -> None:
    """Hosts come as written, groups hold the hosts of all groups below them, a host may be in several."""
    found = load(tmp_path, FLEET)
    jetsons = ("jetson01.lab", "jetson02.lab", "jetson03.lab", "nano")
    assert tuple(found.hosts) == ("alone", *jetsons)
    assert set(found.groups["jetsons"]) == set(jetsons)
    assert found.groups["nanos"] == ("nano", "jetson02.lab")
    assert found.groups["maintenance"] == ("nano",)
    assert found.groups["ungrouped"] == ("alone",)
    assert found.groups["all"] == tuple(found.hosts)
    assert found.hosts["nano"].groups == ("jetsons", "maintenance", "nanos")
    assert found.hosts["alone"].groups == ("ungrouped",)


def test_deeper_groups_win_over_those_above_and_hosts_over_all(tmp_path: Path) -> None:
    """A variable of a host comes from the host, else from its deepest group, else from all."""
    found = load(tmp_path, FLEET)
    levels = {name: host.vars["level"] for name, host in found.hosts.items()}
    assert levels == {
        "alone": "all",
        "jetson01.lab": "jetsons",
        "jetson02.lab": "nanos",
        "jetson03.lab": "jetsons",
        "nano": "host",
    }
    assert found.hosts["nano"].vars["fan"] == "quiet"


def test_groups_of_one_depth_by_priority_then_name(tmp_path: Path) -> None:
    """Of groups side by side the last in the alphabet wins, unless ansible_group_priority says otherwise."""
    text = """
        a: {hosts: {h: , i: }, vars: {x: a, y: a}}
        b: {hosts: {h: }, vars: {x: b}}
        c: {hosts: {i: }, vars: {x: c, ansible_group_priority: 0}}
        """
    found = load(tmp_path, text)
    assert found.hosts["h"].vars["x"] == "b"
    assert found.hosts["i"].vars["x"] == "a"


def test_files_of_vars_and_their_precedence(tmp_path: Path) -> None:
    """Inventory groups < group_vars/all < group_vars/NAME < inventory host < host_vars; the playbook's after ours."""
    text = "g: {hosts: {h: {b: host, c: host}}, vars: {a: g, b: g}}\n"
    write(
        tmp_path,
        group_vars__all_yml="a: all\nb: all\nd: all\n",
        group_vars__g__one_yml="d: one\ne: one\n",
        group_vars__g__two_yaml="e: two\n",
        host_vars__h_yml="c: file\n",
        play__group_vars__g_yml="e: play\n",
    )
    write(tmp_path, hosts_yaml=text)
    found = load_inventory(str(tmp_path / "hosts.yaml"), vars_dirs=[tmp_path / "play"])
    assert dict(found.hosts["h"].vars) == {"a": "all", "b": "host", "c": "file", "d": "one", "e": "play"}
    assert found.var_source("h", "e") == Source(str(tmp_path / "play/group_vars/g.yml"), 1, 4)
    assert found.var_source("h", "c") == Source(str(tmp_path / "host_vars/h.yml"), 1, 4)
    assert found.var_source("h", "b") == Source(str(tmp_path / "hosts.yaml"), 1, 20)
    assert found.var_source("h", "none") is None


def test_an_empty_file_of_vars_is_fine_and_one_not_read_is_named(tmp_path: Path) -> None:
    """A file of comments gives nothing; a second file for the same name is warned about, as Ansible skips it."""
    found = load(tmp_path, "all: {hosts: h}", group_vars__all_yml="# none\n", group_vars__all_yaml="x: 1\n")
    assert not found.hosts["h"].vars
    assert "is not read" in found.warnings[0].message


def test_a_folder_of_inventories(tmp_path: Path) -> None:
    """Every file of a folder counts, in alphabetical order; dot names and vars folders are no inventories."""
    write(
        tmp_path,
        inv__01_yml="g: {hosts: {a: {x: 1}}}",
        inv__02_yml="g: {hosts: {b: , a: {x: 2}}}",
        inv__group_vars__all_yml="y: 1",
        inv__notes_md="no yaml: [",
    )
    write(tmp_path / "inv", **{".provision__lock_yaml": "[", ".hidden_yml": "["})
    found = load_inventory(str(tmp_path / "inv"))
    assert {name: dict(host.vars) for name, host in found.hosts.items()} == {"a": {"y": 1, "x": 2}, "b": {"y": 1}}
    assert found.state_dir == tmp_path / "inv/.provision"


def test_a_list_of_names_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a comma the argument is the hosts themselves, with user and port."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    found = load_inventory("nvidia@192.168.55.1,other:2222, [fe80::1]:22,")
    assert found.path is None
    assert found.state_dir == Path("/state/provision")
    assert {name: dict(host.vars) for name, host in found.hosts.items()} == {
        "192.168.55.1": {"ansible_user": "nvidia"},
        "other": {"ansible_port": 2222},
        "fe80::1": {"ansible_port": 22},
    }


def test_the_state_is_beside_the_inventory(tmp_path: Path) -> None:
    """What is kept about hosts lies in .provision beside the file."""
    found = load(tmp_path, FLEET)
    assert found.path == tmp_path / "hosts.yaml"
    assert found.state_dir == tmp_path / ".provision"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("jetson[1:3]", ["jetson1", "jetson2", "jetson3"]),
        ("j[08:10].lab", ["j08.lab", "j09.lab", "j10.lab"]),
        ("[a:c]", ["a", "b", "c"]),
        ("n[0:6:3]", ["n0", "n3", "n6"]),
        ("[a:b][1:2]", ["a1", "a2", "b1", "b2"]),
        ("plain", ["plain"]),
    ],
)
def test_ranges(text: Any, names: Any) -> None:
    """A range stands for its names, with the width of its first number."""
    assert [name for name, _ in expand(text)] == names


@pytest.mark.parametrize("text", ["j[3:1]", "j[c:a]", "j[1:c]", "j[01:100]", "j[1:5:0]", "a b", "j[1"])
def test_bad_ranges_are_errors(text: Any, tmp_path: Path) -> None:
    """A range without names, or a name that is none, is an error at its place."""
    ((line, column, _),) = wrong(tmp_path, f"all:\n  hosts:\n    '{text}':\n")
    assert (line, column) == (3, 5)


def test_all_mistakes_of_an_inventory_at_once(tmp_path: Path) -> None:
    """Unknown keys, wrong types and duplicates are reported together, each with line and column, in order."""
    text = """\
        all:
          hosts:
            a: [1]
            b:
            b:
            12:
          childern: {}
          vars: [x]
        g: text
        h:
          hosts: [c]
          children: {7: }
        """
    assert wrong(tmp_path, text) == [
        (3, 8, "the vars of the host 'a' have to be a mapping"),
        (5, 5, "'b' is a duplicate: it is already at line 4, column 5"),
        (6, 5, "a host name has to be text; quote '12'"),
        (7, 3, "unknown key 'childern' in the group 'all'; did you mean 'children'?"),
        (8, 9, "vars of the group 'all' has to be a mapping of variables"),
        (9, 4, "the group 'g' has to be a mapping of hosts, children and vars"),
        (11, 10, "hosts of the group 'h' has to be a mapping of host names"),
        (12, 14, "a group name has to be text; quote '7'"),
    ]


def test_a_loop_of_groups_is_drawn(tmp_path: Path) -> None:
    """Groups that contain each other are an error that names the way round."""
    text = "a: {children: {b: }, hosts: h}\nb: {children: {c: }}\nc: {children: {a: }}\n"
    assert wrong(tmp_path, text) == [(3, 16, "the groups contain each other: a -> b -> c -> a")]


def test_mistakes_in_files_of_vars(tmp_path: Path) -> None:
    """A vars file that is no mapping, or no YAML, is reported with those of the inventory."""
    found = wrong(tmp_path, "all: {hosts: h, x: }", group_vars__all_yml="[1]", host_vars__h_yml="a: b: c")
    assert sorted((line, column) for line, column, _ in found) == [(1, 1), (1, 5), (1, 17)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[jetsons]\nnano ansible_host=1.2.3.4\n", "INI inventories"),
        ("nano\nother\n", "INI inventories"),
        ("[jetsons]\n", "INI inventories"),
    ],
)
def test_an_ini_inventory_is_told_apart(tmp_path: Path, text: Any, words: Any) -> None:
    """An inventory in INI form is refused with the way to make YAML of it."""
    write(tmp_path, hosts_ini=text)
    with pytest.raises(InputError) as caught:
        load_inventory(str(tmp_path / "hosts.ini"))
    assert words in (caught.value.hint or "")


def test_what_is_no_inventory(tmp_path: Path) -> None:
    """A missing file, an empty one, one without hosts and a program are clear errors."""
    assert "there is no inventory" in mistakes(lambda: load_inventory(str(tmp_path / "none")))[0][2]
    assert "empty" in wrong(tmp_path, "")[0][2]
    assert "names no host" in wrong(tmp_path, "all: {hosts: }")[0][2]
    assert "programs" in wrong(tmp_path, "#!/bin/sh\necho: a: b\n")[0][2]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("all", "alone jetson01.lab jetson02.lab jetson03.lab nano"),
        ("nano,alone", "nano alone"),
        ("nano:alone", "nano alone"),
        ("jetsons:!maintenance", "jetson01.lab jetson02.lab jetson03.lab"),
        ("jetsons:&nanos", "jetson02.lab nano"),
        ("!jetsons", "alone"),
        ("jetson0*", "jetson01.lab jetson02.lab jetson03.lab"),
        ("nan?", "nano nano"),
        ("~jetson0[12]", "jetson01.lab jetson02.lab"),
        ("jetsons[0]", "jetson01.lab"),
        ("jetsons[1:2]", "jetson02.lab jetson03.lab"),
        ("jetsons[-1]", "nano"),
        ("jetson0[12].lab", "jetson01.lab jetson02.lab"),
        ("ungrouped", "alone"),
    ],
)
def test_patterns(tmp_path: Path, pattern: Any, names: Any) -> None:
    """A pattern means the hosts that Ansible finds with it."""
    found = load(tmp_path, FLEET).select(pattern)
    assert {host.name for host in found} == set(names.split())
    assert len(found) == len({host.name for host in found})


def test_a_pattern_from_a_file(tmp_path: Path) -> None:
    """@file stands for the patterns on its lines."""
    write(tmp_path, retry_txt="# failed\nnano\n\nalone\n")
    found = load(tmp_path, FLEET).select(f"@{tmp_path}/retry.txt")
    assert [host.name for host in found] == ["nano", "alone"]


@pytest.mark.parametrize(
    ("pattern", "messages"),
    [
        ("nanno", ["no host or group matches 'nanno'; did you mean 'nano'?"]),
        ("jetsns,all:!mantenance", None),
        ("x*", ["no host or group matches 'x*'"]),
        ("nanos:&ungrouped", ["the pattern 'nanos:&ungrouped' matches no host"]),
        ("~[", None),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, pattern: Any, messages: Any) -> None:
    """A name that nothing has is reported with one that is near, also behind ! and &."""
    found = [message for _, _, message in mistakes(lambda: load(tmp_path, FLEET).select(pattern))]
    assert found
    assert messages is None or found == messages


def test_lossy_vars_are_warnings(tmp_path: Path) -> None:
    """A version that YAML reads as a float is warned about with its place."""
    found = load(tmp_path, "all: {hosts: h, vars: {v: 36.10}}")
    assert [(w.source.line, w.source.column) for w in found.warnings] == [(1, 27)]


def test_ten_thousand_hosts(tmp_path: Path) -> None:
    """Vars are merged per set of groups: ten thousand hosts with group vars load within three seconds."""
    groups = [f"  g{g}:\n    hosts: {{'h{g}-[000:499]': {{}}}}\n" for g in range(20)]
    text = "all:\n  children:\n" + "".join(f"  {line}\n" for line in "".join(groups).splitlines())
    files = {f"group_vars__g{g}_yml": "".join(f"v{n}: {n}\n" for n in range(100)) for g in range(20)}
    write(tmp_path, hosts_yaml=text, **files)
    start = time.process_time()
    found = load_inventory(str(tmp_path / "hosts.yaml"))
    assert time.process_time() - start < 3
    assert len(found.hosts) == 10_000
    assert found.hosts["h3-004"].vars["v99"] == 99
    assert os.fspath(found.path or "") == str(tmp_path / "hosts.yaml")


def test_a_pattern_that_matches_nothing_has_the_place_it_was_written_at(tmp_path: Path) -> None:
    """Where a play names no host that there is, the mistake is at the play's hosts; no built-in group is suggested."""
    place = Source("site.yaml", 1, 10)
    found = load(tmp_path, FLEET)
    with pytest.raises(InputError) as caught:
        found.select("nosuchgroup", source=place)
    assert (caught.value.message, caught.value.source) == ("no host or group matches 'nosuchgroup'", place)
    assert mistakes(lambda: found.select("nosuch,other,nano", source=place)) == [
        (1, 10, "no host or group matches 'nosuch'"),
        (1, 10, "no host or group matches 'other'"),
    ]


def test_a_broken_file_of_vars_hides_nothing(tmp_path: Path) -> None:
    """A loop of groups, a host that is wrong and files of vars that cannot be read are reported together."""
    text = "a: {children: {b: }, hosts: {h: [1], i: }}\nb: {children: {a: }}\n"
    found = wrong(tmp_path, text, group_vars__a_yml="[1", group_vars__b_yml="[1]", host_vars__i_yml="a: b: c")
    assert len(found) == 5


def test_with_a_list_mistakes_go_there_and_the_hosts_are_read(tmp_path: Path) -> None:
    """With a list for errors the hosts come back beside them, and the inventory says that it is incomplete."""
    write(tmp_path, hosts_yaml="all: {hosts: {h: {ansible_port: x}}}", group_vars__all_yml="[1")
    errors: list[InputError] = []
    found = load_inventory(str(tmp_path / "hosts.yaml"), errors=errors)
    assert list(found.hosts) == ["h"]
    assert found.incomplete
    assert len(errors) == 1


def test_folders_that_cannot_be_read_are_input_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of vars that may not be listed is a mistake of the input, and no traceback."""
    write(tmp_path, hosts_yaml="all: {hosts: h}", group_vars__all_yml="x: 1")

    def refuse(self: Path) -> object:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert "Permission denied" in mistakes(lambda: load_inventory(str(tmp_path / "hosts.yaml")))[0][2]
