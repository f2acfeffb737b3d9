"""The devices that can be simulated: recordings, devices.yaml, and the disk that a freshly flashed one has."""

from __future__ import annotations

import json
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

from provisioner.document import near
from provisioner.errors import InputError
from provisioner.lab.recordings import Recordings
from provisioner.records import dataclass

_DATA = Path(__file__).with_name("devices.yaml")
_CODENAMES = {"18.04": "bionic", "20.04": "focal", "22.04": "jammy", "24.04": "noble"}
_TOLD = (
    "kernel", "machine", "architecture", "model", "ubuntu", "release", "power", "tegrastats", "nvidia_smi", "gpu",
    "docker_needs_raw_table",
)  # fmt: skip
PAGE = 4096
_JETSONS_OWN = (
    "/etc/nv_tegra_release", "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list", "/etc/nvpmodel.conf",
)  # fmt: skip
_NAMES = {"bionic": "Bionic Beaver", "focal": "Focal Fossa", "jammy": "Jammy Jellyfish", "noble": "Noble Numbat"}


@dataclass(frozen=True)
class Model:
    """One kind of simulated device, on one release."""

    id: str
    data: dict[str, Any]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def codename(self) -> str:
        """Return the name of its Ubuntu or Debian release."""
        return str(self.data["os"]["codename"]) if "os" in self.data else _CODENAMES[str(self.data["ubuntu"])]


