"""Laws of asking a registry, against real HTTP servers: Debian's docker-registry, and a small one with tokens."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from provisioner.errors import InputError
from provisioner.jetson.compatibility import candidates
from provisioner.jetson.pins import LockFile, choose
from provisioner.jetson.registry import (
    DigestMismatch,
    Platform,
    PlatformNotFound,
    Registry,
    RegistryRefused,
    RegistryUnreachable,
    TagNotFound,
    parse_reference,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ARM64 = Platform("linux", "arm64")
AMD64 = Platform("linux", "amd64")
ARM64_V8 = Platform("linux", "arm64", "v8")
NO_PLATFORM = Platform("unknown", "unknown")
INNER = [("single", "single"), ("docker", "docker"), ("index", "single"), ("list", "docker")]


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def encode(body: dict[str, Any]) -> bytes:
    # spaces on purpose: the digest is of the bytes as they are, not of the JSON in them
    return json.dumps(body, indent=3).encode()


@dataclass
class Shelf:
    """A repository's blobs and manifests, as bytes, and the tags that point at them."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def blob(self, body: bytes) -> dict[str, Any]:
        self.blobs[digest_of(body)] = body
        return {"mediaType": "application/octet-stream", "digest": digest_of(body), "size": len(body)}

    def image(self, platform: Platform, layers: list[bytes], kind: str = OCI_MANIFEST, *, named: bool = True) -> str:
        config = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
        body: dict[str, Any] = {"schemaVersion": 2, "mediaType": kind} if named else {"schemaVersion": 2}
        body |= {"config": self.blob(encode(config)), "layers": [self.blob(layer) for layer in layers]}
        return self.put(kind, encode(body))

    def index(self, entries: list[tuple[Platform | None, str]], media_type: str = OCI_INDEX) -> str:
        rows = []
        for platform, digest in entries:
            row: dict[str, Any] = {"digest": digest, "size": len(self.manifests[digest][1])}
            row["mediaType"] = self.manifests[digest][0]
            if platform:
                row["platform"] = {"os": platform.os, "architecture": platform.architecture}
                row["platform"] |= {"variant": platform.variant} if platform.variant else {}
            rows.append(row)
        return self.put(media_type, encode({"schemaVersion": 2, "mediaType": media_type, "manifests": rows}))

    def put(self, media_type: str, body: bytes) -> str:
        self.manifests[digest_of(body)] = (media_type, body)
        return digest_of(body)


