"""The lab's l4t images: a small arm64 Python with a stand-in for PyTorch, in Debian's own docker-registry."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from provisioner.errors import ProvisionError
from provisioner.lab import catalogue
from provisioner.lab.places import free_port
from provisioner.lab.virtual import needs
from provisioner.lab.virtual.base import SUITE, cache, digest, made_once, tree
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.lab.virtual.base import Say

PACKAGES = ("libc6", "python3-minimal", "python3.11-minimal", "libpython3.11-stdlib", "libexpat1", "zlib1g", "dash")
_LIB, _PYTHON = "/usr/lib/aarch64-linux-gnu", "/usr/lib/python3.11"
LEFT_OUT = (
    *("/usr/share/*", "/var/lib/dpkg/*", "/usr/bin/dpkg*", "/usr/sbin/*", "/sbin/*", "/bin/tar", "/usr/bin/perl*"),
    *(f"{_LIB}/{name}" for name in ("gconv/*", "libcrypto*", "libssl*", "libdb*", "libsqlite*", "libkrb5*", "libk5*")),
    *(f"{_LIB}/{name}" for name in ("libgssapi*", "libzstd*", "libpcre*", "libperl*")),
    *(f"{_PYTHON}/{name}/*" for name in ("test", "pydoc_data", "asyncio", "email", "unittest", "lib2to3", "distutils")),
    *(f"{_PYTHON}/lib-dynload/{name}" for name in ("_codecs_*", "_test*", "_ssl*", "_sqlite3*", "_decimal*")),
)
"""What a container here has no use for: dockerd on an emulated machine unpacks 2 MB a second."""
REPOSITORY = "dustynv/l4t-pytorch"
"""What dockerd fetches through its mirror of Docker Hub; registries with a certificate of their own are not played."""

_TORCH = Path(__file__).with_name("image")
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_PATIENCE = 30.0


def layers(say: Say) -> list[Path]:
    """Return the layers of the images, made where they are not yet there: Python, and the stand-in for PyTorch."""
    folder = cache() / f"image-{digest(SUITE, PACKAGES, LEFT_OUT, _TORCH)}"
    if not folder.exists():
        needs.require(build=True)
        with made_once(folder) as draft:
            if draft is not None:
                say("building the container image")
                _make(draft)
    return [folder / "python.tar.gz", folder / "torch.tar.gz"]


def _make(draft: Path) -> None:
    archive = draft / "python.tar"
    command = ["mmdebstrap", "--quiet", "--architectures=arm64", "--variant=extract", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    command += ['--customize-hook=ln -sf dash "$1/bin/sh"', "--format=tar", SUITE, str(archive)]
    needs.run(command)
    (draft / "python.tar.gz").write_bytes(gzip.compress(archive.read_bytes(), 6, mtime=0))
    archive.unlink()
    (draft / "torch.tar.gz").write_bytes(gzip.compress(tree(_TORCH), mtime=0))


@dataclass
class DockerRegistry:
    """Debian's docker-registry on a loopback port, with the lab's images; storage stays in its folder."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address to ask."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> DockerRegistry:
        """Start it; the port of the last time is taken where it is free."""
        self.folder.mkdir(exist_ok=True)
        self.port = free_port(self.port)
        config = self.folder / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{self.folder}/data'}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n",
            encoding="utf-8",
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process and self._process.poll() is None:
            try:
                self._ask("GET", "/v2/")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise ProvisionError("docker-registry did not start", hint=f"its log: {self.folder / 'log'}")

    def stop(self) -> None:
        """End it."""
        if self._process:
            self._process.terminate()
            self._process.wait(_PATIENCE)

    def fill(self, paths: list[Path]) -> None:
        """Bring in every image of the lab that is not there yet; they share their layers."""
        blobs = [path.read_bytes() for path in paths]
        for tag, image in _images():
            if self._ask("HEAD", f"/v2/{REPOSITORY}/manifests/{tag}", accept=_MANIFEST)[0] != http.client.OK:
                self._push(tag, blobs, _config(blobs, image))

    def _push(self, tag: str, blobs: list[bytes], config: bytes) -> None:
        for blob in (*blobs, config):
            name = _name(blob)
            if self._ask("HEAD", f"/v2/{REPOSITORY}/blobs/{name}")[0] == http.client.OK:
                continue
            _, headers = self._ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
            where = urlsplit(headers["Location"])
            self._ask("PUT", f"{where.path}?{where.query}&digest={name}", blob)
        entries = [_entry(_CONFIG, config), *(_entry(_LAYER, blob) for blob in blobs)]
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": entries[0], "layers": entries[1:]}
        status, _ = self._ask("PUT", f"/v2/{REPOSITORY}/manifests/{tag}", json.dumps(manifest).encode(), kind=_MANIFEST)
        if status >= http.client.BAD_REQUEST:
            raise ProvisionError(f"docker-registry refuses {REPOSITORY}:{tag} (status {status})")

    def _ask(
        self, method: str, path: str, body: bytes = b"", *, kind: str = "application/octet-stream", accept: str = "*/*"
    ) -> tuple[int, http.client.HTTPMessage]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            link.request(method, path, body, {"Content-Type": kind, "Accept": accept})
            answer = link.getresponse()
            answer.read()
            return answer.status, answer.headers
        finally:
            link.close()


def _images() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, image in catalogue.everything()["images"].items():
        repository, _, tag = name.rpartition(":")
        if repository == REPOSITORY:
            yield tag, image


def _name(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _entry(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _name(blob)}


def _config(blobs: list[bytes], image: dict[str, Any]) -> bytes:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "VIRTUAL_JETSON_TORCH": image["torch"],
        "VIRTUAL_JETSON_CUDA": image["cuda"],
    }
    value = {
        "architecture": "arm64",
        "os": "linux",
        "config": {"Env": [f"{key}={text}" for key, text in environment.items()], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [_name(gzip.decompress(blob)) for blob in blobs]},
    }
    return json.dumps(value).encode()