@cache
def everything() -> dict[str, Any]:
    """Return the whole catalogue: what all devices share, and the devices by id."""
    import yaml

    loaded = yaml.load(_DATA.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    if not isinstance(loaded, dict):
        raise TypeError(f"{_DATA} holds no mapping")
    return {**loaded, "devices": Recordings()}


def model(simulate: str) -> Model:
    """Return what `simulate: ID [SETTING=VALUE ...]` of an inventory names."""
    name, *words = simulate.split() or [""]
    devices = everything()["devices"]
    if name not in devices:
        known = near(name, devices)
        raise InputError(
            f"no simulated device is called {name!r}{known}", hint=f"simulate is one of: {', '.join(devices)}"
        )
    settings = dict(word.partition("=")[::2] for word in words)
    unknown = set(settings) - {"sudo_password", "login_password"}
    if unknown:
        raise InputError(f"unknown setting of a simulated device: {', '.join(sorted(unknown))}")
    return Model(name, devices[name], settings)


def packages(found: Model) -> dict[str, Any]:
    """Return the packages that the device's apt offers or that it came with."""
    shared = everything()["packages"]
    return {name: {**shared.get(name, {}), **(own or {})} for name, own in found.data["packages"].items()}


def device_state(found: Model) -> str:
    """Return what the stand-ins are told about the device."""
    told = {key: found.data[key] for key in _TOLD if key in found.data}
    told |= {"id": found.id, "codename": found.codename, "packages": packages(found), "settings": found.settings}
    told |= {"page_size": found.data.get("page_size", PAGE), "commands": _commands(found)}
    told |= {"units": everything()["units"]}
    return json.dumps(told, indent=1)


def files(found: Model, host: str, key: str) -> dict[str, dict[str, Any]]:
    """Return the files of a freshly flashed device, for the user nvidia with this authorized key."""
    shell = "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"
    texts = {
        "/etc/hostname": f"{host}\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost\n127.0.1.1\t{host}\n",
        "/etc/passwd": everything()["passwd"] + f"nvidia:x:1000:1000:NVIDIA:/home/nvidia:{shell}\n",
        "/etc/group": everything()["group"],
        "/etc/os-release": _os_release(found),
        "/etc/nv_tegra_release": found.data["release"],
        "/etc/apt/sources.list": _sources(found),
        "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list": nvidia_sources(found),
        "/etc/nvpmodel.conf": "".join(f"< POWER_MODEL ID={n} NAME={name} >\n" for n, name in _modes(found)),
        "/home/nvidia/.ssh/authorized_keys": key,
        "/var/lib/dpkg/status": _dpkg_status(found),
        **everything()["files"],
        **found.data.get("installed_files", {}),
        **_npu_library(found),
    }
    if found.settings.get("login_password"):
        config = texts["/etc/ssh/sshd_config"]
        texts["/etc/ssh/sshd_config"] = config.replace("PasswordAuthentication no", "PasswordAuthentication yes")
    made = {path: {"content": text} for path, text in texts.items() if text or path not in _JETSONS_OWN}
    made["/home/nvidia/.ssh/authorized_keys"]["mode"] = 0o600
    made["/etc/shadow"] = {"content": "root:*:19000:0:99999:7:::\nnvidia:*:19000:0:99999:7:::\n", "mode": 0o640}
    return made


def folders() -> dict[str, dict[str, Any]]:
    """Return the folders of a freshly flashed device and their modes."""
    return {path: {"mode": mode} for path, mode in everything()["folders"].items()}


def owners() -> dict[str, tuple[int, int]]:
    """Return what does not belong to root on a freshly flashed device."""
    own = (1000, 1000)
    ssh = "/home/nvidia/.ssh"
    return {"/home/nvidia": own, ssh: own, f"{ssh}/authorized_keys": own, "/etc/shadow": (0, 42)}


def links() -> dict[str, str]:
    """Return the links of a device's /etc: the machine's programs run there, so its alternatives count."""
    folder = Path("/etc/alternatives")
    found = (
        {str(path): str(path.readlink()) for path in folder.iterdir() if path.is_symlink() and path.suffix != ".gz"}
        if folder.is_dir()
        else {}
    )
    return found | {"/var/run": "/run", "/var/lock": "/run/lock", "/etc/mtab": "/proc/self/mounts"}


def meminfo(found: Model) -> str:
    """Return what /proc/meminfo says: the device's memory, most of it available."""
    total = int(found.data["memory_kb"])
    rows = {"MemTotal": total, "MemFree": total // 2, "MemAvailable": total * 4 // 5, "SwapTotal": 0, "SwapFree": 0}
    return "".join(f"{name + ':':<16}{value:>8} kB\n" for name, value in rows.items())


def sys_files(found: Model) -> dict[str, str]:
    """Return what stands below /sys besides the device tree: disks, and thermal zones where no tegrastats tells."""
    made = {}
    if npu := found.data.get("npu"):
        made["kernel/debug/rknpu/version"] = f"RKNPU driver: v{npu['driver']}\n"
    for disk in found.data.get("storage", ()):
        folder = f"devices/lab/block/{disk['name']}"
        made[f"{folder}/size"] = f"{disk['sectors']}\n"
        if disk["name"].startswith("mmcblk"):
            made[f"{folder}/device/type"] = "MMC\n" if disk["kind"] == "emmc" else "SD\n"
        if disk["root"]:
            made[f"{folder}/{_partition(disk['name'])}/partition"] = "1\n"
    for number, zone in enumerate(str(found.data.get("zones", "")).split()):
        name, _, value = zone.rpartition(":")
        made |= {
            f"class/thermal/thermal_zone{number}/{key}": f"{text}\n" for key, text in (("type", name), ("temp", value))
        }
    return made


def _npu_library(found: Model) -> dict[str, str]:
    """Return the runtime of an NPU, as far as it tells its version."""
    npu = found.data.get("npu")
    return {"/var/lib/librknnrt.so": f"librknnrt version: {npu['runtime']} (simulated)\n"} if npu else {}


def sys_links(found: Model) -> dict[str, str]:
    """Return the links below /sys that lead to disks; ROOT stands for the numbers of the root file system."""
    disks = [(disk["name"], disk["root"]) for disk in found.data.get("storage", ())]
    made = {f"block/{name}": f"../devices/lab/block/{name}" for name, _ in disks}
    root = next((name for name, root in disks if root), None)
    return made | ({"dev/block/ROOT": f"../../devices/lab/block/{root}/{_partition(root)}"} if root else {})


def _partition(disk: str) -> str:
    return f"{disk}p1" if disk[-1].isdigit() else f"{disk}1"


def _modes(found: Model) -> list[tuple[int, str]]:
    return list(enumerate(found.data.get("power", ())))


def _commands(found: Model) -> list[str]:
    """Return the programs of NVIDIA's that a device has without any package of the lab."""
    by_field = {"power": "nvpmodel", "tegrastats": "tegrastats", "nvidia_smi": "nvidia-smi"}
    return [command for key, command in by_field.items() if found.data.get(key)]


def _os_release(found: Model) -> str:
    if own := found.data.get("os"):
        return (
            f'PRETTY_NAME="{own["name"]} {own["version"]} ({own["codename"]})"\nNAME="{own["name"]}"\n'
            f'VERSION_ID="{own["version"]}"\nVERSION_CODENAME={own["codename"]}\nID={own["id"]}\n'
        )
    version, code = str(found.data["ubuntu"]), found.codename
    name = f"Ubuntu {found.data.get('ubuntu_point', version)} LTS"
    return (
        f'PRETTY_NAME="{name}"\nNAME="Ubuntu"\nVERSION_ID="{version}"\nVERSION="{name[7:]} ({_NAMES[code]})"\n'
        f"VERSION_CODENAME={code}\nID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME={code}\n"
    )


def _sources(found: Model) -> str:
    if "os" in found.data:
        return f"deb http://archive.raspberrypi.com/debian {found.codename} main\n"
    site = "http://ports.ubuntu.com/ubuntu-ports/"
    if found.data["architecture"] == "amd64":
        site = "http://archive.ubuntu.com/ubuntu/"
    suites = (found.codename, f"{found.codename}-updates", f"{found.codename}-security")
    return "".join(f"deb {site} {suite} main restricted universe multiverse\n" for suite in suites)


def nvidia_sources(found: Model) -> str:
    """Return the lines of apt's list for NVIDIA's own repositories."""
    site = "https://repo.download.nvidia.com/jetson"
    return "".join(f"deb {site}/{part} {found.data['suite']} main\n" for part in found.data["repositories"])


def _dpkg_status(found: Model) -> str:
    there = ((name, entry) for name, entry in sorted(packages(found).items()) if entry.get("installed"))
    return "\n".join(_stanza(name, {"architecture": found.data["architecture"], **entry}) for name, entry in there)


def _stanza(name: str, entry: dict[str, Any]) -> str:
    depends = entry.get("depends")
    lines = [
        f"Package: {name}",
        "Status: install ok installed",
        f"Priority: {entry.get('priority', 'optional')}",
        f"Section: {entry.get('section', 'admin')}",
        f"Maintainer: {entry.get('maintainer', 'Simulated <lab@localhost>')}",
        f"Architecture: {entry['architecture']}",
        f"Version: {entry.get('installed')}",
        *([f"Depends: {', '.join(depends)}"] if depends else []),
        f"Description: {entry.get('description', name + ' (simulated)')}",
    ]
    return "\n".join(lines) + "\n"
