"""The words of a playbook: those we take, and those of Ansible that we do not, each with what to do instead."""

from __future__ import annotations

SHARED = frozenset(
    {
        "name", "vars", "tags", "become", "become_user", "become_method", "no_log", "check_mode", "ignore_errors",
    }
)  # fmt: skip
PLAY = frozenset(
    {
        "name", "hosts", "vars", "vars_files", "tags", "become", "become_user", "become_method", "any_errors_fatal",
        "gather_facts", "serial", "max_fail_percentage", "force_handlers",
        "pre_tasks", "tasks", "post_tasks", "handlers",
    }
)  # fmt: skip
BLOCK = SHARED | {"block", "when", "notify"}
TASK = SHARED | {
    "when", "notify", "loop", "with_items", "loop_control", "register", "changed_when", "failed_when", "args", "listen",
}  # fmt: skip
IMPORTS = ("import_tasks", "include_tasks")

_LOOP = "write `loop:` with a list instead"
_INVENTORY = "set it in the inventory"
UNSUPPORTED: dict[str, str | None] = {
    "environment": "set the variables in the command: `shell: NAME=value program`",
    "run_once": "give it a play of its own, with `hosts:` of one host",
    "diff": "`no_log: true` keeps a task's content from being shown",
    "any_errors_fatal": "write it on the play",
    "action": "write the module's name as the key",
    "local_action": "tasks run on the devices only",
    "delegate_to": "tasks run on the devices only",
    "delegate_facts": None,
    "async": None,
    "poll": None,
    "until": None,
    "retries": None,
    "delay": None,
    "throttle": None,
    "timeout": None,
    "debugger": None,
    "module_defaults": None,
    "collections": "write ansible.builtin names",
    "become_flags": None,
    "become_exe": None,
    "ignore_unreachable": None,
    "remote_user": f"{_INVENTORY}: ansible_user, or use --user",
    "port": f"{_INVENTORY}: ansible_port",
    "connection": f"{_INVENTORY}; devices are reached over SSH",
    "roles": "put the role's tasks into the play, or into a file for import_tasks",
    "import_role": "use import_tasks with a file of tasks",
    "include_role": "use import_tasks with a file of tasks",
    "include": "use import_tasks",
    "rescue": None,
    "always": "for the tag `always`, write tags: always",
    "strategy": "hosts run freely within a batch; see serial",
    "order": None,
    "vars_prompt": "give the value with --extra-vars",
    "gather_subset": "all facts are gathered",
    "gather_timeout": None,
    "fact_path": None,
    "with_dict": _LOOP,
    "with_list": _LOOP,
    "with_fileglob": _LOOP,
    "with_sequence": _LOOP,
    "with_together": _LOOP,
    "with_nested": _LOOP,
    "with_subelements": _LOOP,
    "with_first_found": _LOOP,
    "with_flattened": _LOOP,
    "with_indexed_items": _LOOP,
    "with_file": _LOOP,
    "with_lines": _LOOP,
}
