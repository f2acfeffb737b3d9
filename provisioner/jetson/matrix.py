"""What runs where, as one answers who has no device at hand: for each band its hosts, its images in order, and why."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import groupby
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import FAMILY, Candidates, candidates, of_route
from provisioner.jetson.versions import padded, version
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.jetson.rows import Image, Release, Route

_L4T = re.compile(r"[Rr]?(\d+(?:\.\d+){1,3})", re.ASCII)


@dataclass(frozen=True)
class Section:
    """Hosts that get the same images in the same order; where there are none, `refusal` and `hint` tell why."""

    hosts: str
    band: str | None
    releases: tuple[str, ...]
    why: str | None
    order: str | None
    images: tuple[Image, ...]
    warnings: tuple[str, ...]
    refusal: str | None
    hint: str | None
    sources: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "hosts": self.hosts,
            "band": self.band,
            "releases": list(self.releases),
            "why": self.why,
            "order": self.order,
            "images": [_plain(image) for image in self.images],
            "warnings": list(self.warnings),
            "refusal": self.refusal,
            "hint": self.hint,
            "sources": {name: source_text(name) for name in self.sources},
        }


def _plain(image: Image) -> dict[str, Any]:
    return {
        "image": image.reference,
        "built_for": image.built_for,
        "pytorch": image.pytorch,
        "architectures": list(image.architectures),
        "digest": image.digest,
        "compressed_bytes": image.compressed_bytes,
        "pushed": image.pushed,
        "note": image.note,
        "sources": list(image.source),
    }


def known_family(family: str) -> str:
    """Return a family that images belong to; any other name is an error with a guess."""
    names = catalogue().families
    if family in names:
        return family
    near = get_close_matches(family, names, n=1, cutoff=0.4)
    guess = f", did you mean {near[0]!r}?" if near else ""
    raise InputError(f"no image belongs to a family {family!r}{guess}", hint=f"there are {', '.join(names)}")


def known_l4t(text: str) -> str:
    """Return a release of Jetson Linux, be it in a table or not; what is no release is an error with a guess."""
    match = _L4T.fullmatch(text.strip())
    rows = catalogue().releases_file.releases
    if match and catalogue().release(match[1]):
        return match[1]
    if labelled := [row.l4t for row in rows if row.jetpack == text.strip()]:
        raise InputError(f"{text} is a JetPack, and --l4t wants L4T: {' or '.join(labelled)}")
    if match and len(match[1].split(".")[0]) > 1:
        return match[1]
    near = get_close_matches(text.lower().replace("l", "1"), [row.l4t for row in rows], n=1)
    guess = f", did you mean {near[0]}?" if near else ""
    raise InputError(
        f"{text!r} is no release of Jetson Linux{guess}",
        hint="it is written 35.4.1; `head -n 1 /etc/nv_tegra_release` on the device tells it",
    )


def section_of(l4t: str, family: str = FAMILY) -> Section:
    """Return what runs on one release."""
    return _section((l4t,), candidates(l4t, family), _hosts((l4t,)))


def sections(family: str = FAMILY) -> tuple[Section, ...]:
    """Return what runs on all known releases, the oldest first, and then on hosts that are no Jetson."""
    return (*_of_releases(family), *(_of_route(route, family) for route in catalogue().routes))


def _of_releases(family: str) -> Iterator[Section]:
    ordered = sorted(catalogue().releases.values(), key=lambda row: padded(version(row.l4t)))
    found = [(row.l4t, candidates(row.l4t, family)) for row in ordered]
    for _, group in groupby(found, key=lambda pair: _alike(*pair)):
        pairs = list(group)
        releases = tuple(l4t for l4t, _ in pairs)
        yield _section(releases, pairs[0][1], _hosts(releases))


def _alike(l4t: str, found: Candidates) -> tuple[Any, ...]:
    return found.band.id if found.band and found.images else version(l4t)[0], found.images


def _hosts(releases: tuple[str, ...]) -> str:
    """Return the releases as a range, with the JetPacks that they are."""
    rows = [row for l4t in releases if (row := catalogue().release(l4t))]
    labels = list(dict.fromkeys(row.jetpack for row in rows if row.jetpack))
    jetpacks = f" (JetPack {_span(labels)})" if labels else ""
    return f"L4T {_span(releases)}{jetpacks}"


def _span(names: Iterable[str]) -> str:
    told = list(names)
    return told[0] if len(told) == 1 else f"{told[0]} to {told[-1]}"


def _section(releases: tuple[str, ...], found: Candidates, hosts: str) -> Section:
    preference = next((row for row in catalogue().preferred if version(releases[0]) in row.hosts), None)
    ordered = (
        preference if preference and {image.reference for image in found.images} & set(preference.images) else None
    )
    rows = [row for l4t in releases if (row := catalogue().release(l4t))]
    return Section(
        hosts=hosts,
        band=found.band.id if found.band and (found.images or len(releases) == 1) else None,
        releases=releases,
        why=found.band.why if found.band else None,
        order=ordered.why if ordered else None,
        images=found.images,
        warnings=(*found.warnings, *_doubts(rows)),
        refusal=f"there is no {found.family} image for them" if found.refusal and len(releases) > 1 else found.refusal,
        hint=found.hint,
        sources=_sources(found, ordered.source if ordered else ()),
    )


def _doubts(rows: Iterable[Release]) -> Iterator[str]:
    for row in rows:
        if row.stage == "preview":
            yield f"{row.l4t} is a preview"
        if row.stage == "listed":
            yield f"{row.l4t} is in some tables only" + (f" ({row.note})" if row.note else "")


def _of_route(route: Route, family: str) -> Section:
    found = of_route(route, family)
    return Section(
        hosts=route.hosts,
        band=route.id,
        releases=(),
        why=route.why,
        order=None,
        images=found.images,
        warnings=(),
        refusal=found.refusal,
        hint=found.hint,
        sources=_sources(found, ()),
    )


def _sources(found: Candidates, more: tuple[str, ...]) -> tuple[str, ...]:
    band = found.band.source if found.band else ()
    return tuple(dict.fromkeys((*band, *more, *(name for image in found.images for name in image.source))))


def source_text(name: str) -> str:
    """Return what a source's short name stands for."""
    tables = catalogue()
    files = (tables.images_file, tables.releases_file, tables.routes_file, tables.modules_file)
    return next((file.sources[name] for file in files if name in file.sources), name)
