"""Asks an OCI registry what a tag means: digests, platforms and sizes, without pulling anything.

Three requests at most (index, manifest, configuration), each answer checked against its own sha256: what a header
claims is never taken over. Credentials are not used; where a token is wanted, an anonymous one is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from provisioner.errors import InputError, ProvisionError
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPResponse
    from urllib.request import OpenerDirector

TIMEOUT_S = 15.0
ATTEMPTS = 3
BACKOFF_S = 0.5
MAX_BODY = 4 * 1024 * 1024
"""Bytes; registries refuse manifests larger than this, so a longer body is no manifest."""

_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = ", ".join((*_INDEX_TYPES, *_MANIFEST_TYPES))
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*")
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class RegistryError(ProvisionError):
    """A registry that did not answer the question."""


class TagNotFound(RegistryError):  # noqa: N818 - named after what it says
    """The registry answered, and has no such tag or digest."""


class PlatformNotFound(RegistryError):  # noqa: N818
    """The tag is there, but not for this platform."""


class RegistryUnreachable(RegistryError):  # noqa: N818
    """No answer, or only server errors, after several tries."""


class RegistryRefused(RegistryError):  # noqa: N818
    """The registry answered 401, 403 or 429."""


class DigestMismatch(RegistryError):  # noqa: N818
    """The bytes are not the ones that were asked for, or make no sense."""


@dataclass(frozen=True, order=True)
class Platform:
    """What an image is built for, in Go's words: linux, arm64, and for 32-bit Arm a variant."""

    os: str = "linux"
    architecture: str = "arm64"
    variant: str = ""

    def __str__(self) -> str:
        """Return linux/arm64 or linux/arm/v7."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def accepts(self, other: Platform) -> bool:
        """Tell whether an image for the other platform is one for this; arm64 is always v8, said or not."""
        return self._normal() == other._normal()

    def _normal(self) -> tuple[str, str, str]:
        variant = "" if self.architecture == "arm64" and self.variant == "v8" else self.variant
        return self.os, self.architecture, variant


@dataclass(frozen=True)
class Reference:
    """An image's name, taken apart; exactly one of tag and digest is what will be asked for."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """Return the full name, with docker.io and library/ written out."""
        return (
            f"{self.host}/{self.repository}"
            + (f":{self.tag}" if self.tag else "")
            + (f"@{self.digest}" if self.digest else "")
        )

    @property
    def asked(self) -> str:
        """What identifies the manifest in a URL: the digest if there is one, else the tag."""
        return self.digest or self.tag


@dataclass(frozen=True)
class Resolved:
    """What a tag meant when it was asked; sizes in bytes, compressed, each blob counted once."""

    reference: str
    tag_digest: str
    platform_digest: str
    media_type: str
    platform: Platform
    compressed_size: int
    layers: tuple[tuple[str, int], ...]
    config_digest: str


class _Document(NamedTuple):
    """A body that was checked: its digest, the media type that is used, and the JSON in it."""

    digest: str
    media_type: str
    body: dict[str, Any]


def parse_reference(text: str) -> Reference:
    """Take an image's name apart as Docker does: no host means docker.io, there no slash means library/."""
    name, _, digest = text.partition("@")
    head, slash, rest = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        host, path = head, rest
    else:
        host, path = _HUB, name
    repository, _, tag = path.partition(":")
    if host in ("index.docker.io", _HUB_HOST):
        host = _HUB
    if host == _HUB and "/" not in repository:
        repository = f"library/{repository}"
    tag = tag or ("" if digest else "latest")
    _check_reference(text, repository, tag, digest)
    return Reference(host, repository, tag, digest)


def _check_reference(text: str, repository: str, tag: str, digest: str) -> None:
    good = _REPOSITORY.fullmatch(repository) and (not tag or _TAG.fullmatch(tag))
    if not good or (digest and not _DIGEST.fullmatch(digest)):
        raise InputError(
            f"this is no image reference: {text!r}", hint="written as host/repository:tag or host/repository@sha256:..."
        )


