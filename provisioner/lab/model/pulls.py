"""What an image's digest stands for, asked of the lab's registry, which runs for real behind a model too."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from typing import Any

from provisioner.lab.standins import images

from .device import CannotBe

PATIENCE = 30.0
NOT_FOUND = 404
INDEXES = ("index.v1+json", "manifest.list.v2+json")


def image_id(registry: str | None, reference: str, architecture: str) -> str:
    """Return the id of the image that a reference by digest names; CannotBe where the registry has none for a device.

    Without a registry, the id is made of the name.
    """
    if registry is None:
        return f"sha256:{hashlib.sha256(reference.partition('@')[2].encode()).hexdigest()}"
    _, path, tag, digest = images.split(reference)
    kind, manifest = _manifest(registry, path, digest or tag, reference)
    if kind.endswith(INDEXES):
        fitting = [one["digest"] for one in manifest["manifests"] if one["platform"]["architecture"] == architecture]
        if not fitting:
            raise CannotBe(f"no matching manifest for linux/{architecture} in the manifest list entries")
        _, manifest = _manifest(registry, path, fitting[0], reference)
    return str(manifest["config"]["digest"])


def _manifest(registry: str, path: str, name: str, reference: str) -> tuple[str, dict[str, Any]]:
    url = f"{registry}/v2/{path}/manifests/{name}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - the lab's own, on loopback
            return str(answer.headers["Content-Type"]), json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != NOT_FOUND:
            raise
        why = f"manifest for {images.with_tag(reference)} not found: manifest unknown: manifest unknown"
        raise CannotBe(f"Error response from daemon: {why}") from None
    except OSError as error:
        raise CannotBe(f'Error response from daemon: Get "{registry}/v2/": {error}') from None
