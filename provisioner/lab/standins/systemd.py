"""systemctl, journalctl and service: the device's units, and the one whose start can fail: docker's."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import os
import sys
import time

from . import dockerd, state

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

_ETC = "/etc/systemd/system"
_OVERRIDES = f"{state.DISK}/units.json"
_LIVE = f"{state.RUN}/units.json"
_LOADED = f"{state.RUN}/loaded.json"
_JOURNAL = f"{state.DISK}/journal.json"
_KINDS = (".service", ".timer", ".socket", ".target", ".path", ".mount")

# As systemctl orders them.
_PROPERTIES = (
    "Type",
    "RemainAfterExit",
    "Restart",
    "MainPID",
    "ExecMainStatus",
    "Result",
    "Environment",
    "Id",
    "Names",
    "Description",
    "LoadState",
    "ActiveState",
    "SubState",
    "FragmentPath",
    "DropInPaths",
    "UnitFileState",
    "UnitFilePreset",
    "NeedDaemonReload",
    "ActiveEnterTimestamp",
    "InvocationID",
    "Triggers",
    "TriggeredBy",
    "CanReload",
)
_OPTIONS = {
    "--no-pager",
    "--quiet",
    "-q",
    "--system",
    "--no-legend",
    "--full",
    "-l",
    "--all",
    "-a",
    "--no-ask-password",
    "--plain",
    "--force",
    "-f",
    "--no-reload",
    "--no-block",
}


def main(argv: list[str]) -> int:
    """Run systemctl, journalctl or service."""
    name = os.path.basename(argv[0])  # noqa: PTH119
    if name == "journalctl":
        return _journalctl(argv)
    if name == "service":
        return main(["systemctl", argv[2], argv[1]]) if len(argv) == 3 else state.unknown(argv)  # noqa: PLR2004
    words, flags, properties = _arguments(argv)
    if "--version" in flags:
        print("systemd 249 (249.11-0ubuntu3.12) (simulated)")
        return 0
    verb, units = (words[0] if words else ""), _named(words[1:])
    if verb in _ASKING:
        return _ASKING[verb](_Units(), units, flags, properties)
    if verb in _ACTING and (units or verb == "daemon-reload"):
        return _act(verb, units, flags)
    if verb in ("reboot", "poweroff"):
        os.execv("/usr/local/bin/reboot", ["reboot"]) if verb == "reboot" else None  # noqa: S606
    return state.unknown(argv)


def _named(words: list[str]) -> list[str]:
    """Return the units that are meant; * is all that are loaded."""
    if words == ["*"]:
        units = _Units()
        return sorted(units.known.keys() | units.live.keys())
    return [_full(word) for word in words]


def _arguments(argv: list[str]) -> tuple[list[str], set[str], list[str]]:
    words: list[str] = []
    flags: set[str] = set()
    properties: list[str] = []
    rest = argv[1:]
    while rest:
        word = rest.pop(0)
        if word in ("-p", "--property") and rest:
            properties += rest.pop(0).split(",")
        elif word.startswith("--property="):
            properties += word.partition("=")[2].split(",")
        elif word.startswith("-p") and len(word) > 2:  # noqa: PLR2004
            properties += word[2:].split(",")
        elif word in ("--value", "--now", "--version", "--state=failed", "--failed", "--runtime") or word in _OPTIONS:
            flags.add(word)
        elif word in ("-n", "--lines") and rest:
            rest.pop(0)
        elif word.startswith("-") and word != "--":
            state.unknown(argv)
        elif word != "--":
            words.append(word)
    if any(name not in _PROPERTIES for name in properties):
        state.unknown(argv)
    return words, flags, properties


def _full(name: str) -> str:
    return name if name.endswith(_KINDS) else f"{name}.service"


class _Units:
    """Every unit that the device has, and the state each is in."""

    def __init__(self) -> None:
        device, database = state.device(), state.database()
        self.known: dict[str, dict[str, Any]] = dict(device["units"])
        for name, entry in device["packages"].items():
            if entry.get("units") and state.installed(database.get(name)):
                self.known |= entry["units"]
        self.overrides: dict[str, dict[str, Any]] = state.read(_OVERRIDES, {})
        self.live: dict[str, dict[str, Any]] = state.read(_LIVE, {})
        self.loaded: dict[str, Any] = state.read(_LOADED, {"files": {}, "environment": {}})

    def save(self) -> None:
        """Write what is kept over a reboot, and what is not."""
        state.write(_OVERRIDES, self.overrides)
        state.write(_LIVE, self.live)

    def exists(self, unit: str) -> bool:
        return unit in self.known or f"{_ETC}/{unit}" in self.loaded["files"]

    def masked(self, unit: str) -> bool:
        return bool(self.overrides.get(unit, {}).get("masked"))

    def file_state(self, unit: str) -> str:
        if self.masked(unit):
            return "masked"
        entry = self.known.get(unit, {})
        if entry.get("static"):
            return "static"
        return "enabled" if self.overrides.get(unit, {}).get("enabled", entry.get("active", False)) else "disabled"

    def active(self, unit: str) -> str:
        return str(self.live.get(unit, {}).get("active", "inactive"))

    def show(self, unit: str) -> dict[str, str]:
        """Return the properties of a unit."""
        live, there = self.live.get(unit, {}), self.exists(unit)
        dropins = sorted(path for path in self.loaded["files"] if path.startswith(f"{_ETC}/{unit}.d/"))
        own = f"{_ETC}/{unit}"
        fragment = own if own in self.loaded["files"] else f"/lib/systemd/system/{unit}"
        sub = live.get("sub") or "dead"
        return {
            "Type": "notify" if unit.endswith(".service") else "",
            "RemainAfterExit": "no",
            "Restart": "always" if unit == "docker.service" else "no",
            "MainPID": str(live.get("pid", 0)),
            "ExecMainStatus": "1" if live.get("active") == "failed" else "0",
            "Result": "exit-code" if live.get("active") == "failed" else "success",
            "Environment": " ".join(self.loaded["environment"].get(unit, [])),
            "Id": unit,
            "Names": unit,
            "Description": self.known.get(unit, {}).get("description", unit),
            "LoadState": "masked" if self.masked(unit) else "loaded" if there else "not-found",
            "ActiveState": self.active(unit),
            "SubState": sub,
            "FragmentPath": fragment if there else "",
            "DropInPaths": " ".join(dropins),
            "UnitFileState": self.file_state(unit) if there else "",
            "UnitFilePreset": "enabled" if there else "",
            "NeedDaemonReload": "yes" if _files(unit) != self._loaded_files(unit) else "no",
            "ActiveEnterTimestamp": live.get("since", ""),
            "InvocationID": live.get("invocation", ""),
            "Triggers": "",
            "TriggeredBy": "",
            "CanReload": "yes" if unit in _RELOADS else "no",
        }

    def _loaded_files(self, unit: str) -> dict[str, int]:
        own = (f"{_ETC}/{unit}", f"{_ETC}/{unit}.d/")
        return {path: at for path, at in self.loaded["files"].items() if path == own[0] or path.startswith(own[1])}


_RELOADS = {"docker.service", "nginx.service", "ssh.service"}


def _files(unit: str | None = None) -> dict[str, int]:
    """Return the unit files and drop-ins below /etc, with their times: of one unit, or of all."""
    found: dict[str, int] = {}
    for name in os.listdir(_ETC):  # noqa: PTH208
        if unit is not None and name not in (unit, f"{unit}.d"):
            continue
        path = f"{_ETC}/{name}"
        inner = [f"{path}/{entry}" for entry in os.listdir(path)] if os.path.isdir(path) else [path]  # noqa: PTH208, PTH112
        for each in inner:
            if os.path.isfile(each) and not name.endswith((".wants", ".requires")):  # noqa: PTH113
                found[each] = os.stat(each).st_mtime_ns  # noqa: PTH116
    return found


def _environment(files: dict[str, int]) -> dict[str, list[str]]:
    """Return what drop-ins set with Environment=."""
    found: dict[str, list[str]] = {}
    for path in sorted(files):
        if not path.endswith(".conf"):
            continue
        unit = path.split("/")[-2].removesuffix(".d")
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("Environment="):
                    import shlex

                    found.setdefault(unit, []).extend(shlex.split(line.strip().partition("=")[2]))
    return found


def load_files(units: _Units | None = None) -> None:
    """Read the unit files anew, as daemon-reload does."""
    files = _files()
    loaded = {"files": files, "environment": _environment(files)}
    state.write(_LOADED, loaded)
    if units:
        units.loaded = loaded


def _show(units: _Units, names: list[str], flags: set[str], properties: list[str]) -> int:
    for place, name in enumerate(names):
        if place:
            print()
        found = units.show(name)
        for key in _PROPERTIES:
            if not properties or key in properties:
                print(found[key] if "--value" in flags else f"{key}={found[key]}")
    return 0


def _is_active(units: _Units, names: list[str], flags: set[str], _properties: list[str]) -> int:
    states = [units.active(name) for name in names]
    if not flags & {"-q", "--quiet"}:
        print("\n".join(states))
    return 0 if "active" in states else 3


def _is_enabled(units: _Units, names: list[str], flags: set[str], _properties: list[str]) -> int:
    status = 1
    for name in names:
        if not units.exists(name):
            sys.stderr.write(f"Failed to get unit file state for {name}: No such file or directory\n")
            continue
        found = units.file_state(name)
        status = 0 if found in ("enabled", "static") else status
        if not flags & {"-q", "--quiet"}:
            print(found)
    return status


def _is_failed(units: _Units, names: list[str], _flags: set[str], _properties: list[str]) -> int:
    states = [units.active(name) for name in names]
    print("\n".join(states))
    return 0 if "failed" in states else 1


def _is_running(units: _Units, _names: list[str], _flags: set[str], _properties: list[str]) -> int:
    failed = any(entry["active"] == "failed" for entry in units.live.values())
    print("degraded" if failed else "running")
    return 1 if failed else 0


def _status(units: _Units, names: list[str], _flags: set[str], _properties: list[str]) -> int:
    status = 0
    for name in names:
        if not units.exists(name):
            sys.stderr.write(f"Unit {name} could not be found.\n")
            status = 4
            continue
        shown = units.show(name)
        mark = {"active": "●", "failed": "×"}.get(shown["ActiveState"], "○")
        print(f"{mark} {name} - {shown['Description']}")
        print(f"     Loaded: {shown['LoadState']} ({shown['FragmentPath']}; {shown['UnitFileState']})")
        since = f" since {shown['ActiveEnterTimestamp']}" if shown["ActiveEnterTimestamp"] else ""
        print(f"     Active: {shown['ActiveState']} ({shown['SubState']}){since}")
        print()
        print("\n".join(journal(name)[-10:]))
        status = status or (0 if shown["ActiveState"] == "active" else 3)
    return status


def _cat(units: _Units, names: list[str], _flags: set[str], _properties: list[str]) -> int:
    for name in names:
        if not units.exists(name):
            state.fail(1, f"No files found for {name}.")
        for path in sorted(_files(name)):
            with open(path, encoding="utf-8") as file:  # noqa: PTH123
                print(f"# {path}\n{file.read()}")
    return 0


def _list_units(units: _Units, names: list[str], flags: set[str], _properties: list[str]) -> int:
    for name in sorted(names or units.known):
        if flags & {"--failed", "--state=failed"} and units.active(name) != "failed":
            continue
        shown = units.show(name)
        print(f"{name} {shown['LoadState']} {shown['ActiveState']} {shown['SubState']} {shown['Description']}")
    return 0


_ASKING = {
    "show": _show,
    "is-active": _is_active,
    "is-enabled": _is_enabled,
    "is-failed": _is_failed,
    "is-system-running": _is_running,
    "status": _status,
    "cat": _cat,
    "list-units": _list_units,
}


def _act(verb: str, names: list[str], flags: set[str]) -> int:
    if os.geteuid():
        what = "reload daemon" if verb == "daemon-reload" else f"{verb} {names[0]}"
        state.fail(4, f"Failed to {what}: Interactive authentication required.")
    with state.locked("units"):
        units = _Units()
        status = 0
        for name in names or [""]:
            status = _ACTING[verb](units, name) or status
            if "--now" in flags and not status and verb in ("enable", "disable", "mask"):
                status = _start(units, name) if verb == "enable" else _stop(units, name)
        units.save()
    return status


def _missing(units: _Units, verb: str, name: str) -> int:
    if units.exists(name) and not units.masked(name):
        return 0
    sys.stdout.flush()
    if units.masked(name):
        sys.stderr.write(f"Failed to {verb} {name}: Unit {name} is masked.\n")
        return 1
    sys.stderr.write(f"Failed to {verb} {name}: Unit {name} not found.\n")
    return 5


def _start(units: _Units, name: str) -> int:
    missing = _missing(units, "start", name)
    if missing or units.active(name) == "active":
        return missing
    if name not in units.known:
        state.unknown(["systemctl", "start", name, "(a unit file of its own; the lab does not run its ExecStart)"])
    for other in units.known[name].get("after", []):
        _start(units, other)
    pid = _new_pid(units)
    why = dockerd.start(pid, units.loaded["environment"].get(name, [])) if name == "docker.service" else None
    now = time.strftime("%a %Y-%m-%d %H:%M:%S UTC", time.gmtime())
    entry = {"invocation": os.urandom(16).hex(), "since": now, "pid": pid}
    if why is None:
        sub = {"timer": "waiting", "target": "active", "socket": "running"}.get(name.rpartition(".")[2], "running")
        units.live[name] = {**entry, "active": "active", "sub": sub}
        note(name, pid, "Started")
        return 0
    units.live[name] = {**entry, "active": "failed", "sub": "failed", "pid": 0}
    note(name, pid, f"failed to start daemon: {why}" if not why.startswith("unable to configure") else why)
    note(name, pid, "Main process exited, code=exited, status=1/FAILURE")
    sys.stderr.write(
        f"Job for {name} failed because the control process exited with error code.\n"
        f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.\n'
    )
    return 1


def _stop(units: _Units, name: str) -> int:
    if not units.exists(name):
        sys.stderr.write(f"Failed to stop {name}: Unit {name} not loaded.\n")
        return 5
    if units.active(name) == "active":
        if name == "docker.service":
            dockerd.stop()
        note(name, units.live[name]["pid"], "Stopped")
    units.live[name] = {"active": "inactive", "sub": "dead", "pid": 0, "invocation": "", "since": ""}
    return 0


def _restart(units: _Units, name: str) -> int:
    missing = _missing(units, "restart", name)
    if missing:
        return missing
    _stop(units, name)
    return _start(units, name)


def _reload(units: _Units, name: str) -> int:
    missing = _missing(units, "reload", name)
    if missing:
        return missing
    if units.active(name) != "active":
        sys.stderr.write(f"{name} is not active, cannot reload.\n")
        return 1
    if name not in _RELOADS:
        sys.stderr.write(f"Failed to reload {name}: Job type reload is not applicable for unit {name}.\n")
        return 1
    if name == "docker.service":
        dockerd.reload()
    return 0


def _reload_or_restart(units: _Units, name: str) -> int:
    return _reload(units, name) if units.active(name) == "active" and name in _RELOADS else _restart(units, name)


def _try_restart(units: _Units, name: str) -> int:
    return _restart(units, name) if units.active(name) == "active" else 0


def _enable(units: _Units, name: str) -> int:
    return _set_enabled(units, name, on=True)


def _disable(units: _Units, name: str) -> int:
    return _set_enabled(units, name, on=False)


def _set_enabled(units: _Units, name: str, *, on: bool) -> int:
    if not units.exists(name):
        sys.stderr.write(f"Failed to {'enable' if on else 'disable'} unit: Unit file {name} does not exist.\n")
        return 1
    if on and units.masked(name):
        sys.stderr.write(f"Failed to enable unit: Unit file {_ETC}/{name} is masked.\n")
        return 1
    before = units.file_state(name)
    units.overrides.setdefault(name, {})["enabled"] = on
    link = f"{_ETC}/multi-user.target.wants/{name}"
    if on and before == "disabled":
        sys.stderr.write(f"Created symlink {link} → {units.show(name)['FragmentPath']}.\n")
    elif not on and before == "enabled":
        sys.stderr.write(f"Removed {link}.\n")
    return 0


def _mask(units: _Units, name: str) -> int:
    if not units.masked(name):
        units.overrides.setdefault(name, {})["masked"] = True
        sys.stderr.write(f"Created symlink {_ETC}/{name} → /dev/null.\n")
    return 0


def _unmask(units: _Units, name: str) -> int:
    if units.masked(name):
        units.overrides[name]["masked"] = False
        sys.stderr.write(f"Removed {_ETC}/{name}.\n")
    return 0


def _daemon_reload(units: _Units, _name: str) -> int:
    load_files(units)
    return 0


def _reset_failed(units: _Units, name: str) -> int:
    if units.active(name) == "failed":
        units.live[name] = {"active": "inactive", "sub": "dead", "pid": 0, "invocation": "", "since": ""}
    return 0


_ACTING = {
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "reload": _reload,
    "reload-or-restart": _reload_or_restart,
    "try-restart": _try_restart,
    "enable": _enable,
    "disable": _disable,
    "mask": _mask,
    "unmask": _unmask,
    "daemon-reload": _daemon_reload,
    "reset-failed": _reset_failed,
}


def _new_pid(units: _Units) -> int:
    """Return a number no process has: simulated daemons are entries in a file."""
    return 1 + max([4000, *(int(entry.get("pid", 0)) for entry in units.live.values())])


def start_enabled() -> None:
    """Start what is enabled, as a boot does."""
    load_files()
    units = _Units()
    for name, entry in units.known.items():
        wanted = units.file_state(name) == "enabled" or (entry.get("static") and entry.get("active"))
        if wanted and units.active(name) == "inactive":
            _start(units, name)
    units.save()


def packages_changed(names: list[str]) -> None:
    """Do what maintainer scripts do: daemon-reload, and start the units that a package brought."""
    with state.locked("units"):
        load_files()
        units = _Units()
        for name in names:
            if units.file_state(name) == "enabled" and not units.masked(name):
                _restart(units, name)
        units.save()


def stop_units(names: list[str]) -> None:
    """Stop the units of a package that goes."""
    with state.locked("units"):
        units = _Units()
        for name in names:
            _stop(units, name)
            units.live.pop(name, None)
        units.save()


def note(unit: str, pid: int, text: str) -> None:
    """Write a line into the journal."""
    entries = state.read(_JOURNAL, [])
    program = "dockerd" if unit == "docker.service" and text.startswith(("failed", "unable")) else "systemd"
    now = time.strftime("%b %d %H:%M:%S", time.gmtime())
    where = f"{now} {os.uname().nodename} {program}[{pid if program == 'dockerd' else 1}]:"
    entries.append([unit, f"{where} {text}" if program == "dockerd" else f"{where} {unit}: {text}"])
    state.write(_JOURNAL, entries[-500:])


def journal(unit: str) -> list[str]:
    """Return the journal's lines about a unit."""
    return [line for name, line in state.read(_JOURNAL, []) if name == unit]


def _journalctl(argv: list[str]) -> int:
    unit, count, rest = "", 1000, argv[1:]
    while rest:
        word = rest.pop(0)
        if word in ("-u", "--unit") and rest:
            unit = _full(rest.pop(0))
        elif word.startswith("--unit="):
            unit = _full(word.partition("=")[2])
        elif word in ("-xeu", "-eu", "-xu") and rest:
            unit = _full(rest.pop(0))
        elif word in ("-n", "--lines") and rest:
            count = int(rest.pop(0))
        elif word.startswith(("-n", "--lines=")):
            count = int(word.removeprefix("--lines=").removeprefix("-n"))
        elif word in ("-o", "--output", "--since", "-b", "--boot") and rest and not rest[0].startswith("-"):
            rest.pop(0)
        elif word not in ("--no-pager", "-q", "--quiet", "-b", "-x", "-e", "--output=cat", "-o", "-xe"):
            state.unknown(argv)
    if not unit:
        state.unknown(argv)
    lines = journal(unit)[-count:]
    print("\n".join(lines) if lines else "-- No entries --")
    return 0
