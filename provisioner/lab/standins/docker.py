"""docker and dockerd: the client, as far as a provisioner and its reader need it."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import os
import sys

from . import dockerd, images, state, template

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_ROOT_SHELL = f"{state.RUN}/rootsh"
_SOCKET = "unix:///var/run/docker.sock"


def main(argv: list[str]) -> int:
    """Run docker or dockerd."""
    if os.path.basename(argv[0]) == "dockerd":  # noqa: PTH119
        return _dockerd(argv)
    words = argv[1:]
    if words[:1] in (["--version"], ["-v"]):
        print(f"Docker version {_version()}, build simulated")
        return 0
    name = " ".join(words[:2]) if words[:1] in (["image"], ["container"], ["system"]) else (words or [""])[0]
    command = _COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        state.unknown(argv)
    if words[0] != "version":
        _as_root(argv)
        if dockerd.running() is None:
            _no_daemon(words)
    return command(words[len(name.split()) :], argv)


def _as_root(argv: list[str]) -> None:
    """Go on as root if the caller may talk to the daemon: root, or group docker."""
    if os.geteuid() == 0:
        return
    import grp

    if "docker" not in {grp.getgrgid(gid).gr_name for gid in os.getgroups() if _has_group(gid)}:
        place = "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/"
        state.fail(
            1,
            f"permission denied while trying to connect to the Docker daemon socket at {_SOCKET}: "
            f'Get "{place}": dial unix /var/run/docker.sock: connect: permission denied',
        )
    again = 'exec setpriv --reuid=0 --regid=0 --init-groups -- "$@"'
    os.execv(_ROOT_SHELL, ["sh", "-p", "-c", again, "sh", f"{state.BROUGHT}/docker", *argv[1:]])  # noqa: S606


def _has_group(gid: int) -> bool:
    import grp

    try:
        grp.getgrgid(gid)
    except KeyError:
        return False
    return True


def _no_daemon(words: list[str]) -> None:
    said = f"Cannot connect to the Docker daemon at {_SOCKET}. Is the docker daemon running?"
    if words[0] == "info":
        state.fail(1, f"ERROR: {said}", "errors pretty printing info")
    state.fail(1, said)


def _version() -> str:
    stanza = state.database().get("docker.io") or state.database().get("docker-ce")
    version = stanza["Version"] if stanza else "0"
    return version.rpartition(":")[2].partition("-")[0]


def _dockerd(argv: list[str]) -> int:
    words = argv[1:]
    if words[:1] in (["--version"], ["-v"]):
        print(f"Docker version {_version()}, build simulated")
        return 0
    if "--validate" not in words:
        state.unknown(argv)
    if int(_version().partition(".")[0]) < 23:  # noqa: PLR2004 - the first that has it
        state.fail(125, "unknown flag: --validate", "See 'dockerd --help'.")
    path = dockerd.CONFIG
    for place, word in enumerate(words):
        if word.startswith("--config-file="):
            path = word.partition("=")[2]
        elif word == "--config-file":
            path = words[place + 1]
    _config, why = dockerd.check(path)
    if why and why.startswith("specified default runtime"):
        why = f"unable to configure the Docker daemon with file {path}: {why}"
    if why:
        state.fail(1, why)
    print("configuration OK")
    return 0


class _Options:
    """The options of a command: those that take a value, and those that do not."""

    def __init__(
        self, words: list[str], argv: list[str], values: str = "", flags: str = "", *, first: bool = False
    ) -> None:
        self.values: dict[str, list[str]] = {}
        self.flags: set[str] = set()
        self.words: list[str] = []
        takes, bare = set(values.split()), set(flags.split())
        rest = list(words)
        while rest:
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            if not word.startswith("-") or word == "-":
                self.words.append(word)
                if first:
                    self.words += rest
                    return
            elif name in takes:
                self.values.setdefault(name, []).append(
                    value if equals else rest.pop(0) if rest else state.unknown(argv)
                )
            elif name in bare:
                if value != "false":
                    self.flags.add(name)
            elif not word.startswith("--") and all(f"-{c}" in bare for c in word[1:]):
                self.flags |= {f"-{c}" for c in word[1:]}
            else:
                state.unknown(argv)

    def value(self, *names: str) -> str:
        return next((self.values[name][-1] for name in names if name in self.values), "")


def _show(argv: list[str], form: str, value: Any) -> None:
    try:
        print(template.render("{{json .}}" if form == "json" else form, value))
    except (template.Unknown, LookupError, TypeError):
        state.unknown(argv)


def _docker_version(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format -f")
    architecture = state.device()["architecture"]
    client = {"Version": _version(), "ApiVersion": "1.41", "Os": "linux", "Arch": architecture}
    live = dockerd.running()
    server = client if live else None
    form = options.value("--format", "-f")
    if form and live:
        _show(argv, form, {"Client": client, "Server": server})
        return 0
    if form and "Server" not in form:
        _show(argv, form, {"Client": client, "Server": server})
    elif not form:
        print(f"Client:\n Version:           {_version()}\n OS/Arch:           linux/{architecture}")
    if live:
        print(f"\nServer:\n Engine:\n  Version:          {_version()}\n  OS/Arch:          linux/{architecture}")
        return 0
    _no_daemon(["version"])
    return 1


def _info(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format -f")
    value = _facts()
    form = options.value("--format", "-f")
    if form:
        _show(argv, form, value)
        return 0
    print("Server:")
    for key, title in (
        ("Containers", "Containers"),
        ("Images", "Images"),
        ("ServerVersion", "Server Version"),
        ("Driver", "Storage Driver"),
        ("CgroupDriver", "Cgroup Driver"),
    ):
        print(f" {title}: {value[key]}")
    print(f" Runtimes: {' '.join(value['Runtimes'])}\n Default Runtime: {value['DefaultRuntime']}")
    print(f" Kernel Version: {value['KernelVersion']}\n Architecture: {value['Architecture']}")
    print(f" Docker Root Dir: {value['DockerRootDir']}")
    print(" Simulation: true")
    for warning in value["Warnings"]:
        print(warning)
    return 0


def _facts() -> dict[str, Any]:
    live, store, device = dockerd.running() or {"config": {}, "environment": []}, dockerd.load(), state.device()
    config = live["config"]
    up = sum(1 for container in store["containers"].values() if container["running"])
    own = {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}}
    return {
        "ID": "simulated",
        "Name": os.uname().nodename,
        "Containers": len(store["containers"]),
        "ContainersRunning": up,
        "ContainersPaused": 0,
        "ContainersStopped": len(store["containers"]) - up,
        "Images": len(store["images"]),
        "Driver": config.get("storage-driver", "overlay2"),
        "ServerVersion": _version(),
        "DefaultRuntime": config.get("default-runtime", "runc"),
        "Runtimes": {**own, **config.get("runtimes", {})},
        "DockerRootDir": config.get("data-root", "/var/lib/docker"),
        "KernelVersion": device["kernel"],
        "OperatingSystem": f"Ubuntu {device['ubuntu']} LTS" if "ubuntu" in device else "Debian",
        "OSType": "linux",
        "Architecture": device["machine"],
        "CgroupDriver": "cgroupfs",
        "LoggingDriver": config.get("log-driver", "json-file"),
        "LiveRestoreEnabled": config.get("live-restore", False),
        "RegistryConfig": {"Mirrors": config.get("registry-mirrors", [])},
        "Labels": config.get("labels", []),
        "Warnings": [f"WARNING: {_RAW} is set"] if f"{_RAW}=1" in live["environment"] else [],
        "ServerErrors": [],
    }


_RAW = "DOCKER_INSECURE_NO_IPTABLES_RAW"


def _pull(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--platform", "-q --quiet -a --all-tags")
    if len(options.words) != 1 or options.flags & {"-a", "--all-tags"}:
        state.unknown(argv)
    return images.pull(
        options.words[0], quiet=bool(options.flags), platform=options.value("--platform") or images.platform()
    )


def _image_inspect(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format -f", "")
    store, found, status = dockerd.load(), [], 0
    form = options.value("--format", "-f")
    for word in options.words:
        image = images.find(store, word)
        if image is None:
            status = 1
            continue
        found.append(images.inspected(image))
        if form:
            _show(argv, form, found[-1])
    if not form:
        import json

        print(json.dumps(found, indent=4))
    for word in options.words:
        if images.find(store, word) is None:
            sys.stdout.flush()
            sys.stderr.write(f"Error response from daemon: No such image: {images.with_tag(word)}\n")
    return status


def _inspect(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format -f --type", "")
    store = dockerd.load()
    container = _container(store, options.words[0]) if len(options.words) == 1 else None
    if container is None or options.value("--type") == "image":
        return _image_inspect([word for word in words if not word.startswith("--type")], argv)
    shown = {
        "Id": container["id"],
        "Name": f"/{container['name']}",
        "Image": container["image_id"],
        "State": {"Running": container["running"], "Status": "running" if container["running"] else "exited"},
        "HostConfig": {"Runtime": container["runtime"], "RestartPolicy": {"Name": container["policy"] or "no"}},
        "Config": {"Image": container["image"], "Labels": container["labels"]},
    }
    if options.value("--format", "-f"):
        _show(argv, options.value("--format", "-f"), shown)
        return 0
    import json

    print(json.dumps([shown], indent=4))
    return 0


def _images(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format --filter -f", "-q --quiet --digests --no-trunc -a --all")
    if options.value("--filter", "-f"):
        state.unknown(argv)
    rows = images.rows(dockerd.load(), options.words[0] if options.words else "", full="--no-trunc" in options.flags)
    form = options.value("--format")
    if options.flags & {"-q", "--quiet"}:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    elif form and not form.startswith("table"):
        for row in rows:
            _show(argv, form, row)
    else:
        columns = [
            "Repository",
            "Tag",
            *(["Digest"] if "--digests" in options.flags else []),
            "ID",
            "CreatedSince",
            "Size",
        ]
        _table(columns, rows, {"ID": "IMAGE ID", "CreatedSince": "CREATED"})
    return 0


def _table(columns: list[str], rows: list[dict[str, str]], titles: dict[str, str]) -> None:
    lines = [[titles.get(column, column.upper()) for column in columns], *([row[c] for c in columns] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        print("   ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _tag(words: list[str], argv: list[str]) -> int:
    if len(words) != 2:  # noqa: PLR2004
        state.unknown(argv)
    return images.tag(words[0], words[1])


def _rmi(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "", "-f --force --no-prune")
    return images.remove(options.words, force=bool(options.flags & {"-f", "--force"}))


def _container(store: dict[str, Any], word: str) -> dict[str, Any] | None:
    for container in store["containers"].values():
        if word in (container["name"], container["id"]) or (len(word) >= 4 and container["id"].startswith(word)):  # noqa: PLR2004
            found: dict[str, Any] = container
            return found
    return None


def _ps(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "--format --filter -f -n --last", "-a --all -q --quiet --no-trunc -l")
    shown = []
    for container in dockerd.load()["containers"].values():
        if not (container["running"] or options.flags & {"-a", "--all"}):
            continue
        if all(
            _passes(container, condition, argv)
            for name in ("--filter", "-f")
            for condition in options.values.get(name, [])
        ):
            shown.append(_row(container, full="--no-trunc" in options.flags))
    form = options.value("--format")
    if options.flags & {"-q", "--quiet"}:
        print("".join(f"{row['ID']}\n" for row in shown), end="")
    elif form and not form.startswith("table"):
        for row in shown:
            _show(argv, form, row)
    else:
        columns = ["ID", "Image", "Command", "CreatedAt", "Status", "Ports", "Names"]
        _table(columns, shown, {"ID": "CONTAINER ID", "CreatedAt": "CREATED"})
    return 0


def _passes(container: dict[str, Any], condition: str, argv: list[str]) -> bool:
    key, _, value = condition.partition("=")
    if key == "name":
        return value.strip("^$/") in container["name"]
    if key == "status":
        return bool(container["running"]) == (value == "running")
    if key == "label":
        name, equals, wanted = value.partition("=")
        return name in container["labels"] and (not equals or container["labels"][name] == wanted)
    if key == "ancestor":
        return value in (container["image"], container["image_id"])
    return state.unknown(argv)


def _row(container: dict[str, Any], *, full: bool) -> dict[str, str]:
    return {
        "ID": container["id"] if full else container["id"][:12],
        "Image": container["image"],
        "Command": '"' + " ".join(container["command"])[:20] + '"',
        "CreatedAt": container["created"],
        "RunningFor": "simulated",
        "Ports": "",
        "State": "running" if container["running"] else "exited",
        "Status": "Up (simulated)" if container["running"] else "Exited (0)",
        "Names": container["name"],
        "Labels": ",".join(f"{key}={value}" for key, value in container["labels"].items()),
    }


def _set_running(*, on: bool) -> Callable[[list[str], list[str]], int]:
    def act(words: list[str], argv: list[str]) -> int:
        options = _Options(words, argv, "-t --time --timeout -s --signal", "")
        return _each_container(options.words, lambda _store, found: found.update(running=on, stopped=not on))

    return act


def _rm(words: list[str], argv: list[str]) -> int:
    options = _Options(words, argv, "", "-f --force -v --volumes")
    force = bool(options.flags & {"-f", "--force"})

    def drop(store: dict[str, Any], found: dict[str, Any]) -> None:
        if found["running"] and not force:
            why = "container is running: stop the container before removing or force remove"
            state.fail(1, f'Error response from daemon: cannot remove container "/{found["name"]}": {why}')
        del store["containers"][found["id"]]

    return _each_container(options.words, drop)


def _each_container(words: list[str], act: Callable[[dict[str, Any], dict[str, Any]], None]) -> int:
    status = 0
    with state.locked("docker"):
        store = dockerd.load()
        for word in words:
            found = _container(store, word)
            if found is None:
                sys.stderr.write(f"Error response from daemon: No such container: {word}\n")
                status = 1
                continue
            act(store, found)
            if found.get("rm") and not found["running"]:
                store["containers"].pop(found["id"], None)
            print(word)
        dockerd.save(store)
    return status


def _run(words: list[str], argv: list[str]) -> int:
    from . import containers

    options = _Options(
        words,
        argv,
        "--name --runtime --gpus -e --env --network --net --entrypoint --ipc --pull -v --volume -w --workdir --user -u "
        "--label -l --shm-size --restart --device --ulimit --group-add --pid --platform --hostname -h --mount "
        "--cap-add --security-opt -p --publish --memory -m --log-driver --add-host --env-file",
        "--rm -i --interactive -t --tty -d --detach --privileged --init -q --quiet --read-only",
        first=True,
    )
    return containers.run(options.words, options.values, options.flags, argv)


def _df(_words: list[str], argv: list[str]) -> int:
    return state.unknown(argv)


_ALIASES = {
    "image pull": "pull",
    "image ls": "images",
    "image list": "images",
    "image rm": "rmi",
    "image remove": "rmi",
    "image tag": "tag",
    "container ls": "ps",
    "container list": "ps",
    "container ps": "ps",
    "container rm": "rm",
    "container stop": "stop",
    "container start": "start",
    "container run": "run",
    "system info": "info",
    "container inspect": "inspect",
}
_COMMANDS: dict[str, Callable[[list[str], list[str]], int]] = {
    "version": _docker_version,
    "info": _info,
    "pull": _pull,
    "image inspect": _image_inspect,
    "inspect": _inspect,
    "images": _images,
    "tag": _tag,
    "rmi": _rmi,
    "ps": _ps,
    "stop": _set_running(on=False),
    "kill": _set_running(on=False),
    "start": _set_running(on=True),
    "restart": _set_running(on=True),
    "rm": _rm,
    "run": _run,
    "system df": _df,
}
