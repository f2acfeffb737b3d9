"""The playbook: sections of ten tasks, as many as asked for, in words that Ansible and ours share.

python -m bench.work.playbook 20      prints it
"""

from __future__ import annotations

import sys
from pathlib import Path

FILES = Path(__file__).parent
PER_SECTION = 10
_HEAD = """\
- name: a service and what it needs
  hosts: all
  gather_facts: false
  vars:
    service: detector
  handlers:
    - name: the service was changed
      ansible.builtin.shell: echo restarted >>{{ tree }}/restarts
  tasks:
"""
_SECTION = (
    """\
    - name: folder @
      ansible.builtin.file:
        path: "{{ tree }}/app@"
        state: directory
        mode: "0755"
""",
    f"""\
    - name: settings @
      ansible.builtin.copy:
        src: {FILES}/settings.ini
        dest: "{{{{ tree }}}}/app@/settings.ini"
        mode: "0644"
      notify: the service was changed
""",
    f"""\
    - name: configuration @
      ansible.builtin.template:
        src: {FILES}/service.conf.j2
        dest: "{{{{ tree }}}}/app@/service.conf"
        mode: "0640"
      notify: the service was changed
""",
    """\
    - name: limit of files @
      ansible.builtin.lineinfile:
        path: "{{ tree }}/app@/limits"
        line: nofile=65536
        create: true
""",
    """\
    - name: hosts @
      ansible.builtin.blockinfile:
        path: "{{ tree }}/app@/hosts"
        block: |-
          10.0.0.1 registry
          10.0.0.2 build
        create: true
        mode: "0600"
""",
    """\
    - name: look at the configuration @
      ansible.builtin.stat:
        path: "{{ tree }}/app@/service.conf"
        get_checksum: false
      register: found
""",
    """\
    - name: release @
      ansible.builtin.copy:
        content: "release @ of {{ inventory_hostname }}\\n"
        dest: "{{ tree }}/app@/release"
        mode: "0644"
      when: found.stat.exists
""",
    """\
    - name: initialise once @
      ansible.builtin.command:
        cmd: touch {{ tree }}/app@/initialised
        creates: "{{ tree }}/app@/initialised"
""",
    """\
    - name: current settings @
      ansible.builtin.file:
        src: "{{ tree }}/app@/settings.ini"
        dest: "{{ tree }}/app@/current"
        state: link
""",
    """\
    - name: limit of processes @
      ansible.builtin.lineinfile:
        path: "{{ tree }}/app@/limits"
        regexp: ^nproc=
        line: nproc=4096
        create: true
""",
)


def text(tasks: int) -> str:
    """Return a playbook of so many tasks and a handler."""
    parts = (_SECTION[n % PER_SECTION].replace("@", str(n // PER_SECTION)) for n in range(tasks))
    return _HEAD + "\n".join(parts)


def expected(tasks: int, host: str) -> dict[str, tuple[str, str]]:
    """Return what a host's tree then holds: kind and mode, and the content, by path."""
    tree = {"restarts": ("0644", "restarted\n")}
    for section in range((tasks + PER_SECTION - 1) // PER_SECTION):
        made = _section(section, host)
        here = tasks - section * PER_SECTION
        tree |= {f"app{section}{name}": made[name] for at, name in _MADE_BY if at < here}
        if (limits := f"app{section}/limits") in tree and here < PER_SECTION:
            tree[limits] = ("0644", "nofile=65536\n")
    return tree


_MADE_BY = (
    (0, ""),
    (1, "/settings.ini"),
    (2, "/service.conf"),
    (3, "/limits"),
    (4, "/hosts"),
    (6, "/release"),
    (7, "/initialised"),
    (8, "/current"),
)


def _section(number: int, host: str) -> dict[str, tuple[str, str]]:
    workers = "".join(f"worker.{n} = {host}-{n}\n" for n in range(4))
    return {
        "": ("0755", "folder"),
        "/settings.ini": ("0644", (FILES / "settings.ini").read_text()),
        "/service.conf": ("0640", f"# The service of {host}\n[unit]\nname = detector\nhost = {host}\n{workers}"),
        "/limits": ("0644", "nofile=65536\nnproc=4096\n"),
        "/hosts": (
            "0600",
            "# BEGIN ANSIBLE MANAGED BLOCK\n10.0.0.1 registry\n10.0.0.2 build\n# END ANSIBLE MANAGED BLOCK\n",
        ),
        "/release": ("0644", f"release {number} of {host}\n"),
        "/initialised": ("0644", ""),
        "/current": ("link", "settings.ini"),
    }


if __name__ == "__main__":
    print(text(int(sys.argv[1])), end="")
