"""`docker run`: what is simulated is a container that runs Python, with a torch that knows its runtime."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid

from . import dockerd, images, state

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

_CONTAINER = "/usr/local/lib/simulation/container"
_PYTHON = f"/usr/local/python/bin/python3.{sys.version_info.minor}"
_NO_RAW = (
    "failed to create endpoint {name} on network bridge: Unable to enable DIRECT ACCESS FILTERING - DROP rule: "
    "(iptables failed: iptables --wait -t raw -A PREROUTING ! -i docker0 -j DROP: "
    "iptables: can't initialize iptables table `raw': Table does not exist (do you need to insmod?))"
)


def run(words: list[str], values: dict[str, list[str]], flags: set[str], argv: list[str]) -> int:
    """Run a container, or record one that runs on."""
    if not words:
        state.fail(125, '"docker run" requires at least 1 argument.', "See 'docker run --help'.")
    image = _image(words[0], values)
    live = dockerd.running() or {"config": {}, "environment": []}
    runtime = _one(values, "--runtime") or live["config"].get("default-runtime", "runc")
    _check_runtime(runtime, live["config"])
    _check_network(values, live["environment"])
    command = _one(values, "--entrypoint").split() + words[1:] or image["config"].get("config", {}).get("Cmd", [])
    if image["config"]["architecture"] != state.device()["architecture"]:
        sys.stderr.write(
            f"WARNING: The requested image's platform (linux/{image['config']['architecture']}) does not match the "
            f"detected host platform ({images.platform()}) and no specific platform was requested\n"
        )
        state.fail(1, f"exec {command[0]}: exec format error")
    if flags & {"-d", "--detach"}:
        return _record(words[0], image, runtime, command, values, flags)
    return _execute(image, runtime, command, values, flags, argv)


def _one(values: dict[str, list[str]], *names: str) -> str:
    return next((values[name][-1] for name in names if name in values), "")


def _image(reference: str, values: dict[str, list[str]]) -> dict[str, Any]:
    found = images.find(dockerd.load(), reference)
    if found is None and _one(values, "--pull") != "never":
        sys.stderr.write(f"Unable to find image '{images.with_tag(reference)}' locally\n")
        saved = os.dup(1)
        os.dup2(2, 1)  # the progress of docker run's own pull goes to stderr
        try:
            images.pull(reference)
            sys.stdout.flush()
        finally:
            os.dup2(saved, 1)
        found = images.find(dockerd.load(), reference)
    if found is None:
        state.fail(125, f"docker: Error response from daemon: No such image: {images.with_tag(reference)}.")
    return found


def _check_runtime(runtime: str, config: dict[str, Any]) -> None:
    if runtime in ("runc", "io.containerd.runc.v2"):
        return
    if runtime not in config.get("runtimes", {}):
        state.fail(
            125,
            f"docker: Error response from daemon: unknown or invalid runtime name: {runtime}.",
            "See 'docker run --help'.",
        )
    path = config["runtimes"][runtime].get("path", "")
    if not shutil.which(path):
        state.fail(
            127,
            "docker: Error response from daemon: failed to create task for container: failed to create shim task: "
            f'OCI runtime create failed: unable to retrieve OCI runtime error: exec: "{path}": executable file '
            "not found in $PATH: unknown.",
        )


def _check_network(values: dict[str, list[str]], environment: list[str]) -> None:
    """Docker 28 on a kernel without the raw table cannot make a bridge's endpoint."""
    if _one(values, "--network", "--net") in ("host", "none") or not state.device().get("docker_needs_raw_table"):
        return
    stanza = state.database().get("docker.io")
    version = stanza["Version"].rpartition(":")[2] if stanza else "0"
    if int(version.partition(".")[0]) >= 28 and "DOCKER_INSECURE_NO_IPTABLES_RAW=1" not in environment:  # noqa: PLR2004
        state.fail(125, f"docker: Error response from daemon: {_NO_RAW.format(name=uuid.uuid4().hex[:12])}.",
                   "See 'docker run --help'.")  # fmt: skip


def _record(  # noqa: PLR0917
    reference: str,
    image: dict[str, Any],
    runtime: str,
    command: list[str],
    values: dict[str, list[str]],
    flags: set[str],
) -> int:
    number = uuid.uuid4().hex * 2
    with state.locked("docker"):
        store = dockerd.load()
        name = _one(values, "--name") or f"simulated_{number[:8]}"
        if any(container["name"] == name for container in store["containers"].values()):
            state.fail(
                125, f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use.'
            )
        labels = dict(word.partition("=")[::2] for key in ("--label", "-l") for word in values.get(key, []))
        store["containers"][number] = {
            "id": number,
            "name": name,
            "image": reference,
            "image_id": image["id"],
            "runtime": runtime,
            "command": command,
            "labels": labels,
            "policy": _one(values, "--restart"),
            "rm": "--rm" in flags,
            "running": True,
            "created": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime()),
        }
        dockerd.save(store)
    print(number)
    return 0


def _execute(  # noqa: PLR0917
    image: dict[str, Any],
    runtime: str,
    command: list[str],
    values: dict[str, list[str]],
    flags: set[str],
    argv: list[str],
) -> int:
    stdin = None if flags & {"-i", "--interactive"} else subprocess.DEVNULL
    program = os.path.basename(command[0]) if command else ""  # noqa: PTH119
    if program in ("python3", "python"):
        done = subprocess.run(
            [_PYTHON, "-S", *command[1:]], env=_environment(image, runtime, values), stdin=stdin, check=False
        )
        return done.returncode
    if command == ["true"]:
        return 0
    if command == ["uname", "-m"]:
        print(state.device()["machine"])
        return 0
    return state.unknown(argv)


def _environment(image: dict[str, Any], runtime: str, values: dict[str, list[str]]) -> dict[str, str]:
    labels = image["config"].get("config", {}).get("Labels", {})
    gpu = state.device().get("gpu", {"name": "", "capability": []})
    own = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": "/root",
        "LD_LIBRARY_PATH": "/usr/local/python/lib",
        "PYTHONPATH": _CONTAINER,
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIMULATED_RUNTIME": runtime,
        "SIMULATED_TORCH": labels.get("torch", ""),
        "SIMULATED_CUDA": labels.get("cuda", ""),
        "SIMULATED_GPU": gpu["name"],
        "SIMULATED_CAPABILITY": ".".join(str(part) for part in gpu["capability"]),
    }
    given = [word for key in ("-e", "--env") for word in values.get(key, [])]
    return own | {word.partition("=")[0]: word.partition("=")[2] or os.environ.get(word, "") for word in given}
