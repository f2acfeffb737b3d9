"""Images of the Docker stand-in: pulled over HTTP from the lab's registry, digest by digest."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import hashlib
import json
import os
import sys

from . import dockerd, state

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any

_BLOBS = "/var/lib/docker/simulated-layers"
_NO_DNS = f"{state.DISK}/no-dns"  # written by whoever wants to see a device whose names do not resolve
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)


def platform() -> str:
    """Return the platform whose images the device runs, as docker writes it."""
    name = str(state.device()["architecture"])
    return {"arm64": "linux/arm64/v8", "armhf": "linux/arm/v7"}.get(name, f"linux/{name}")


def split(reference: str) -> tuple[str, str, str, str]:
    """Return host, path, tag and digest of a reference, the first three as docker completes them."""
    name, _, digest = reference.partition("@")
    head, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in head or ":" in head or head == "localhost")
    host, path = (head, rest) if is_host else ("docker.io", name)
    base, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        base, tag = path, ""
    if host == "docker.io" and "/" not in base:
        base = f"library/{base}"
    return host, base, tag if tag or digest else "latest", digest


def familiar(host: str, path: str) -> str:
    """Return a repository's name as docker prints it."""
    if host == "docker.io":
        return path.removeprefix("library/")
    return f"{host}/{path}"


def with_tag(reference: str) -> str:
    """Return a reference as docker prints it."""
    host, path, tag, digest = split(reference)
    return familiar(host, path) + (f"@{digest}" if digest else f":{tag}")


def find(store: dict[str, Any], reference: str) -> dict[str, Any] | None:
    """Return the image that a reference or an id names."""
    name = with_tag(reference)
    bare = reference.removeprefix("sha256:")
    for image in store["images"].values():
        if name in image["tags"] or name in image["digests"] or (len(bare) >= 12 and image["id"][7:].startswith(bare)):  # noqa: PLR2004
            return dict(image)
        repository, at, digest = name.partition("@")
        if at and any(d == f"{repository.rpartition(':')[0] or repository}@{digest}" for d in image["digests"]):
            return dict(image)
    return None


def inspected(image: dict[str, Any]) -> dict[str, Any]:
    """Return what `docker image inspect` shows."""
    config = image["config"]
    return {
        "Id": image["id"],
        "RepoTags": image["tags"],
        "RepoDigests": image["digests"],
        "Parent": "",
        "Created": config.get("created", ""),
        "Architecture": config["architecture"],
        "Os": config["os"],
        "Size": image["size"],
        "Config": config.get("config", {}),
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "RootFS": {"Type": "layers", "Layers": config["rootfs"]["diff_ids"]},
    }


def rows(store: dict[str, Any], wanted: str, *, full: bool) -> list[dict[str, str]]:
    """Return the lines of `docker images`."""
    found = []
    for image in store["images"].values():
        digests = dict(entry.split("@") for entry in image["digests"])
        named = [entry.rpartition(":")[::2] for entry in image["tags"]]
        untagged = [(name, "<none>") for name in digests if name not in {repository for repository, _ in named}]
        for repository, tag in [*named, *untagged] or [("<none>", "<none>")]:
            if wanted and wanted not in (repository, f"{repository}:{tag}"):
                continue
            found.append(
                {
                    "Repository": repository,
                    "Tag": tag,
                    "Digest": digests.get(repository, "<none>"),
                    "ID": image["id"] if full else image["id"][7:19],
                    "CreatedSince": "simulated",
                    "CreatedAt": image["config"].get("created", ""),
                    "Size": f"{image['size']}B",
                }
            )
    return found


class Refused(Exception):  # noqa: N818
    """What the daemon answers instead of an image."""


def pull(reference: str, *, quiet: bool = False, platform: str = "linux/arm64/v8") -> int:
    """Run `docker pull`."""
    try:
        _pull(reference, quiet=quiet, platform=platform)
    except Refused as error:
        state.fail(1, f"Error response from daemon: {error}")
    return 0


