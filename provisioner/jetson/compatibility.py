"""Which image runs on which host: bands with a lower and an upper bound, and a reason for every refusal.

A band is a set of releases whose images are interchangeable; hosts that are no Jetson have routes in its place. Nothing
is ever offered from another band, be it because the host lends its libraries to the container (JetPack 4) or because
driver and CUDA in the image do not fit.
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from provisioner.errors import InputError
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.registry import parse_reference
from provisioner.jetson.routes import Refused, route_of, route_warnings
from provisioner.jetson.rows import Band, ContainerPackages, DockerProblem, Image, Route
from provisioner.jetson.versions import padded, version
from provisioner.records import dataclass

if TYPE_CHECKING:
    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.registry import Reference

FAMILY = "l4t-pytorch"
APT = "https://repo.download.nvidia.com/jetson"
_RELEASE_IN_TAG = re.compile(r"(?:^|[-_.])r([2-9]\d\.\d+(?:\.\d+)?)(?![\d.])")


@dataclass(frozen=True)
class Candidates:
    """Images for a host, the best first; where there are none, `refusal` tells why and `hint` what to do instead.

    `host_refused`: no image whatever would do, be it named by hand.
    """

    images: tuple[Image, ...] = ()
    band: Band | Route | None = None
    warnings: tuple[str, ...] = ()
    refusal: str | None = None
    hint: str | None = None
    family: str = FAMILY
    wanted: str | None = None
    host_refused: bool = False
    architecture: str = "arm64"


def band_of(l4t: str) -> Band | None:
    """Return the releases that share images with this one, or None where no rule covers it."""
    for band in catalogue().bands:
        if l4t in band:
            return band
    if (32,) <= version(l4t) < (32, 7):
        return _band_of_one(l4t)
    return None


def _band_of_one(l4t: str) -> Band:
    return Band(
        id=".".join(str(part) for part in version(l4t)),
        lower=l4t,
        upper=None,
        why="JetPack 4 lends CUDA, cuDNN and TensorRT from the host to the container; these change with every release",
        source=("jetson-containers-222",),
    )


def candidates(host: HostFacts | str, family: str = FAMILY, wanted: str | None = None) -> Candidates:
    """Return the images of a family for a host or an L4T release, ordered, never from another band.

    `wanted` is a tag that somebody asks for by name; it comes first unless it is known to be of another band.
    """
    found = _for_release(host, family) if isinstance(host, str) else _for_host(host, family)
    found = replace(found, family=family)
    return _with_wanted(found, wanted) if wanted and not found.host_refused else found


def _with_wanted(found: Candidates, wanted: str) -> Candidates:
    name, band = parse_reference(wanted), found.band
    if name.digest:
        raise InputError(f"a tag is wanted here: {wanted}", hint="digests are kept in the lock file")
    row = next((row for row in catalogue().images if parse_reference(row.reference) == name), None)
    home = row.bands if row else _bands_of_tag(name)
    if band is None or (home and band.id not in home):
        told = f"{name} is for the band {home[0] if home else '?'}, this host is of {band.id if band else 'none'}"
        return replace(found, images=(), refusal=told, hint="leave the image to be chosen, or name one of its own band")
    row = row or _named_by_hand(name, found, band)
    others = tuple(image for image in found.images if image != row)
    return replace(found, images=(row, *others), wanted=str(name), refusal=None, hint=None)


def _bands_of_tag(name: Reference) -> tuple[str, ...]:
    """Return the band of the release that a tag names, as r36.2.0 does; a tag without one may be for any band."""
    match = _RELEASE_IN_TAG.search(name.tag)
    if match is None:
        return ()
    band = band_of(match[1])
    return (band.id if band else match[1],)


def _named_by_hand(name: Reference, found: Candidates, band: Band | Route) -> Image:
    return Image(
        repository=f"{name.host}/{name.repository}",
        tag=name.tag,
        families=(found.family,),
        band=band.id,
        architectures=(found.architecture,),
        source=("playbook",),
    )


def _for_release(l4t: str, family: str) -> Candidates:
    band = band_of(l4t)
    if band is None:
        return Candidates(refusal=_uncovered(l4t), hint=_covered(), host_refused=True)
    images = _ordered(l4t, band, family)
    if not images:
        return Candidates(band=band, refusal=f"there is no {family} image for L4T {l4t}", hint=_nothing(band, family))
    return Candidates(images=images, band=band, warnings=_unknown_release(l4t, band))


def _for_host(facts: HostFacts, family: str) -> Candidates:
    if facts.kind != "jetson":
        return _for_route(facts, family)
    if facts.architecture != "arm64":
        return Candidates(
            refusal=f"this Jetson's userland is {facts.userland_arch or 'unknown'}, and l4t images are arm64",
            hint="flash a 64-bit image",
            host_refused=True,
        )
    if facts.l4t is None:
        return Candidates(
            refusal="this is a Jetson, but neither /etc/nv_tegra_release nor nvidia-l4t-core tells its release",
            hint="is NVIDIA's BSP installed? `dpkg -l nvidia-l4t-core` shows it",
            host_refused=True,
        )
    if impossible := soc_conflict(facts.soc, facts.l4t):
        hint = "is the disk from another device?"
        return Candidates(band=band_of(facts.l4t), refusal=impossible, hint=hint, host_refused=True)
    return _for_release(facts.l4t, family)


def _for_route(facts: HostFacts, family: str) -> Candidates:
    route = route_of(facts)
    if isinstance(route, Refused):
        return Candidates(refusal=route.reason, hint=route.hint, host_refused=True)
    return replace(of_route(route, family), warnings=route_warnings(facts, route))


def of_route(route: Route, family: str = FAMILY) -> Candidates:
    """Return the images of a family for hosts that are no Jetson, the newest PyTorch first."""
    rows = _fitting(route.id, family, route.architecture)
    images = tuple(sorted(rows, key=lambda row: _descending(version(row.pytorch or "0"))))
    if images:
        return Candidates(images=images, band=route, family=family, architecture=route.architecture)
    return Candidates(
        band=route,
        refusal=f"there is no {family} image for {route.hosts} ({route.why})",
        hint=_nothing(route, family),
        family=family,
        architecture=route.architecture,
    )


def soc_conflict(soc: str | None, l4t: str) -> str | None:
    """Return why a chip cannot run a release, or None where it can or is not known."""
    row = catalogue().socs.get(soc or "")
    if row is None or version(l4t)[0] in row.majors:
        return None
    majors = ", ".join(f"R{major}" for major in row.majors)
    return f"L4T {l4t} does not exist for {row.id}, only {majors}: the release that was read cannot be this device's"


def _ordered(l4t: str, band: Band, family: str) -> tuple[Image, ...]:
    first = _preferred(l4t)
    fit = _fitting(band.id, family, "arm64")
    return tuple(sorted(fit, key=lambda row: (_rank(row.reference, first), *_distance(row, l4t))))


def _fitting(band: str, family: str, architecture: str) -> list[Image]:
    rows = (row for row in catalogue().images if band in row.bands and architecture in row.architectures)
    return [row for row in rows if row.exists and family in row.families]


def _preferred(l4t: str) -> tuple[str, ...]:
    number = version(l4t)
    return next((row.images for row in catalogue().preferred if number in row.hosts), ())


def _rank(reference: str, first: tuple[str, ...]) -> int:
    return first.index(reference) if reference in first else len(first)


def _distance(image: Image, l4t: str) -> tuple[bool, tuple[int, ...], tuple[int, ...]]:
    """Return a key that sorts the nearest release at or below the host's first, and the newer ones after all others."""
    built, host = padded(version(image.built_for or l4t)), padded(version(l4t))
    newer = built > host
    pytorch = version(image.pytorch) if image.pytorch else (0,)
    return newer, built if newer else _descending(built), _descending(pytorch)


