"""NVIDIA's packages as stand-ins: real .deb files in a real, signed apt repository, served on loopback.

Names, versions, dependencies and configuration files are those of the simulated devices (devices.yaml); what the
programs in them do is in the folder commands.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.lab import catalogue
from provisioner.lab.places import free_port
from provisioner.lab.virtual import needs
from provisioner.lab.virtual.base import cache, digest, made_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMANDS = Path(__file__).with_name("commands")
KEY = "jetson-ota-public.asc"
_STUB = '#!/bin/sh\n# A stand-in of the lab.\necho "$0 is a stand-in of the lab and does nothing" >&2\nexit 1\n'


def repository(models: Iterable[catalogue.Model]) -> Path:
    """Return the folder of a repository with the packages of these devices, made where it is not yet there."""
    chosen = list(models)
    names = [(model.id, model.data) for model in chosen]
    folder = (
        cache() / f"packages-{digest(names, [catalogue.packages(model) for model in chosen], COMMANDS, Path(__file__))}"
    )
    if not folder.exists():
        with made_once(folder) as draft:
            if draft is not None:
                _make(draft, chosen)
    return folder


def nvidia(model: catalogue.Model) -> dict[str, dict[str, Any]]:
    """Return the packages of a device that come from NVIDIA."""
    return {name: entry for name, entry in catalogue.packages(model).items() if entry.get("from") == "nvidia"}


def _make(draft: Path, models: list[catalogue.Model]) -> None:
    home = draft / "jetson"
    for model in models:
        suite = str(model.data["suite"])
        entries = nvidia(model)
        for name, entry in entries.items():
            _package(home / "common" / "pool" / suite, name, entry, entries)
        for part in model.data["repositories"]:
            _index(home / part, suite)
    _sign(draft, home)


def _package(pool: Path, name: str, entry: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> None:
    version = str(entry.get("candidate") or entry["installed"])
    pool.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as top:
        root = Path(top)
        root.chmod(0o755)
        control = root / "DEBIAN"
        control.mkdir(0o755)
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "arm64",
            "Section": entry.get("section", "utils"),
            "Maintainer": "Virtual Jetson <lab@localhost>",
            "Depends": ", ".join(entry.get("depends", ())),
            "Description": f"{entry.get('description', name)} (a stand-in of the lab)",
        }
        text = "".join(f"{key}: {value}\n" for key, value in fields.items() if value)
        (control / "control").write_text(text, encoding="utf-8")
        files = {path: str(content) for path, content in entry.get("files", {}).items()}
        settings = [path for path in files if path.startswith("/etc/")]
        (control / "conffiles").write_text("".join(f"{path}\n" for path in settings), encoding="utf-8")
        files |= {f"/usr/bin/{command}": _command(command) for command in _own(name, others)}
        for path, content in files.items():
            _put(root / path.lstrip("/"), content)
        into = pool / f"{name}_{version.replace(':', '%3a')}_arm64.deb"
        words = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(into)]
        needs.run(words)


def _own(name: str, others: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the commands that a package brings itself, and not one that it depends on."""
    below: set[str] = set()
    queue = list(others[name].get("depends", ()))
    while queue:
        entry = others.get(queue.pop(), {})
        below.update(entry.get("commands", ()))
        queue += entry.get("depends", ())
    return [command for command in others[name].get("commands", ()) if command not in below]


def _command(name: str) -> str:
    path = COMMANDS / name
    return path.read_text(encoding="utf-8") if path.exists() else _STUB


def _put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    path.chmod(0o755 if content.startswith("#!") else 0o644)


def _index(part: Path, suite: str) -> None:
    """Write the lists of a suite; parts without packages of their own have empty ones, as some of NVIDIA's."""
    pool = part / "pool" / suite
    pool.mkdir(parents=True, exist_ok=True)
    binary = part / "dists" / suite / "main" / "binary-arm64"
    binary.mkdir(parents=True)
    scan = ["apt-ftparchive", "packages", f"pool/{suite}"]
    (binary / "Packages").write_bytes(needs.run(scan, cwd=part))
    words = {
        "Origin": "virtual-jetson",
        "Suite": suite,
        "Codename": suite,
        "Architectures": "arm64",
        "Components": "main",
    }
    options = [f"-oAPT::FTPArchive::Release::{key}={value}" for key, value in words.items()]
    told = needs.run(["apt-ftparchive", *options, "release", str(binary.parents[1])])
    (binary.parents[1] / "Release").write_bytes(told)


def _sign(draft: Path, home: Path) -> None:
    """Sign every suite with a key that is made for this repository and thrown away."""
    with tempfile.TemporaryDirectory(prefix="gpg") as keys:
        gpg = ["gpg", "--homedir", keys, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]

        def run(*words: str) -> bytes:
            return needs.run([*gpg, *words])

        run("--quick-generate-key", "Virtual Jetson <lab@localhost>", "ed25519", "sign", "never")
        (draft / KEY).write_bytes(run("--armor", "--export"))
        for release in home.glob("*/dists/*/Release"):
            run("--output", str(release.with_name("InRelease")), "--clearsign", str(release))
        if stop := shutil.which("gpgconf"):
            subprocess.run([stop, "--homedir", keys, "--kill", "all"], check=False, capture_output=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


class PackageServer:
    """Serves a repository over HTTP on loopback; the port of the last time is taken where it is free."""

    def __init__(self, folder: Path, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port(port)), partial(_Quiet, directory=str(folder)))
        self.port = int(self._server.server_address[1])

    def start(self) -> PackageServer:
        """Begin to serve."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="packages").start()
        return self
