"""template: files that are rendered on the controller."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import Context, Observable, task
from provisioner.observables.file import HASHED
from provisioner.records import dataclass
from provisioner.tasks.content import Content
from provisioner.tasks.copy import CopyTask
from provisioner.tasks.modes import digits
from provisioner.tasks.writing import Access, Draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADER = "#jinja2:"
NEWLINES = {"\\n": "\n", "\\r": "\r", "\\r\\n": "\r\n"}
_TEMPLATES = 256  # of which the text is kept: many hosts have the same


@task
@dataclass(frozen=True, kw_only=True)
class Template(CopyTask):
    """Renders a Jinja2 template to a file on the device."""

    src: str
    newline_sequence: Literal["\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n"] = "\n"
    trim_blocks: bool = True
    lstrip_blocks: bool = False

    name: ClassVar[str] = "template"
    template: ClassVar[str | None] = "src"
    example: ClassVar[str] = "template: {src: app.conf.j2, dest: /etc/app.conf, mode: '0644', validate: app --check %s}"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the destination, with the content where it is not the wanted one, and the folder that holds it."""
        local = self._local(ctx)
        try:
            wanted = self._rendered(ctx, local).sha256
        except NotYetKnown:
            wanted = HASHED
        return self.places(ctx, local.name, wanted)

    def draft(self, draft: Draft) -> Mapping[str, Any]:
        """Plan the rendered content."""
        local = self._local(draft.ctx)
        content = self._rendered(draft.ctx, local)
        access = self.access
        if self.mode == "preserve":
            access = Access(self.owner, self.group, digits(local.stat().st_mode))
        result = self.put(draft, self.place(draft, local.name, content.sha256), content, access)
        return {**result, "src": str(local)}

    def _local(self, ctx: Context) -> Path:
        if ctx.find is None:
            raise InputError(f"there is no place to look for {self.src}")
        return ctx.find("templates", self.src)

    def _rendered(self, ctx: Context, local: Path) -> Content:
        if ctx.render is None:
            raise InputError(f"there is nothing to render {self.src} with")
        written = _text(str(local), local.stat().st_mtime_ns)
        text = ctx.render("template", self._with_options(written))
        newline = NEWLINES.get(self.newline_sequence, self.newline_sequence)
        return Content.of(text.replace("\n", newline).encode())

    def _with_options(self, text: str) -> str:
        """Return a template's text with its options in the header line that Jinja2 templates of Ansible may have."""
        if text.startswith(HEADER) or (self.trim_blocks, self.lstrip_blocks) == (True, False):
            return text
        return f"{HEADER} trim_blocks: {self.trim_blocks}, lstrip_blocks: {self.lstrip_blocks}\n{text}"


@lru_cache(_TEMPLATES)
def _text(path: str, changed: int) -> str:
    """Return the text of a template file, as it is since a time in nanoseconds."""
    del changed
    return Path(path).read_text("utf-8")