def _descending(number: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-part for part in number)


def _unknown_release(l4t: str, band: Band) -> tuple[str, ...]:
    if catalogue().release(l4t):
        return ()
    return (f"L4T {l4t} is in no table yet; it is taken for one of the band {band.id} ({band.why})",)


def _uncovered(l4t: str) -> str:
    newest = max(catalogue().releases)
    if padded(version(l4t)) > newest:
        return f"L4T {l4t} is newer than everything known here; which images run on it is not known"
    return f"no images are known for L4T {l4t}"


def _covered() -> str:
    bands = ", ".join(band.id for band in catalogue().bands)
    return f"covered are the bands {bands}, and single releases of 32 below 32.7"


def _nothing(band: Band | Route, family: str) -> str:
    others = sorted({name for row in catalogue().images if band.id in row.bands for name in row.families})
    if family not in catalogue().families:
        near = get_close_matches(family, catalogue().families, n=1)
        return f"did you mean {near[0]}?" if near else f"there are the families {', '.join(catalogue().families)}"
    if others:
        return f"families that exist for it: {', '.join(others)}"
    if isinstance(band, Route):
        return "upgrade the NVIDIA driver to 580 or newer, or name an image with `image:`"
    if band.upper is None:
        return f"{band.why}; upgrade the device to 32.7.6"
    return "upgrade the device to a release that has images"


