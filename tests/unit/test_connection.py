"""From hosts of an inventory to where and how to connect."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003
from typing import Any

import pytest
from written import mistakes, write

from provisioner.connection import Credentials, target_of, wants_root
from provisioner.inventory import load_inventory


def target(folder: Path, variables: str) -> Any:
    write(folder, hosts_yaml=f"all:\n  hosts:\n    h: {{{variables}}}\n")
    inventory = load_inventory(str(folder / "hosts.yaml"))
    return target_of(inventory.hosts["h"], inventory, Credentials(), None, become=False)


@pytest.mark.parametrize(
    ("variables", "column", "words"),
    [
        ("ansible_connection: local", 29, "h: ansible_connection: 'local' is not supported; devices are"),
        ("ansible_connection: shs", 29, "did you mean 'ssh'?"),
        ("ansible_connection: 1", 29, "'1' is not supported"),
        ("ansible_become: maybe", 25, "h: ansible_become: expected yes or no, got 'maybe'"),
        ("ansible_become: '{{ x }}'", 25, "h: ansible_become: expected yes or no"),
        ("ansible_port: ssh", 23, "h: the port 'ssh' is no number"),
        ("ansible_ssh_port: 70000", 27, "h: the port 70000 is not between 1 and 65535"),
        ('ansible_ssh_common_args: "-o \'x"', 34, "h: ansible_ssh_common_args: No closing quotation"),
    ],
)
def test_what_the_inventory_says_of_connecting_is_checked(
    tmp_path: Path, variables: Any, column: Any, words: Any
) -> None:
    """A connection that we have not got, and values that are none, are mistakes at the variable's place."""
    ((line, found, message),) = mistakes(lambda: target(tmp_path, variables))
    assert words in message
    assert (line, found) == (3, column)


def test_all_mistakes_of_a_host_at_once(tmp_path: Path) -> None:
    """Each wrong variable of a host is reported."""
    assert len(mistakes(lambda: target(tmp_path, "ansible_connection: local, ansible_become: x, ansible_port: x"))) == 3


@pytest.mark.parametrize("name", ["ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"])
def test_ssh_by_any_name_is_fine(tmp_path: Path, name: Any) -> None:
    """Ansible's names for SSH are taken."""
    assert target(tmp_path, f"ansible_connection: {name}, ansible_port: '22'").port == 22


@pytest.mark.parametrize(
    ("value", "expected"), [("yes", True), ("'no'", False), ("'false'", False), ("1", True), ("", False)]
)
def test_whether_a_host_wants_root(tmp_path: Path, value: Any, expected: Any) -> None:
    """ansible_become is yes or no as Ansible reads it, quoted or not."""
    write(tmp_path, hosts_yaml=f"all: {{hosts: {{h: {{ansible_become: {value}}}}}}}")
    assert wants_root(load_inventory(str(tmp_path / "hosts.yaml")).hosts["h"]) is expected
