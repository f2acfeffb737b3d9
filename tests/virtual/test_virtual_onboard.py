"""A new unit on a real machine: genuine sshd, PAM, sudo, visudo and systemd; from password-only to applied."""

from __future__ import annotations

import re
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest
from machine import Jetson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from user import Ended, User

INVENTORY = "inventory/bench.yaml"
WORD = "jetson-word"
ONE = f"all:\n  hosts:\n    bench:\n      virtual: orin-nano-36.4.3 sudo_password={WORD}\n"
PASSWORD_ONLY = r"""
rm -f /home/nvidia/.ssh/authorized_keys
sed -i -E '/^[#[:space:]]*(PasswordAuthentication|KbdInteractiveAuthentication|UsePAM)/d' /etc/ssh/sshd_config
printf 'PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM yes\n' >>/etc/ssh/sshd_config
systemctl restart ssh
"""
"""The machine was born with the lab's key: afterwards nothing but nvidia's password gets in, and PAM asks for it."""


@pytest.fixture(scope="module")
def bench(user: User) -> Iterator[Jetson]:
    """Yield a machine into which only a password gets, for a user with no keys of any kind."""
    user.write(INVENTORY, ONE)
    up = user.run("lab", "up", INVENTORY)
    assert up.code == 0, up.all
    with tempfile.TemporaryDirectory(prefix="home-") as home:
        # The base of all machines lies in the real home's cache.
        cache = user.environment.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
        own = {**user.environment, "HOME": home, "XDG_CACHE_HOME": cache, "SSH_AUTH_SOCK": ""}
        machine = Jetson(replace(user, environment=own), "bench", lab_name="bench")
        machine.run(PASSWORD_ONLY)
        yield machine


def fingerprint(machine: Jetson) -> str:
    """Return the host key's fingerprint as one reads it on the machine."""
    return machine.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split()[1]


def port(machine: Jetson) -> int:
    """Return the port of the machine's SSH server on loopback."""
    up = machine.user.run("lab", "up", INVENTORY)
    found = re.search(r"^bench: ssh .* -p (\d+) ", up.out, re.MULTILINE)
    assert found, up.all
    return int(found[1])


def ways_in(machine: Jetson) -> set[str]:
    """Return the ways to log in that its sshd offers."""
    transport = paramiko.Transport(socket.create_connection(("127.0.0.1", port(machine)), timeout=60))
    try:
        transport.start_client(timeout=120)
        with pytest.raises(paramiko.BadAuthenticationType) as caught:
            transport.auth_none("nvidia")
        return set(caught.value.allowed_types)
    finally:
        transport.close()


def onboard(machine: Jetson, *more: str, password: str | None = WORD) -> Ended:
    """Onboard the machine by the name that the inventory has for it."""
    given = {} if password is None else {"PROVISION_PASSWORD": password}
    someone = replace(machine.user, environment={**machine.user.environment, **given})
    return someone.run("onboard", "bench", "-i", INVENTORY, "--host-key", fingerprint(machine), "--yes", *more)


def test_a_refused_password_changes_nothing(bench: Jetson) -> None:
    """A wrong password ends with the reason; disk and inventory are as they were."""
    before = bench.run("find /home/nvidia/.ssh /etc/sudoers.d /etc/ssh -type f | sort | xargs sha256sum")
    ended = onboard(bench, password="wrong")
    assert ended.code == 2, ended.all
    assert "refused to log in nvidia" in ended.err
    assert bench.run("find /home/nvidia/.ssh /etc/sudoers.d /etc/ssh -type f | sort | xargs sha256sum") == before
    assert (bench.user.folder / INVENTORY).read_text() == ONE


def test_a_dry_run_touches_nothing(bench: Jetson) -> None:
    """All stages are shown, sshd's settings too, and no file of the machine is another one."""
    # sudo leaves a mark of its own in the home of whoever uses it for the first time
    listed = "find /home/nvidia /etc -type f ! -name .sudo_as_admin_successful | sort | xargs sha256sum"
    before = bench.run(listed)
    told = onboard(bench, "--dry-run", "--disable-password")
    assert told.code == 0, told.all
    for part in ("The public key may log in", "sudo without a password", "+PasswordAuthentication no", "jetson_l4t"):
        assert part in told.out
    assert bench.run(listed) == before


def test_from_password_only_to_applied(bench: Jetson) -> None:
    """The key gets in and is proven, sudo asks no more, passwords are off, the clock is right, and apply has run."""
    bench.run("systemctl stop systemd-timesyncd 2>/dev/null || :; date -u -s '2019-01-01 00:00:00' >/dev/null")
    # The lab's own key is what `apply` logs in with: a lab's device is reached as the lab says.
    lab_key = (bench.lab / "id_ed25519.pub").read_text().strip()
    bench.run(
        "install -m 0600 -o nvidia -g nvidia /dev/null /home/nvidia/.ssh/authorized_keys; "
        f"echo '{lab_key}' >>/home/nvidia/.ssh/authorized_keys"
    )
    done = onboard(bench, "--disable-password", "--apply")
    assert done.code == 0, done.all
    assert WORD not in done.all
    assert ways_in(bench) == {"publickey"}
    own_key = (Path(bench.user.environment["HOME"]) / ".ssh" / "id_ed25519.pub").read_text().strip()
    assert own_key in bench.run("cat /home/nvidia/.ssh/authorized_keys")
    assert bench.run("stat -c '%U %a' /home/nvidia/.ssh/authorized_keys") == "nvidia 600"
    assert bench.run("visudo -c >/dev/null && su nvidia -c 'sudo -k -n id -u'") == "0"
    assert bench.run("stat -c '%U %a' /etc/sudoers.d/90-provision-nvidia") == "root 440"
    assert int(bench.run("date +%Y")) >= 2025
    assert bench.run("/usr/sbin/sshd -t && echo sound") == "sound"
    assert bench.docker("{{.DefaultRuntime}}") == "nvidia"
    assert bench.run("find / -xdev -name '.provision.*' ! -path '/proc/*'") == ""
    text = (bench.user.folder / INVENTORY).read_text()
    assert "jetson_l4t: 36.4.3" in text
    assert "jetson_machine_id:" in text


def test_the_second_run_is_done(bench: Jetson) -> None:
    """The unit is in already: no question, no password, no change on the disk."""
    before = bench.run("find /home/nvidia/.ssh /etc/sudoers.d /etc/ssh -type f | sort | xargs sha256sum")
    again = onboard(bench, password=None)
    assert again.code == 0, again.all
    assert "already" in again.out
    assert bench.run("find /home/nvidia/.ssh /etc/sudoers.d /etc/ssh -type f | sort | xargs sha256sum") == before