def explain(found: Candidates) -> str:
    """Return for people, in a few lines, what fits and why, or why nothing does."""
    if found.refusal:
        return found.refusal + (f"\nhint: {found.hint}" if found.hint else "")
    band = found.band
    head = [f"band {band.id}: {band.why}"] if band else []
    images = [f"{n}. {explain_image(image)}" for n, image in enumerate(found.images, 1)]
    return "\n".join([*head, *images, *(f"warning: {text}" for text in found.warnings)])


def explain_image(image: Image) -> str:
    """Return one line about an image: name, release, PyTorch, compressed size in units of 10^9 bytes, doubts."""
    told = [
        f"built for {image.built_for}" if image.built_for else "",
        f"PyTorch {image.pytorch}" if image.pytorch else "",
    ]
    size = f"{image.compressed_bytes / 1e9:.1f} GB" if image.compressed_bytes else ""
    details = ", ".join(text for text in (*told, size, image.note or "") if text)
    return f"{image.reference} ({details})" if details else image.reference


def phantom(reference: str) -> Image | None:
    """Return the row of a tag that people copy although no registry has it."""
    return next((row for row in catalogue().images if row.reference == reference and not row.exists), None)


def container_packages(l4t: str) -> ContainerPackages | None:
    """Return what apt must install for containers with a GPU, or None where there never was a runtime."""
    number = version(l4t)
    return next((row for row in catalogue().packages if row.hosts and number in row.hosts), None)


def docker_problems(l4t: str, docker: str) -> tuple[DockerProblem, ...]:
    """Return what is known to fail with a version of Docker (as `docker version` prints it) on a release."""
    host, engine = version(l4t), version(docker)
    return tuple(row for row in catalogue().docker_problems if host in row.hosts and engine in row.docker)


def apt_sources(l4t: str, soc: str) -> tuple[str, ...]:
    """Return the lines that belong into nvidia-l4t-apt-source.list, for a hint where the file is not sane."""
    major, minor = (*version(l4t), 0)[:2]
    row = catalogue().release(l4t)
    suite = row.apt if row and row.apt else f"r{major}.{minor}"
    chip = catalogue().socs.get(soc)
    folder = "som" if chip is None or major >= 38 else chip.apt_folder  # noqa: PLR2004 - SoC folders ended with R36
    return tuple(f"deb {APT}/{name} {suite} main" for name in ("common", folder))
