"""What goes wrong on a real machine: the link, refusals, a full disk, a busy dpkg; and a reboot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from one import INVENTORY, POINTS, SERVICE, is_done, sound

if TYPE_CHECKING:
    from machine import Jetson


def test_the_link_is_cut_three_times(fresh: Jetson) -> None:
    """The link breaks while dpkg works, while Docker restarts and during a pull: the same apply ends well."""
    cuts = [(point, fresh.cut_the_link) for point in POINTS]
    code, told = fresh.meanwhile(["apply", INVENTORY], *cuts)
    assert code == 0, told
    sound(fresh)
    is_done(fresh)


def test_a_cut_link_lets_no_second_batch_run(board: Jetson) -> None:
    """With the link cut in the middle, each task runs once, one after the other, and the handler once after them."""
    play = board.user.write("playbooks/handler.yaml", SERVICE)
    board.run("rm -f /srv/*")
    code, told = board.meanwhile(["apply", INVENTORY, play], ("grep -q begin /srv/log", board.cut_the_link))
    assert code == 0, told
    assert board.run("cat /srv/log").split() == ["begin", "end", "handled"]


REFUSED = """
- hosts: board
  become: true
  tasks:
    - docker_runtime: {name: runc, path: /bin/nothing, default: false}
"""


def test_a_daemon_json_that_dockerd_refuses_is_rolled_back(board: Jetson) -> None:
    """The host is failed with dockerd's own words; the old settings are back, and the daemon runs with them."""
    before = board.run("cat /etc/docker/daemon.json")
    ended, _ = board.user.apply(INVENTORY, board.user.write("playbooks/refused.yaml", REFUSED))
    assert ended.code == 2, ended.all
    assert "runtime name 'runc' is reserved" in ended.out
    assert board.run("cat /etc/docker/daemon.json") == before
    assert board.run("systemctl is-active docker") == "active"


HELD_BY_APT = """
setsid apt-get -y -o DPkg::Pre-Invoke::='sleep 1000' remove busybox-static >/dev/null 2>&1 </dev/null &
"""
LOCKED = """
- hosts: board
  become: true
  tasks:
    - apt: {name: busybox-static, state: absent, lock_timeout: 5}
"""


def test_a_busy_dpkg_is_named(board: Jetson) -> None:
    """While a real apt-get holds dpkg's lock, a task that needs it waits as long as it was told to, and names it."""
    board.run(HELD_BY_APT)
    try:
        board.until("pgrep -x sleep", 60)
        ended, _ = board.user.apply(INVENTORY, board.user.write("playbooks/locked.yaml", LOCKED))
    finally:
        board.run("pkill -x sleep || :; pkill -x apt-get || :; while pgrep -x apt-get; do sleep 1; done")
    assert ended.code == 2, ended.all
    assert "holds the lock of dpkg" in ended.out
    assert "apt-get" in ended.out


INTERRUPTED = "dpkg-query -s busybox-static >/var/lib/dpkg/updates/0001"


def test_an_interrupted_dpkg_is_finished_first(board: Jetson) -> None:
    """Where dpkg was interrupted, apt-get refuses to work; the next task that needs it lets dpkg finish first."""
    board.run(INTERRUPTED)
    ended, _ = board.user.apply(INVENTORY, board.user.write("playbooks/locked.yaml", LOCKED))
    assert ended.code == 0, ended.all
    assert "busybox-static" not in board.run("dpkg-query -W -f '${binary:Package}\\n'").split()


LARGE = """
- hosts: board
  become: true
  tasks:
    - copy: {dest: /srv/large, content: "{{ 'x' * 200000 }}"}
"""
FILL = """
fallocate -l $(($(stat -f -c '%a * %S' /) - 1000000)) /srv/fill
cat /dev/zero >/srv/rest 2>/dev/null || :
sync
"""


def test_a_full_disk_is_named(board: Jetson) -> None:
    """On a full disk a file is not half written: the task fails and says why, and the old one stays."""
    board.run("echo old >/srv/large; " + FILL)
    try:
        ended, _ = board.user.apply(INVENTORY, board.user.write("playbooks/large.yaml", LARGE))
        assert board.run("cat /srv/large") == "old"
    finally:
        board.run("rm -f /srv/fill /srv/rest /srv/large")
    assert ended.code == 2, ended.all
    assert "No space left on device" in ended.out


REBOOT = """
- hosts: board
  become: true
  tasks:
    - command: cat /proc/sys/kernel/random/boot_id
      register: before
    - reboot:
    - command: cat /proc/sys/kernel/random/boot_id
      register: after
    - assert: {that: before.stdout != after.stdout}
    - copy: {dest: /srv/rebooted, content: yes}
"""


def test_a_reboot_goes_on_with_the_play(board: Jetson) -> None:
    """The machine restarts, is reached again, and the tasks after it run on the new boot."""
    before = board.run("cat /proc/sys/kernel/random/boot_id")
    ended, report = board.user.apply(INVENTORY, board.user.write("playbooks/reboot.yaml", REBOOT))
    assert ended.code == 0, ended.all
    assert len(report["results"]) == 5
    assert board.run("cat /proc/sys/kernel/random/boot_id") != before
    assert board.run("cat /srv/rebooted")
