"""`provision images`: what runs where and why, from the tables alone; no device and no registry is asked."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from provisioner.jetson.matrix import Section

FEW = 3
"""Images of a band that the overview shows; --l4t shows all."""


def run(options: argparse.Namespace) -> int:
    """Show the images of one release, or of all; return the exit code, which is 2 where there are none."""
    from provisioner.jetson.matrix import known_family, known_l4t, section_of, sections

    family = known_family(options.family)
    one = section_of(known_l4t(options.l4t), family) if options.l4t is not None else None
    found = sections(family) if one is None else (one,)
    if options.json:
        body = {"family": family, "sections": [section.plain() for section in found]}
        sys.stdout.write(json.dumps(body, indent=2) + "\n")
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 140)
        sys.stdout.write("\n".join(_lines(found, family, width, all_images=one is not None)) + "\n")
    return 2 if one is not None and one.refusal else 0


def _lines(found: Sequence[Section], family: str, width: int, *, all_images: bool) -> Iterator[str]:
    yield f"{family}: which image runs where, the best first"
    for section in found:
        yield ""
        yield from _of_section(section, width, all_images=all_images)
    if len(found) > 1:
        yield ""
        yield from _wrapped("", "an RK3588 gets no image: its NPU is no NVIDIA GPU", width)
    names = sorted({name for section in found for name in section.sources})
    yield from ("", "sources") if names else ()
    for name in names:
        yield from _wrapped(f"  {name}: ", _source(name), width)


def _source(name: str) -> str:
    from provisioner.jetson.matrix import source_text

    return source_text(name)


def _of_section(section: Section, width: int, *, all_images: bool) -> Iterator[str]:
    from provisioner.jetson.compatibility import explain_image

    band = f"  [band {section.band}]" if section.band else ""
    yield from _wrapped("", f"{section.hosts}{band}", width)
    if section.refusal:
        yield from _wrapped("  none: ", section.refusal, width)
        if section.hint:
            yield from _wrapped("  hint: ", section.hint, width)
        return
    yield from _wrapped("  why: ", section.why or "", width)
    shown = section.images if all_images else section.images[:FEW]
    for number, image in enumerate(shown, 1):
        told = explain_image(image) + (f" [{', '.join(image.source)}]" if all_images else "")
        yield from _wrapped(f"  {number}. ", told, width)
    if rest := len(section.images) - len(shown):
        where = f"--l4t {section.releases[-1]}" if section.releases else "--json"
        yield f"  {rest} more: {where} shows them"
    if section.order:
        yield from _wrapped("  order: ", section.order, width)
    for warning in section.warnings:
        yield from _wrapped("  warning: ", warning, width)
    if not all_images:
        yield from _wrapped("  source: ", ", ".join(section.sources), width)


def _wrapped(label: str, text: str, width: int) -> list[str]:
    """Return a label and a text in lines of a width; names of images are not broken."""
    indent = " " * min(len(label) or 2, 5)
    return textwrap.wrap(label + text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