@dataclass
class Registry:
    """A client for one run; `mirrors` maps a host as it stands in references to the base URL that is asked instead."""

    mirrors: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S
    backoff_s: float = BACKOFF_S
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict, init=False, repr=False)

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return what a reference means for a platform, or say why it means nothing."""
        name = parse_reference(reference)
        top = self._manifest(name, name.asked)
        chosen = self._for_platform(name, top, platform) if top.media_type in _INDEX_TYPES else top
        config = _descriptor(chosen.body.get("config"), name)
        if chosen is top:
            self._same_platform(name, config[0], platform)
        layers = tuple(_descriptor(layer, name) for layer in _list(chosen.body, "layers", name))
        return Resolved(
            reference=str(name),
            tag_digest=top.digest,
            platform_digest=chosen.digest,
            media_type=top.media_type,
            platform=platform,
            compressed_size=sum(dict((config, *layers)).values()),
            layers=layers,
            config_digest=config[0],
        )

    def _for_platform(self, name: Reference, index: _Document, platform: Platform) -> _Document:
        entries = [entry for entry in _list(index.body, "manifests", name) if isinstance(entry, dict)]
        for entry in entries:
            if platform.accepts(_platform(entry.get("platform"))):
                return self._manifest(name, _descriptor(entry, name)[0], _MANIFEST_TYPES)
        there = sorted({str(found) for entry in entries if (found := _platform(entry.get("platform"))).os != "unknown"})
        raise _no_platform(name, platform, there)

    def _same_platform(self, name: Reference, config: str, platform: Platform) -> None:
        """Check a manifest that stands alone: only its configuration tells what it was built for."""
        body = self._get(name, f"blobs/{config}")
        _verify(body, config, name)
        found = _platform(_json(body, name))
        if not platform.accepts(found):
            raise _no_platform(name, platform, [str(found)])

    def _manifest(
        self, name: Reference, asked: str, types: tuple[str, ...] = (*_INDEX_TYPES, *_MANIFEST_TYPES)
    ) -> _Document:
        body = self._get(name, f"manifests/{asked}")
        digest = _verify(body, asked, name)
        parsed = _json(body, name)
        media_type = _media_type(parsed)
        if media_type not in types:
            raise DigestMismatch(f"{name}: neither an image nor an index of images: {media_type or 'no media type'}")
        return _Document(digest, media_type, parsed)

    def _base(self, host: str) -> str:
        mirror = self.mirrors.get(host)
        return (mirror or f"https://{_HUB_HOST if host == _HUB else host}").rstrip("/")

    def _get(self, name: Reference, path: str) -> bytes:
        """Fetch something below a repository; a token is asked for when the registry wants one."""
        base = self._base(name.host)
        url = f"{base}/v2/{name.repository}/{path}"
        key = (base, name.repository)
        answer = self._send(url, self._tokens.get(key))
        if answer.status == 401 and answer.challenge:  # noqa: PLR2004 - HTTP's own numbers, here and below
            token = self._token(answer.challenge, name)
            if token:
                self._tokens[key] = token
                answer = self._send(url, token)
        if answer.status == 404:  # noqa: PLR2004
            raise TagNotFound(f"{name}: the registry has no such tag", hint=f"asked at {base}")
        _raise_for(answer, str(name), base)
        return answer.body

    def _token(self, challenge: str, name: Reference) -> str:
        """Return an anonymous token for pulling, or "" where the challenge is none that can be met without a login."""
        from urllib.parse import urlencode, urlsplit

        asked = _challenge(challenge)
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme not in ("http", "https"):
            return ""
        query = {"service": asked.get("service", ""), "scope": _pull_only(asked.get("scope", ""), name.repository)}
        joint = "&" if "?" in realm else "?"
        answer = self._send(f"{realm}{joint}{urlencode({key: value for key, value in query.items() if value})}", None)
        _raise_for(answer, str(name), realm)
        body = _json(answer.body, name)
        token = body.get("token") or body.get("access_token") or ""
        return token if isinstance(token, str) and token.isascii() and token.isprintable() else ""

    def _send(self, url: str, token: str | None) -> _Answer:
        """Send one request, again where the line broke or the server failed, and never where it refused."""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(self.backoff_s * 2 ** (attempt - 1))
            answer = _once(url, token, self.timeout_s)
            if answer.status not in _RETRIED:
                return answer
        return answer


class _Answer(NamedTuple):
    """A status (0: no connection), the body, the WWW-Authenticate header and, without a body, the cause."""

    status: int
    body: bytes = b""
    challenge: str = ""
    cause: str = ""


_RETRIED = frozenset({0, 500, 502, 503, 504})


def _once(url: str, token: str | None, timeout_s: float) -> _Answer:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request

    request = Request(url, headers={"Accept": _ACCEPT, "User-Agent": "jetson-provisioner"})  # noqa: S310 - http(s) only
    if token:
        # not repeated after a redirect: blobs are often elsewhere, and that other host must not see it
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with _opener(url).open(request, timeout=timeout_s) as response:
            return _Answer(response.status, _read(response))
    except HTTPError as error:
        with error:
            return _Answer(error.code, challenge=error.headers.get("WWW-Authenticate", ""), cause=str(error.reason))
    except (OSError, HTTPException) as error:
        return _Answer(0, cause=str(getattr(error, "reason", None) or error) or type(error).__name__)


def _opener(url: str) -> OpenerDirector:
    """Return an opener that asks the environment's proxy, except for this machine itself."""
    from urllib.parse import urlsplit
    from urllib.request import ProxyHandler, build_opener

    return build_opener(ProxyHandler({})) if urlsplit(url).hostname in _LOOPBACK else build_opener()


