"""apt-get, apt-cache and apt-mark, over the packages that the catalogue gives the device."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import os
import sys
import time

from . import dpkg, state, systemd

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

_FLAGS = {
    "-y": "yes",
    "--yes": "yes",
    "--assume-yes": "yes",
    "-s": "simulate",
    "--simulate": "simulate",
    "--dry-run": "simulate",
    "--just-print": "simulate",
    "--no-act": "simulate",
    "-q": "",
    "-qq": "quiet",
    "--quiet": "",
    "--no-install-recommends": "",
    "--install-recommends": "",
    "--no-install-suggests": "",
    "--fix-broken": "",
    "-f": "",
    "--allow-downgrades": "downgrade",
    "--allow-change-held-packages": "held",
    "--allow-unauthenticated": "",
    "--allow-remove-essential": "",
    "--allow-releaseinfo-change": "",
    "--reinstall": "reinstall",
    "--purge": "purge",
    "--force-yes": "downgrade",
    "--only-upgrade": "only-upgrade",
    "--no-upgrade": "no-upgrade",
    "--no-remove": "no-remove",
    "--auto-remove": "",
    "--autoremove": "",
    "--assume-no": "no",
    "-V": "",
    "--print-uris": "",
}
_NVIDIA = ("nvidia.com/jetson/common", "nvidia.github.io/libnvidia-container")
_LOCK = "/var/lib/dpkg/lock-frontend"
_HELD_BY = f"{state.DISK}/dpkg-lock-held-by"  # "PID (NAME)": written by whoever wants to see a busy dpkg


def main(argv: list[str]) -> int:
    """Run the program that argv names."""
    name = os.path.basename(argv[0])  # noqa: PTH119
    if "--version" in argv or argv[1:2] == ["-v"]:
        print("apt 2.4.12 (arm64) (simulated)")
        return 0
    return {"apt-get": _get, "apt": _get, "apt-cache": _cache, "apt-mark": _mark}[name](argv)


class Plan:
    """What a run of apt-get would do."""

    def __init__(self) -> None:
        self.install: dict[str, str] = {}
        self.remove: list[str] = []
        self.manual: list[str] = []
        self.notes: list[str] = []


class _World:
    """What is installed and what is on offer."""

    def __init__(self) -> None:
        self.device = state.device()
        self.packages: dict[str, dict[str, Any]] = self.device["packages"]
        self.database = state.database()
        self.nvidia = _nvidia_listed()

    def version(self, name: str) -> str | None:
        stanza = self.database.get(name)
        return stanza["Version"] if stanza and state.installed(stanza) else None

    def candidate(self, name: str) -> str | None:
        """Return what apt would install; None if no source offers it and it is not there."""
        entry = self.packages.get(name, {})
        offered = entry.get("candidate") or entry.get("installed")
        if entry.get("from") == "nvidia" and not self.nvidia:
            offered = None
        have = self.version(name)
        if offered and have:
            return str(max(offered, have, key=dpkg.key))
        return offered or have

    def offers(self, name: str) -> list[str]:
        """Return the versions that can be asked for, newest first."""
        entry = self.packages.get(name, {})
        found = {self.candidate(name), self.version(name), entry.get("installed")} - {None}
        return sorted((str(version) for version in found), key=dpkg.key, reverse=True)

    def source(self, name: str) -> str:
        if self.packages.get(name, {}).get("from") == "nvidia":
            release = str(self.device["release"]).split()
            return f"NVIDIA Jetson/common:{release[1].lower()}" if release else "NVIDIA CORPORATION:bionic"
        return f"Ubuntu:{self.device['ubuntu']}" if "ubuntu" in self.device else "Debian:stable"


def _nvidia_listed() -> bool:
    folder = "/etc/apt/sources.list.d"
    for name in ["/etc/apt/sources.list", *(f"{folder}/{entry}" for entry in sorted(os.listdir(folder)))]:  # noqa: PTH208
        try:
            with open(name, encoding="utf-8") as file:  # noqa: PTH123
                if any(line.startswith("deb ") and any(site in line for site in _NVIDIA) for line in file):
                    return True
        except OSError:
            continue
    return False


def _get(argv: list[str]) -> int:
    words, flags, options = _arguments(argv)
    if not words:
        state.unknown(argv)
    verb, names = words[0], words[1:]
    if verb in ("clean", "autoclean", "autoremove", "check"):
        print("Reading package lists...\nBuilding dependency tree...\nReading state information...")
        return 0
    if os.geteuid() and "simulate" not in flags:
        state.fail(
            100,
            f"E: Could not open lock file {_LOCK} - open (13: Permission denied)",
            f"E: Unable to acquire the dpkg frontend lock ({_LOCK}), are you root?",
        )
    if verb == "update":
        return _update()
    if verb not in ("install", "remove", "purge"):
        state.unknown(argv)
    if "simulate" in flags:
        return _transact(verb, names, flags)
    _wait_for_lock(options)
    if dpkg.interrupted():
        state.fail(100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. ")
    with state.locked("dpkg"):
        return _transact(verb, names, flags)


def _arguments(argv: list[str]) -> tuple[list[str], set[str], dict[str, str]]:
    words: list[str] = []
    flags: set[str] = set()
    options: dict[str, str] = {}
    rest = argv[1:]
    while rest:
        word = rest.pop(0)
        if word == "--":
            return words + rest, flags, options
        if word in ("-o", "--option") and rest:
            word = "-o" + rest.pop(0)
        if word.startswith(("-o", "--option=")) and "=" in word:
            name, _, value = word.removeprefix("--option=").removeprefix("-o").partition("=")
            options[name.lower()] = value
        elif word in ("-t", "--target-release") and rest:
            rest.pop(0)
        elif word in _FLAGS:
            flags.add(_FLAGS[word])
        elif word.startswith("-") and not word.startswith("--") and all(f"-{c}" in _FLAGS for c in word[1:]):
            flags |= {_FLAGS[f"-{c}"] for c in word[1:]}
        elif word.startswith("-"):
            state.unknown(argv)
        else:
            words.append(word)
    return words, flags, options


def _wait_for_lock(options: dict[str, str]) -> None:
    deadline = time.monotonic() + float(options.get("dpkg::lock::timeout", "0"))
    while os.path.exists(_HELD_BY):  # noqa: PTH110
        if time.monotonic() > deadline:
            with open(_HELD_BY, encoding="utf-8") as file:  # noqa: PTH123
                holder = file.read().strip()
            state.fail(
                100,
                f"E: Could not get lock {_LOCK}. It is held by process {holder}",
                f"E: Unable to acquire the dpkg frontend lock ({_LOCK}), is another process using it?",
            )
        time.sleep(0.1)


def _update() -> int:
    broken = 0
    folder = "/etc/apt/sources.list.d"
    number = 0
    for name in ["/etc/apt/sources.list", *(f"{folder}/{entry}" for entry in sorted(os.listdir(folder)))]:  # noqa: PTH208
        if not name.endswith(".list"):
            continue
        with open(name, encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                words = line.split()
                if not words or words[0] != "deb":
                    continue
                number += 1
                words = [word for word in words if not word.startswith("[")]
                place = f"{words[1]} {words[2]}"
                if "<SOC>" in place:
                    broken += 1
                    print(f"Err:{number} {place} Release\n  404  Not Found")
                    sys.stderr.write(f"E: The repository '{place} Release' does not have a Release file.\n")
                else:
                    print(f"Hit:{number} {place} InRelease")
    print("Reading package lists...")
    if broken:
        return 100
    for stamp in ("/var/lib/apt/periodic/update-success-stamp", "/var/cache/apt/pkgcache.bin"):
        with open(stamp, "w", encoding="utf-8"):  # noqa: PTH123
            pass
        os.utime(stamp)
    os.utime("/var/lib/apt/lists")
    return 0


def _transact(verb: str, names: list[str], flags: set[str]) -> int:
    world = _World()
    print("Reading package lists...\nBuilding dependency tree...\nReading state information...")
    plan = _install_plan(world, names, flags) if verb == "install" else _remove_plan(world, names)
    _check_plan(world, plan, flags)
    _announce(world, plan, flags)
    if "simulate" in flags:
        _simulate(world, plan, purge=verb == "purge" or "purge" in flags)
        return 0
    if not (plan.install or plan.remove):
        return 0
    if "yes" not in flags:
        print("Do you want to continue? [Y/n] Abort.")
        return 1
    _apply(world, plan, purge=verb == "purge" or "purge" in flags)
    return 0


def _install_plan(world: _World, names: list[str], flags: set[str]) -> Plan:
    plan = Plan()
    for word in names:
        name, _, version = word.partition("=")
        name = name.removesuffix(":arm64")
        if name.endswith("-") and name[:-1] in world.packages:
            plan.remove.append(name[:-1])
            continue
        plan.manual.append(name)
        _add(world, plan, name, version, flags)
    return plan


def _add(world: _World, plan: Plan, name: str, version: str, flags: set[str]) -> None:
    candidate, have = world.candidate(name), world.version(name)
    if name not in world.packages:
        state.fail(100, f"E: Unable to locate package {name}")
    if candidate is None:
        state.fail(100, f"E: Package '{name}' has no installation candidate")
    if version and version not in world.offers(name):
        state.fail(100, f"E: Version '{version}' for '{name}' was not found")
    wanted = version or (have if have and "no-upgrade" in flags else candidate)
    if wanted == have and "reinstall" not in flags:
        plan.notes.append(f"{name} is already the newest version ({have}).")
        return
    if not have and "only-upgrade" in flags:
        plan.notes.append(f"Skipping {name}, it is not installed and only upgrades are requested.")
        return
    _depend(world, plan, name)
    plan.install[name] = str(wanted)


def _depend(world: _World, plan: Plan, name: str) -> None:
    for other in world.packages[name].get("depends", []):
        if world.version(other) is None and other not in plan.install:
            candidate = world.candidate(other)
            if candidate is None:
                state.fail(
                    100,
                    "The following packages have unmet dependencies:",
                    f" {name} : Depends: {other} but it is not installable",
                    "E: Unable to correct problems, you have held broken packages.",
                )
            _depend(world, plan, other)
            plan.install[other] = candidate


def _remove_plan(world: _World, names: list[str]) -> Plan:
    plan = Plan()
    for name in names:
        if name not in world.packages and name not in world.database:
            state.fail(100, f"E: Unable to locate package {name}")
        if world.version(name) is None:
            plan.notes.append(f"Package '{name}' is not installed, so not removed")
        else:
            _remove(world, plan, name)
    return plan


def _remove(world: _World, plan: Plan, name: str) -> None:
    if name in plan.remove:
        return
    for other, entry in world.packages.items():
        if name in entry.get("depends", []) and world.version(other):
            _remove(world, plan, other)
    plan.remove.append(name)


def _check_plan(world: _World, plan: Plan, flags: set[str]) -> None:
    touched = [*plan.remove, *(name for name in plan.install if world.version(name))]
    held = [name for name in touched if world.database[name]["Status"].startswith("hold")]
    if plan.remove and "no-remove" in flags:
        state.fail(100, "E: Packages need to be removed but remove is disabled.")
    if held and "yes" in flags and "held" not in flags:
        print("The following held packages will be changed:\n  " + " ".join(held))
        state.fail(100, "E: Held packages were changed and -y was used without --allow-change-held-packages.")
    if _downgrades(world, plan) and "yes" in flags and "downgrade" not in flags:
        state.fail(100, "E: Packages were downgraded and -y was used without --allow-downgrades.")


def _downgrades(world: _World, plan: Plan) -> list[str]:
    pairs = [(name, world.version(name), new) for name, new in plan.install.items()]
    return [name for name, old, new in pairs if old and dpkg.key(new) < dpkg.key(old)]


def _announce(world: _World, plan: Plan, flags: set[str]) -> None:
    for note in plan.notes:
        print(note)
    new = sorted(name for name in plan.install if world.version(name) is None)
    down = _downgrades(world, plan)
    up = sorted(name for name in plan.install if world.version(name) and name not in down)
    extra = [name for name in new if name not in plan.manual]
    _names("The following additional packages will be installed:", extra)
    _names("The following packages will be REMOVED:", [f"{name}" for name in plan.remove])
    _names("The following NEW packages will be installed:", new)
    _names("The following packages will be upgraded:", up)
    _names("The following packages will be DOWNGRADED:", down)
    middle = f"{len(down)} downgraded, " if down else ""
    print(f"{len(up)} upgraded, {len(new)} newly installed, {middle}{len(plan.remove)} to remove and 0 not upgraded.")
    if "no" in flags:
        sys.exit(1)


def _names(title: str, names: list[str]) -> None:
    if names:
        print(f"{title}\n  {' '.join(names)}")


def _simulate(world: _World, plan: Plan, *, purge: bool) -> None:
    for name in plan.remove:
        print(f"{'Purg' if purge else 'Remv'} {name} [{world.version(name)}]")
    for name, new in plan.install.items():
        have = world.version(name)
        old = f" [{have}]" if have else ""
        print(f"Inst {name}{old} ({new} {world.source(name)} [{_architecture(world, name)}])")
    for name, new in plan.install.items():
        print(f"Conf {name} ({new} {world.source(name)} [{_architecture(world, name)}])")


def _architecture(world: _World, name: str) -> str:
    return str(world.packages[name].get("architecture") or state.device()["architecture"])


def _apply(world: _World, plan: Plan, *, purge: bool) -> None:
    for name in plan.remove:
        print(f"Removing {name} ({world.version(name)}) ...")
        _unpack_not(world, name, purge=purge)
    for number, (name, new) in enumerate(plan.install.items(), 1):
        print(
            f"Get:{number} {world.source(name)} {_architecture(world, name)} {name} {_architecture(world, name)} {new}"
        )
    started: list[str] = []
    for name, new in plan.install.items():
        print(f"Unpacking {name} ({new}) ...\nSetting up {name} ({new}) ...", flush=True)
        started += _unpack(world, name, new)
    state.save(world.database)
    systemd.packages_changed(started)


def _unpack(world: _World, name: str, version: str) -> list[str]:
    entry = world.packages[name]
    old = world.database.get(name)
    want = old["Status"].split()[0] if old and state.installed(old) else "install"
    world.database[name] = {
        "Package": name,
        "Status": f"{want} ok installed",
        "Priority": "optional",
        "Section": entry.get("section", "admin"),
        "Maintainer": "Simulated <lab@localhost>",
        "Architecture": _architecture(world, name),
        "Version": version,
        **({"Depends": ", ".join(entry["depends"])} if entry.get("depends") else {}),
        "Description": entry.get("description", f"{name} (simulated)"),
    }
    bring(entry)
    return list(entry.get("units", {}))


def bring(entry: dict[str, Any]) -> None:
    """Put what a package brings where it belongs: commands, groups, folders, and files that are not there yet."""
    for command in entry.get("commands", []):
        if not os.path.lexists(f"{state.COMMANDS}/{command}"):
            os.symlink(f"{state.BROUGHT}/{command}", f"{state.COMMANDS}/{command}")  # noqa: PTH211
    for group, number in entry.get("groups", {}).items():
        with open("/etc/group", "r+", encoding="utf-8") as file:  # noqa: PTH123
            if not any(line.startswith(f"{group}:") for line in file):
                file.write(f"{group}:x:{number}:\n")
    for folder in entry.get("folders", []):
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    for path, content in entry.get("files", {}).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        if not os.path.exists(path):  # noqa: PTH110
            state.replace(path, content)


def _unpack_not(world: _World, name: str, *, purge: bool) -> None:
    entry = world.packages.get(name, {})
    systemd.stop_units(list(entry.get("units", {})))
    kept = {
        command
        for other, e in world.packages.items()
        if other != name and world.version(other)
        for command in e.get("commands", [])
    }
    for command in set(entry.get("commands", [])) - kept:
        if os.path.lexists(f"{state.COMMANDS}/{command}"):
            os.unlink(f"{state.COMMANDS}/{command}")  # noqa: PTH108
    if purge:
        del world.database[name]
        for path in entry.get("files", {}):
            if os.path.exists(path):  # noqa: PTH110
                os.unlink(path)  # noqa: PTH108
    else:
        world.database[name]["Status"] = "deinstall ok config-files"


def _cache(argv: list[str]) -> int:
    words = [word for word in argv[1:] if not word.startswith("-")]
    if not words or words[0] not in ("policy", "show", "madison"):
        state.unknown(argv)
    world = _World()
    return {"policy": _policy, "show": _show, "madison": _madison}[words[0]](world, words[1:])


def _policy(world: _World, names: list[str]) -> int:
    for name in names:
        candidate, have = world.candidate(name), world.version(name)
        if name not in world.packages or (candidate is None and have is None and name not in world.database):
            continue
        print(f"{name}:\n  Installed: {have or '(none)'}\n  Candidate: {candidate or '(none)'}\n  Version table:")
        for version in world.offers(name):
            print(f" {'***' if version == have else '   '} {version} 500")
            if version == candidate and _offered(world, name, version):
                print(f"        500 {_site(world, name)} arm64 Packages")
            if version == have:
                print("        100 /var/lib/dpkg/status")
    return 0


def _offered(world: _World, name: str, version: str) -> bool:
    entry = world.packages[name]
    known = version == (entry.get("candidate") or entry.get("installed"))
    return known and (entry.get("from") != "nvidia" or world.nvidia)


def _site(world: _World, name: str) -> str:
    if world.packages[name].get("from") == "nvidia":
        return "https://repo.download.nvidia.com/jetson/common main/main"
    return f"http://ports.ubuntu.com/ubuntu-ports {world.device['codename']}-updates/universe"


def _show(world: _World, names: list[str]) -> int:
    shown = 0
    for name in names:
        if name not in world.packages or world.candidate(name) is None:
            sys.stderr.write(f"N: Unable to locate package {name}\n")
            continue
        entry, shown = world.packages[name], shown + 1
        print(f"Package: {name}\nArchitecture: {_architecture(world, name)}\nVersion: {world.candidate(name)}")
        print(f"Section: {entry.get('section', 'admin')}\nDepends: {', '.join(entry.get('depends', []))}")
        print(f"Description: {entry.get('description', name + ' (simulated)')}\n")
    if not shown:
        state.fail(100, "E: No packages found")
    return 0


def _madison(world: _World, names: list[str]) -> int:
    for name in names:
        for version in world.offers(name):
            if _offered(world, name, version):
                print(f"{name:>10} | {version:>10} | {_site(world, name)} arm64 Packages")
    return 0


def _mark(argv: list[str]) -> int:
    verb, names = (argv[1] if len(argv) > 1 else ""), [word for word in argv[2:] if not word.startswith("-")]
    if verb == "showhold":
        held = [n for n, s in sorted(state.database().items()) if s["Status"].startswith("hold ")]
        print("".join(f"{name}\n" for name in held if not names or name in names), end="")
        return 0
    if verb == "showmanual":
        print("".join(f"{n}\n" for n, s in sorted(state.database().items()) if state.installed(s)), end="")
        return 0
    if verb not in ("hold", "unhold", "manual", "auto"):
        state.unknown(argv)
    if os.geteuid():
        state.fail(100, f"E: Could not open lock file {_LOCK} - open (13: Permission denied)")
    with state.locked("dpkg"):
        return _set_marks(verb, names)


_SAID = {
    "hold": ("{} set on hold.", "{} was already set on hold."),
    "unhold": ("Canceled hold on {}.", "{} was already not on hold."),
    "manual": ("{} set to manually installed.", "{} was already set to manually installed."),
    "auto": ("{} set to automatically installed.", "{} was already set to automatically installed."),
}


def _set_marks(verb: str, names: list[str]) -> int:
    database, packages = state.database(), state.device()["packages"]
    for name in names:
        if name not in database and name not in packages:
            state.fail(100, f"E: Unable to locate package {name}", "E: No packages found")
    for name in names:
        stanza = database.get(name)
        before = stanza["Status"] if stanza else ""
        if stanza and verb in ("hold", "unhold"):
            rest = before.split(" ", 1)[1]
            stanza["Status"] = ("hold " if verb == "hold" else "install ") + rest
        changed = stanza is not None and stanza["Status"] != before
        print(_SAID[verb][0 if changed else 1].format(name))
    state.save(database)
    return 0