class Server(ThreadingHTTPServer):
    """A registry that serves a shelf; its switches make it behave as some real ones do."""

    daemon_threads = True

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.shelf = shelf
        self.token = ""
        self.token_scopes: list[str] = []
        self.failures: list[int] = []
        self.refuse = 0
        self.corrupt = False
        self.elsewhere = ""
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET only: that is all that asking may need."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        registry = self.server
        registry.seen.append((self.path, self.headers.get("Authorization", "")))
        if self.path.startswith("/token?"):
            query = parse_qs(urlsplit(self.path).query)
            registry.token_scopes += [*query.get("scope", []), *query.get("service", [])]
            self.answer(200, json.dumps({"token": registry.token}).encode(), "application/json")
        elif registry.failures:
            self.answer(registry.failures.pop(0), b"try later", "text/plain")
        elif registry.refuse:
            self.answer(registry.refuse, b"{}", "application/json")
        elif registry.token and self.headers.get("Authorization") != f"Bearer {registry.token}":
            scope = "repository:nvidia/l4t-pytorch:pull,push"
            challenge = f'Bearer realm="{registry.url}/token",service="unit, test",scope="{scope}"'
            self.answer(401, b"{}", "application/json", {"WWW-Authenticate": challenge})
        else:
            self.content(registry.shelf)

    def content(self, shelf: Shelf) -> None:
        kind, _, name = self.path.removeprefix("/v2/nvidia/l4t-pytorch/").partition("/")
        if kind == "manifests" and (found := shelf.manifests.get(shelf.tags.get(name, name))):
            media_type, body = found
            # a header that lies: nobody may believe it
            lie = {"Docker-Content-Digest": f"sha256:{'0' * 64}"}
            self.answer(200, body.replace(b"2", b"3", 1) if self.server.corrupt else body, media_type, lie)
        elif kind == "blobs" and self.server.elsewhere:
            self.answer(307, b"", "text/plain", {"Location": f"{self.server.elsewhere}{self.path}"})
        elif kind == "blobs" and name in shelf.blobs:
            self.answer(200, shelf.blobs[name], "application/octet-stream")
        else:
            self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', "application/json")

    def answer(self, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


def serve(shelf: Shelf) -> Server:
    server = Server(shelf)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture
def shelf() -> Shelf:
    """A shelf with a single manifest of each media type, an index of each, and one without media types."""
    made = Shelf()
    arm = made.image(ARM64, [b"arm layer", b"shared", b"shared"])
    amd = made.image(AMD64, [b"amd layer, somewhat longer", b"shared"])
    docker = made.image(ARM64, [b"docker layer"], DOCKER_MANIFEST)
    attestation = made.image(NO_PLATFORM, [b"attestation"])
    made.tags = {
        "single": arm,
        "amd": amd,
        "docker": docker,
        "bare": made.image(ARM64, [b"bare"], named=False),
        "index": made.index([(AMD64, amd), (ARM64_V8, arm), (NO_PLATFORM, attestation)]),
        "list": made.index([(None, amd), (ARM64, docker)], DOCKER_LIST),
    }
    return made


@pytest.fixture
def server(shelf: Shelf) -> Iterator[Server]:
    """The shelf behind HTTP on loopback."""
    made = serve(shelf)
    yield made
    made.shutdown()
    made.server_close()


def client(server: Server) -> Registry:
    return Registry(mirrors={"nvcr.io": server.url}, timeout_s=5, backoff_s=0.01)


def ask(server: Server, tag: str, platform: Platform = ARM64) -> Any:
    return client(server).resolve(f"nvcr.io/nvidia/l4t-pytorch:{tag}", platform)


@pytest.mark.parametrize(
    ("tag", "inner"), [("single", "single"), ("docker", "docker"), ("index", "single"), ("list", "docker")]
)
def test_digests_are_those_of_the_bytes(server: Server, shelf: Shelf, tag: str, inner: str) -> None:
    """Both digests are the sha256 of what was served, for all media types, whatever a header says."""
    found = ask(server, tag)
    assert found.reference == f"nvcr.io/nvidia/l4t-pytorch:{tag}"
    assert (found.tag_digest, found.platform_digest) == (shelf.tags[tag], shelf.tags[inner])
    assert found.media_type == shelf.manifests[shelf.tags[tag]][0]


def test_sizes_count_each_blob_once(server: Server, shelf: Shelf) -> None:
    """The compressed size is that of the distinct blobs, configuration included; the layers stay in order."""
    found = ask(server, "single")
    config = len(shelf.blobs[found.config_digest])
    assert found.compressed_size == len(b"arm layer") + len(b"shared") + config
    assert found.layers == tuple((digest_of(layer), len(layer)) for layer in (b"arm layer", b"shared", b"shared"))


def test_a_document_may_leave_its_media_type_out(server: Server, shelf: Shelf) -> None:
    """OCI lets a manifest go without a media type; its shape tells what it is."""
    assert ask(server, "bare").tag_digest == shelf.tags["bare"]


def test_the_platform_of_a_single_manifest_is_in_its_configuration(server: Server) -> None:
    """A manifest without an index is taken for what its configuration says, and not for what one hopes."""
    assert ask(server, "amd", AMD64).platform == AMD64
    with pytest.raises(PlatformNotFound, match=r"not built for linux/arm64, only for linux/amd64"):
        ask(server, "amd")


def test_a_missing_platform_names_those_there_are(server: Server) -> None:
    """The error lists the platforms of the index, without attestations."""
    with pytest.raises(PlatformNotFound, match=r"linux/arm/v7, only for linux/amd64, linux/arm64/v8$"):
        ask(server, "index", Platform("linux", "arm", "v7"))


def test_a_missing_tag_is_not_tried_again(server: Server) -> None:
    """404 is an answer, given at the first request."""
    with pytest.raises(TagNotFound):
        ask(server, "r35.3.1-pth2.0-py3")
    assert len(server.seen) == 1


@pytest.mark.parametrize("tag", ["single", "index"])
def test_an_anonymous_token_is_fetched_once(server: Server, tag: str) -> None:
    """A challenge is met with a token for pulling only, and the token serves all further requests."""
    server.token = "anonymous-token"
    assert ask(server, tag).platform == ARM64
    assert server.token_scopes == ["repository:nvidia/l4t-pytorch:pull", "unit, test"]
    paths = [path for path, _ in server.seen if path.startswith("/token")]
    assert len(paths) == 1
    assert all(sent == "Bearer anonymous-token" for path, sent in server.seen[2:])


def test_a_token_does_not_follow_a_redirect(server: Server, shelf: Shelf) -> None:
    """Blobs may lie on another host, which must not see the registry's token."""
    other = serve(shelf)
    server.token, server.elsewhere = "anonymous-token", other.url
    assert ask(server, "single").platform == ARM64
    assert [sent for _, sent in other.seen] == [""]
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_refusal_says_what_to_do(server: Server, status: int) -> None:
    """A registry that refuses is not asked again, and the error has a hint."""
    server.refuse = status
    with pytest.raises(RegistryRefused, match=str(status)) as caught:
        ask(server, "single")
    assert caught.value.hint
    assert len(server.seen) == 1


def test_a_failing_server_is_tried_again(server: Server) -> None:
    """Server errors are waited out with growing pauses, up to a limit."""
    server.failures = [503, 502]
    assert ask(server, "single").platform == ARM64
    server.failures = [500] * 10
    with pytest.raises(RegistryUnreachable, match="no answer"):
        ask(server, "single")


def test_nobody_there(server: Server) -> None:
    """A registry that does not listen is unreachable, with the cause."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RegistryUnreachable, match="refused"):
        Registry({"nvcr.io": url}, backoff_s=0.01).resolve("nvcr.io/nvidia/l4t-pytorch:x", ARM64)


@pytest.mark.parametrize("tag", ["index"])
def test_altered_bytes_are_refused(server: Server, shelf: Shelf, tag: str) -> None:
    """What is asked for by digest must have that digest, and what is inside an index too."""
    server.corrupt = True
    with pytest.raises(DigestMismatch):
        client(server).resolve(f"nvcr.io/nvidia/l4t-pytorch@{shelf.tags[tag]}", ARM64)
    with pytest.raises(DigestMismatch):
        ask(server, tag)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"[]",
        b'{"mediaType": "application/vnd.oci.image.index.v1+json"}',
        b'{"manifests": [{"digest": "../x", "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}]}',
        b'{"config": {}, "layers": []}',
        b'{"mediaType": "text/html"}',
    ],
)
def test_nonsense_is_an_error(server: Server, shelf: Shelf, body: bytes) -> None:
    """A captive portal, a broken index or a digest that is a path is reported, never a traceback."""
    shelf.tags["nonsense"] = shelf.put("text/html", body)
    with pytest.raises(DigestMismatch):
        ask(server, "nonsense")


def test_a_pin_falls_through_to_what_is_there(tmp_path: Path, server: Server, shelf: Shelf) -> None:
    """Chosen against a real registry, the copied tag that does not exist is passed over with a note."""
    shelf.tags = {"r35.2.1-pth2.0-py3": shelf.tags["single"]}
    wish = candidates("35.2.1", wanted="nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3")
    choice = choose(wish, client(server), LockFile(tmp_path / "lab.lock.yaml"))
    assert choice.pin.index_digest == shelf.tags["r35.2.1-pth2.0-py3"]
    assert choice.notes[0].startswith("passed over: nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3")


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
        ("dustynv/l4t-pytorch:r36.4.0", "docker.io/dustynv/l4t-pytorch:r36.4.0"),
        ("index.docker.io/dustynv/x:1", "docker.io/dustynv/x:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
        (f"nvcr.io/nvidia/x@sha256:{'a' * 64}", f"nvcr.io/nvidia/x@sha256:{'a' * 64}"),
    ],
)
def test_names_are_completed_as_docker_does(text: str, full: str) -> None:
    """A name without host is docker.io's, without slash in library/, and without tag `latest`."""
    assert str(parse_reference(text)) == full


@pytest.mark.parametrize("text", ["", "UPPER/case", "a b", "nvcr.io/../x:1", "x:t?a", "x@sha256:12", "x:\n"])
def test_what_is_no_name_is_refused(text: str) -> None:
    """Nothing that is no image name becomes part of a URL."""
    with pytest.raises(InputError):
        parse_reference(text)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on loopback, storing below a temporary folder."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_for(address)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def wait_for(address: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(tuple(address.split(":")), timeout=1):  # type: ignore[arg-type]
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("docker-registry did not start")


def push(address: str, repository: str, shelf: Shelf, tag: str) -> None:
    """Upload a tag and all below it, as the distribution protocol has it."""
    connection = http.client.HTTPConnection(address, timeout=10)

    def send(method: str, path: str, body: bytes = b"", media_type: str = "application/octet-stream") -> str:
        connection.request(method, path, body, {"Content-Type": media_type})
        with connection.getresponse() as response:
            answer = response.read()
            assert response.status < 300, answer
            return response.headers.get("Location", "")

    for digest, blob in shelf.blobs.items():
        where = urlsplit(send("POST", f"/v2/{repository}/blobs/uploads/"))
        send("PUT", f"{where.path}?{where.query}&digest={digest}", blob)
    top = shelf.tags[tag]
    for digest, (media_type, body) in shelf.manifests.items():
        if digest != top and b'"manifests"' not in body:
            send("PUT", f"/v2/{repository}/manifests/{digest}", body, media_type)
    media_type, body = shelf.manifests[top]
    send("PUT", f"/v2/{repository}/manifests/{tag}", body, media_type)


@pytest.mark.parametrize(
    ("tag", "inner"), [("single", "single"), ("docker", "docker"), ("index", "single"), ("list", "docker")]
)
def test_debians_registry_gives_the_same_answers(debian: str, tag: str, inner: str) -> None:
    """What was pushed to a real registry is resolved to the digests of the pushed bytes, by tag and by digest."""
    made = Shelf()
    arm, amd = made.image(ARM64, [b"arm"]), made.image(AMD64, [b"amd"])
    docker = made.image(ARM64, [b"docker"], DOCKER_MANIFEST)
    docker_amd = made.image(AMD64, [b"docker amd"], DOCKER_MANIFEST)
    made.tags = {
        "single": arm,
        "docker": docker,
        "index": made.index([(AMD64, amd), (ARM64, arm)]),
        "list": made.index([(AMD64, docker_amd), (ARM64, docker)], DOCKER_LIST),
    }
    push(debian, "nvidia/l4t-pytorch", made, tag)
    registry = Registry({"nvcr.io": f"http://{debian}"})
    found = registry.resolve(f"nvcr.io/nvidia/l4t-pytorch:{tag}", ARM64)
    assert (found.tag_digest, found.platform_digest) == (made.tags[tag], made.tags[inner])
    again = registry.resolve(f"nvcr.io/nvidia/l4t-pytorch@{found.tag_digest}", ARM64)
    assert (again.tag_digest, again.layers) == (found.tag_digest, found.layers)
    with pytest.raises(TagNotFound):
        registry.resolve("nvcr.io/nvidia/l4t-pytorch:none", ARM64)