def _pull(reference: str, *, quiet: bool, platform: str) -> None:
    host, path, tag, digest = split(reference)
    say = (lambda _line: None) if quiet else _say
    if not tag and not digest:
        tag = "latest"
    if not (tag or digest) or (tag == "latest" and ":" not in reference.rpartition("/")[2]):
        say("Using default tag: latest")
    where = _Registry(path, familiar(host, path), digest or tag)
    kind, body = where.manifest(digest or tag)
    top = "sha256:" + hashlib.sha256(body).hexdigest()
    if digest and top != digest:
        raise Refused(f"manifest verification failed for digest {digest}")
    manifest, config = where.image(kind, body, platform)
    image_id = manifest["config"]["digest"]
    say(f"{(digest and with_tag(reference)) or tag}: Pulling from {path}")
    with state.locked("docker"):
        store = dockerd.load()
        fresh = image_id not in store["images"]
        where.layers(store, manifest, say)
        _record(
            store,
            image_id,
            manifest,
            config,
            f"{familiar(host, path)}@{top}",
            with_tag(reference) if tag and not digest else "",
        )
        dockerd.save(store)
    say(f"Digest: {top}")
    say(f"Status: {'Downloaded newer image' if fresh else 'Image is up to date'} for {with_tag(reference)}")
    print(f"{host}/{path}" + (f"@{digest}" if digest else f":{tag}"))


def _say(line: str) -> None:
    print(line, flush=True)


def _record(  # noqa: PLR0917
    store: dict[str, Any], image_id: str, manifest: dict[str, Any], config: dict[str, Any], digest: str, tag: str
) -> None:
    if tag:
        for other in store["images"].values():
            other["tags"] = [name for name in other["tags"] if name != tag]
    size = sum(layer["size"] for layer in manifest["layers"])
    layers = [layer["digest"] for layer in manifest["layers"]]
    new = {"id": image_id, "tags": [], "digests": [], "config": config, "size": 2 * size, "layers": layers}
    image = store["images"].setdefault(image_id, new)
    image["digests"] = sorted({*image["digests"], digest})
    if tag:
        image["tags"] = sorted({*image["tags"], tag})