def _read(response: HTTPResponse) -> bytes:
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise OSError(f"more than {MAX_BODY} bytes for a manifest")
    return body


def _raise_for(answer: _Answer, name: str, base: str) -> None:
    if answer.status == 200:  # noqa: PLR2004
        return
    if answer.status in _REFUSALS:
        raise RegistryRefused(
            f"{name}: the registry refused ({answer.status})", hint=f"{_REFUSALS[answer.status]}; asked at {base}"
        )
    if answer.status in _RETRIED:
        cause = answer.cause or f"status {answer.status}"
        raise RegistryUnreachable(
            f"{name}: no answer from {base}: {cause}", hint="is the network up, and does the name resolve?"
        )
    raise RegistryError(f"{name}: unexpected answer {answer.status} from {base}")


_REFUSALS = {
    401: "wrong or private repository? Public images need no login",
    403: "wrong or private repository, or blocked from here",
    429: "too many requests from this address: wait, or use a mirror",
}


def _no_platform(name: Reference, platform: Platform, there: list[str]) -> PlatformNotFound:
    return PlatformNotFound(
        f"{name}: not built for {platform}, only for {', '.join(there) or 'no platform at all'}",
        hint="an image for another platform pulls, and ends in 'exec format error' when it runs",
    )


def _verify(body: bytes, asked: str, name: Reference) -> str:
    """Return the digest of a body, which must be the one that was asked for where a digest was."""
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if _DIGEST.fullmatch(asked) and asked != digest:
        raise DigestMismatch(f"{name}: asked for {asked}, got {digest}", hint="a proxy or mirror altered the answer")
    return digest


def _json(body: bytes, name: Reference) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise DigestMismatch(f"{name}: the answer is no JSON object", hint="is a captive portal or a proxy in between?")
    return parsed


def _list(body: dict[str, Any], key: str, name: Reference) -> list[Any]:
    found = body.get(key)
    if not isinstance(found, list):
        raise DigestMismatch(f"{name}: a manifest without {key}")
    return found


def _descriptor(raw: object, name: Reference) -> tuple[str, int]:
    """Return digest and size in bytes; a digest that is not one would end up in a URL."""
    if isinstance(raw, dict):
        digest, size = raw.get("digest"), raw.get("size")
        if isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(size, int) and size >= 0:
            return digest, size
    raise DigestMismatch(f"{name}: a manifest with a broken descriptor")


def _platform(raw: object) -> Platform:
    """Return a platform from an index's entry or from a configuration, which call it the same."""
    if not isinstance(raw, dict):
        return Platform("unknown", "unknown")
    os, architecture, variant = (_word(raw.get(key)) for key in ("os", "architecture", "variant"))
    return Platform(os or "unknown", architecture or "unknown", variant)


def _word(raw: object) -> str:
    return _PRINTABLE.sub("", raw) if isinstance(raw, str) else ""


_PRINTABLE = re.compile(r"[^\w.-]", re.ASCII)


def _media_type(body: dict[str, Any]) -> str:
    """Return the media type; OCI lets a document leave it out, and then its shape tells."""
    declared = body.get("mediaType")
    if isinstance(declared, str):
        return declared
    if "manifests" in body:
        return _INDEX_TYPES[0]
    return _MANIFEST_TYPES[0] if "layers" in body and "config" in body else ""


def _challenge(header: str) -> dict[str, str]:
    """Return the parameters of a Bearer challenge: realm, service, scope; empty for another scheme."""
    from urllib.request import parse_http_list, parse_keqv_list

    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "bearer":
        return {}
    return {
        key.lower(): value
        for key, value in parse_keqv_list([item for item in parse_http_list(rest) if "=" in item]).items()
    }


def _pull_only(scope: str, repository: str) -> str:
    """Return the scope that was asked for, cut down to pulling."""
    kind, _, rest = scope.partition(":")
    path = rest.rpartition(":")[0]
    return f"repository:{path if kind == 'repository' and path else repository}:pull"
