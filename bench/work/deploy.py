"""The playbook's work for pyinfra, task by task. Its own words are used where it has them."""

from io import StringIO
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.facts.files import File
from pyinfra.operations import files, server

FILES = Path(host.data.work_files)
TREE = host.data.tree
changes: list[Any] = []


def folder(at: str, _: int) -> None:
    files.directory(name=f"folder {at}", path=at, mode="755")


def settings(at: str, _: int) -> None:
    changes.append(files.put(src=str(FILES / "settings.ini"), dest=f"{at}/settings.ini", mode="644"))


def configuration(at: str, _: int) -> None:
    changes.append(
        files.template(
            src=str(FILES / "service.conf.j2"),
            dest=f"{at}/service.conf",
            mode="640",
            service="detector",
            inventory_hostname=host.name,
            jinja_env_kwargs={"trim_blocks": True},
        )
    )


def limit_of_files(at: str, _: int) -> None:
    files.line(path=f"{at}/limits", line="nofile=65536")


def hosts(at: str, _: int) -> None:
    files.block(
        path=f"{at}/hosts",
        content="10.0.0.1 registry\n10.0.0.2 build",
        marker="# {mark} ANSIBLE MANAGED BLOCK",
    )


def look(at: str, _: int) -> None:
    host.get_fact(File, path=f"{at}/service.conf")


def release(at: str, number: int) -> None:
    files.put(src=StringIO(f"release {number} of {host.name}\n"), dest=f"{at}/release", mode="644")


def initialise(at: str, _: int) -> None:
    if not host.get_fact(File, path=f"{at}/initialised"):
        server.shell(commands=[f"touch {at}/initialised"])


def current(at: str, _: int) -> None:
    files.link(path=f"{at}/current", target=f"{at}/settings.ini")


def limit_of_processes(at: str, _: int) -> None:
    files.line(path=f"{at}/limits", line="^nproc=.*", replace="nproc=4096")


SECTION = (
    folder,
    settings,
    configuration,
    limit_of_files,
    hosts,
    look,
    release,
    initialise,
    current,
    limit_of_processes,
)
for task in range(host.data.tasks):
    SECTION[task % len(SECTION)](f"{TREE}/app{task // len(SECTION)}", task // len(SECTION))
server.shell(
    name="the service was changed",
    commands=[f"echo restarted >>{TREE}/restarts"],
    _if=lambda: any(one.did_change() for one in changes),
)
