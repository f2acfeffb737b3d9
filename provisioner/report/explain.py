"""An explanation as people read it: the cause, what mends it, and where that was read."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TextIO

from provisioner.report.text import Row, encodable, paragraph, to_ansi, to_plain, wants_colour

if TYPE_CHECKING:
    from provisioner.events import Explanation


def print_explanation(known: Explanation | None, stream: TextIO) -> None:
    """Write an explanation, folded on a terminal, or that there is none."""
    width = shutil.get_terminal_size().columns if stream.isatty() else 0
    render = to_ansi if wants_colour(stream) else to_plain
    stream.write(encodable("".join(f"{render(line)}\n" for line in rows(known, width)), stream))


def rows(known: Explanation | None, width: int = 0) -> list[Row]:
    """Return an explanation as rows."""
    if known is None:
        return paragraph("nothing is known of this text", width=width)
    told = [
        *paragraph(known.cause, "strong", lead="cause:  ", width=width),
        *paragraph(known.fix, lead="fix:    ", width=width),
    ]
    for number, source in enumerate(known.sources):
        told += paragraph(source, "dim", lead="        " if number else "source: ", width=width)
    return told