class _Registry:
    """One repository of the lab's registry, over one connection."""

    def __init__(self, path: str, shown: str, reference: str) -> None:
        import http.client

        self._shown, self._reference = shown, reference
        with open(f"{state.RUN}/registry", encoding="utf-8") as file:  # noqa: PTH123
            address = file.read().strip().partition("://")[2]
        self._base = f"/v2/{path}"
        self._connection = http.client.HTTPConnection(address, timeout=30)

    def manifest(self, reference: str) -> tuple[str, bytes]:
        status, kind, body = self._get(f"manifests/{reference}")
        if status == 404:  # noqa: PLR2004
            mark = "@" if reference.startswith("sha256:") else ":"
            raise Refused(f"manifest for {self._shown}{mark}{reference} not found: manifest unknown: manifest unknown")
        return kind, body

    def image(self, kind: str, body: bytes, platform: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the manifest and the configuration for this platform."""
        manifest = json.loads(body)
        if kind.endswith(("index.v1+json", "manifest.list.v2+json")):
            architecture = platform.split("/")[1]
            fitting = [m for m in manifest["manifests"] if m["platform"]["architecture"] == architecture]
            if not fitting:
                raise Refused(f"no matching manifest for {platform} in the manifest list entries")
            _kind, body = self.manifest(fitting[0]["digest"])
            manifest = json.loads(body)
        return manifest, json.loads(self.blob(manifest["config"]["digest"]))

    def layers(self, store: dict[str, Any], manifest: dict[str, Any], say: Any) -> None:
        """Fetch the layers that are not there, and check each."""
        os.makedirs(_BLOBS, exist_ok=True, mode=0o700)  # noqa: PTH103
        names = [layer["digest"] for layer in manifest["layers"]]
        present = {name for image in store["images"].values() for name in image["layers"]}
        for name in names:
            say(f"{name[7:19]}: {'Already exists' if name in present else 'Pulling fs layer'}")
        for name in [name for name in names if name not in present]:
            data = self.blob(name)
            say(f"{name[7:19]}: Verifying Checksum")
            with open(f"{_BLOBS}/{name[7:]}", "wb") as file:  # noqa: PTH123
                file.write(data)
            say(f"{name[7:19]}: Download complete")
        for name in [name for name in names if name not in present]:
            say(f"{name[7:19]}: Pull complete")

    def blob(self, digest: str) -> bytes:
        status, _kind, body = self._get(f"blobs/{digest}")
        if status != 200:  # noqa: PLR2004
            raise Refused("error pulling image configuration: unknown blob")
        if "sha256:" + hashlib.sha256(body).hexdigest() != digest:
            raise Refused(f"filesystem layer verification failed for digest {digest}")
        return body

    def _get(self, path: str) -> tuple[int, str, bytes]:
        host = self._shown.split("/")[0]
        if os.path.exists(_NO_DNS):  # noqa: PTH110
            raise Refused(f'Get "https://{host}/v2/": dial tcp: lookup {host} on 127.0.0.53:53: i/o timeout')
        try:
            self._connection.request("GET", f"{self._base}/{path}", headers={"Accept": _ACCEPT})
            reply = self._connection.getresponse()
            return reply.status, reply.getheader("Content-Type", ""), reply.read()
        except OSError as error:
            raise Refused(f'Get "https://{host}/v2/": {error}') from error


def tag(source: str, target: str) -> int:
    """Run `docker tag`."""
    with state.locked("docker"):
        store = dockerd.load()
        image = find(store, source)
        if image is None:
            state.fail(1, f"Error response from daemon: No such image: {with_tag(source)}")
        name = with_tag(target)
        for other in store["images"].values():
            other["tags"] = [entry for entry in other["tags"] if entry != name]
        own = store["images"][image["id"]]
        own["tags"] = sorted({*own["tags"], name})
        dockerd.save(store)
    return 0


def remove(references: list[str], *, force: bool) -> int:
    """Run `docker rmi`."""
    status = 0
    with state.locked("docker"):
        store = dockerd.load()
        for reference in references:
            status = _remove(store, reference, force=force) or status
        dockerd.save(store)
    return status


def _remove(store: dict[str, Any], reference: str, *, force: bool) -> int:
    found = find(store, reference)
    if found is None:
        sys.stderr.write(f"Error response from daemon: No such image: {with_tag(reference)}\n")
        return 1
    image, name = store["images"][found["id"]], with_tag(reference)
    by_id = name not in image["tags"] and name not in image["digests"]
    others = [entry for entry in image["tags"] + image["digests"] if entry != name]
    only_digest_left = name in image["tags"] and not any(entry in image["tags"] for entry in others)
    if not by_id and others and not only_digest_left:
        for key in ("tags", "digests"):
            image[key] = [entry for entry in image[key] if entry != name]
        print(f"Untagged: {name}")
        return 0
    users = [c for c in store["containers"].values() if c["image_id"] == image["id"]]
    if users and not (force and not any(c["running"] for c in users)):
        how = "running" if users[0]["running"] else "stopped"
        where = f"image is being used by {how} container {users[0]['id'][:12]}"
        kind = "cannot be forced" if users[0]["running"] else "must be forced"
        sys.stderr.write(f"Error response from daemon: conflict: unable to delete {name} ({kind}) - {where}\n")
        return 1
    for entry in [*image["tags"], *image["digests"]]:
        print(f"Untagged: {entry}")
    print(f"Deleted: {image['id']}")
    del store["images"][image["id"]]
    kept = {layer for other in store["images"].values() for layer in other["layers"]}
    for layer in set(image["layers"]) - kept:
        os.unlink(f"{_BLOBS}/{layer[7:]}")  # noqa: PTH108
    return 0
