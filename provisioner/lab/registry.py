"""The lab's OCI registry: the images of devices.yaml, made of the same bytes each time, over HTTP on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
import threading
from dataclasses import field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from provisioner.records import dataclass

_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_OCI = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = {
    True: "application/vnd.oci.image.layer.v1.tar+gzip",
    False: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_CONFIG = {True: "application/vnd.oci.image.config.v1+json", False: "application/vnd.docker.container.image.v1+json"}


def digest(data: bytes) -> str:
    """Return the name of a blob."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Store:
    """Blobs by digest; manifests by repository and digest; tags."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, name: str, image: dict[str, Any]) -> None:
        """Make an image (or an index of several) and tag it; name is REPOSITORY:TAG."""
        repository, _, tag = name.rpartition(":")
        oci = bool(image.get("oci"))
        platforms = image.get("platforms", ["arm64"])
        entries = [self._manifest(repository, name, platform, image, oci=oci) for platform in platforms]
        if len(entries) > 1 or image.get("index"):
            body = {"schemaVersion": 2, "mediaType": _OCI_INDEX if oci else _DOCKER_LIST, "manifests": entries}
            found = self._keep(repository, str(body["mediaType"]), body)
        else:
            found = entries[0]["digest"]
        self.tags[repository, tag] = found

    def find(self, repository: str, reference: str) -> tuple[str, bytes] | None:
        """Return the media type and the bytes of a manifest."""
        return self.manifests.get((repository, self.tags.get((repository, reference), reference)))

    def _keep(self, repository: str, kind: str, body: dict[str, Any]) -> str:
        data = json.dumps(body, indent=3).encode()
        self.manifests[repository, digest(data)] = (kind, data)
        return digest(data)

    def _blob(self, kind: str, data: bytes) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": kind, "size": len(data), "digest": digest(data)}

    def _manifest(
        self, repository: str, name: str, platform: str, image: dict[str, Any], *, oci: bool
    ) -> dict[str, Any]:
        layers = [_layer(f"{name} {platform} {n}", size) for n, size in enumerate(image.get("layers", [4096, 65536]))]
        config = _config(name, platform, image, [plain for plain, _packed in layers])
        body = {
            "schemaVersion": 2,
            "mediaType": _OCI if oci else _DOCKER,
            "config": self._blob(_CONFIG[oci], json.dumps(config).encode()),
            "layers": [self._blob(_LAYER[oci], packed) for _plain, packed in layers],
        }
        found = self._keep(repository, str(body["mediaType"]), body)
        size = len(self.manifests[repository, found][1])
        place = {"architecture": platform, "os": "linux"}
        return {"mediaType": body["mediaType"], "size": size, "digest": found, "platform": place}


def _layer(seed: str, size: int) -> tuple[str, bytes]:
    """Return the digest of a layer's tar, and the tar packed: the same bytes for the same seed."""
    content = random.Random(seed).randbytes(size)  # noqa: S311 - bytes to fill a layer with
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("simulated/" + seed.replace("/", "_").replace(" ", "_"))
        entry.size = size
        archive.addfile(entry, io.BytesIO(content))
    return digest(out.getvalue()), gzip.compress(out.getvalue(), 1, mtime=0)


def _config(name: str, platform: str, image: dict[str, Any], layers: list[str]) -> dict[str, Any]:
    return {
        "architecture": platform,
        "os": "linux",
        "created": image.get("created", "2024-01-01T00:00:00Z"),
        "config": {
            "Env": ["PATH=/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/bin/bash"],
            "Labels": {
                "simulation": "true",
                "image": name,
                "torch": image.get("torch", ""),
                "cuda": image.get("cuda", ""),
            },
        },
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": [{"created_by": "simulated"} for _ in layers],
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "simulated-registry"
    disable_nagle_algorithm = True
    store: ClassVar[Store]

    def do_GET(self) -> None:
        """Serve the base, a manifest, a blob or a list of tags."""
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts == ["v2"]:
            self._send(200, b"{}", "application/json")
        elif len(parts) > 3 and parts[0] == "v2" and parts[-2] in {"manifests", "blobs", "tags"}:  # noqa: PLR2004
            getattr(self, f"_{parts[-2]}")("/".join(parts[1:-2]), parts[-1])
        else:
            self._send(404, b"404 page not found", "text/plain")

    do_HEAD = do_GET  # noqa: N815 - http.server's own name

    def _manifests(self, repository: str, reference: str) -> None:
        found = self.store.find(repository, reference)
        if found is None:
            self._missing("MANIFEST_UNKNOWN", "manifest unknown", {"Tag": reference})
            return
        self._send(200, found[1], found[0], {"Docker-Content-Digest": digest(found[1])})

    def _blobs(self, _repository: str, name: str) -> None:
        data = self.store.blobs.get(name)
        if data is None:
            self._missing("BLOB_UNKNOWN", "blob unknown to registry", name)
            return
        self._send(200, data, "application/octet-stream", {"Docker-Content-Digest": name})

    def _tags(self, repository: str, _list: str) -> None:
        tags = sorted(tag for owner, tag in self.store.tags if owner == repository)
        if not tags:
            self._missing("NAME_UNKNOWN", "repository name not known to registry", {"name": repository})
            return
        self._send(200, json.dumps({"name": repository, "tags": tags}).encode(), "application/json")

    def _missing(self, code: str, message: str, detail: Any) -> None:
        body = {"errors": [{"code": code, "message": message, "detail": detail}]}
        self._send(404, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the supervisor's log is for what went wrong."""


class Registry:
    """A registry that serves a store on a loopback port."""

    def __init__(self, images: dict[str, Any], port: int = 0) -> None:
        self.store = Store()
        for name, image in images.items():
            self.store.add(name, image or {})
        handler = type("Handler", (_Handler,), {"store": self.store})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError:
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """Return the port that was given or found."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return the address to ask."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Registry:
        """Serve in the background."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="registry").start()
        return self
