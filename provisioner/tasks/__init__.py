"""The task types: importing this package announces them, and each is imported when a playbook first uses it.

Most of a short run's time would else go into modules that it has no use for.
"""

from __future__ import annotations

from provisioner.model import announce_tasks

NAMES = {
    "apt": ("apt",),
    "assertion": ("assert",),
    "authorized_key": ("authorized_key",),
    "blockinfile": ("blockinfile",),
    "clock": ("clock",),
    "command": ("command", "shell"),
    "copy": ("copy",),
    "debug": ("debug",),
    "docker_runtime": ("docker_runtime",),
    "dpkg_selections": ("dpkg_selections",),
    "fail": ("fail",),
    "file": ("file",),
    "group": ("group",),
    "hostname": ("hostname",),
    "jetson_image": ("jetson_image",),
    "jetson_packages": ("jetson_runtime_packages",),
    "jetson_preflight": ("jetson_preflight",),
    "jetson_verify": ("jetson_verify",),
    "lineinfile": ("lineinfile",),
    "onboard_check": ("onboard_check",),
    "reboot": ("reboot",),
    "service": ("service", "systemd", "systemd_service"),
    "set_fact": ("set_fact",),
    "stat": ("stat",),
    "template": ("template",),
    "user": ("user",),
}
"""The names of the task types, by the module that holds them."""

announce_tasks({name: f"{__name__}.{module}" for module, names in NAMES.items() for name in names})
