"""The NVIDIA container toolkit's programs, as far as a device without a GPU can have them."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import json
import os

from . import state

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

_CONFIG = "/etc/docker/daemon.json"


def main(argv: list[str]) -> int:
    """Run nvidia-ctk, or say what version the others are."""
    name = os.path.basename(argv[0])  # noqa: PTH119
    words = argv[1:]
    if words[:1] in (["--version"], ["-v"]):
        title = {"nvidia-ctk": "NVIDIA Container Toolkit CLI version"}.get(name, f"{name} version")
        print(f"{title} {_version()}\ncommit: simulated")
        return 0
    if name == "nvidia-ctk" and words[:2] == ["runtime", "configure"]:
        return _configure(argv, words[2:])
    return state.unknown(argv)


def _version() -> str:
    return state.database()["nvidia-container-toolkit"]["Version"].rpartition("-")[0]


def _configure(argv: list[str], words: list[str]) -> int:
    options = {"--runtime": "docker", "--config": _CONFIG}
    flags = set()
    for word in words:
        name, equals, value = word.partition("=")
        if name in options and equals:
            options[name] = value
        elif name in ("--set-as-default", "--nvidia-set-as-default", "--dry-run"):
            flags.add(name)
        else:
            state.unknown(argv)
    if options["--runtime"] != "docker":
        state.unknown(argv)
    path = options["--config"]
    config = _read(path)
    config.setdefault("runtimes", {})["nvidia"] = {"args": [], "path": "nvidia-container-runtime"}
    if flags - {"--dry-run"}:
        config["default-runtime"] = "nvidia"
    text = json.dumps(config, indent=4, sort_keys=True) + "\n"
    if "--dry-run" in flags:
        print(text, end="")
        return 0
    if os.geteuid():
        state.fail(
            1, f"ERRO[0000] unable to flush config: unable to open {path} for writing: open {path}: permission denied"
        )
    state.replace(path, text)
    _log(f"Wrote updated config to {path}")
    _log("It is recommended that docker daemon be restarted.")
    return 0


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except FileNotFoundError:
        _log("Config file does not exist; using empty config")
        return {}
    _log(f"Loading config from {path}")
    try:
        found = json.loads(text)
    except ValueError:
        state.fail(1, f'ERRO[0000] unable to load config for runtime docker: unable to read config file "{path}"')
    return found if isinstance(found, dict) else {}


def _log(text: str) -> None:
    import sys

    sys.stderr.write(f'time="simulated" level=info msg="{text}"\n')
