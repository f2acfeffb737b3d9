"""What the last apply of each host was: kept beside the inventory, so that `provision status` can tell what drifted.

Values that were given on the command line may be secrets: of those only the names are kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.records import dataclass

from .fleet import extra_vars, names_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from provisioner.inventory import Inventory
    from provisioner.playbook import Playbook
    from provisioner.report import Recap
    from provisioner.report.recap import HostRecap


@dataclass(frozen=True, kw_only=True)
class Applied:
    """The last apply of one host: which playbooks, with which options, together with which hosts, and how it ended."""

    host: str
    when: str
    playbooks: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    vars_files: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    become: bool = False
    become_user: str | None = None
    allow_restart: bool = False
    ended: str = "done"

    def variables(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the variables of its files as they are now, and of those that are given anew the ones that it had."""
        again = {name: given[name] for name in self.given if name in given}
        return {**extra_vars([f"@{path}" for path in self.vars_files]), **again}


def remember(
    inventory: Inventory, playbooks: Sequence[Playbook], options: argparse.Namespace, recap: Recap
) -> str | None:
    """Write down, for each host that took part, what was applied to it; return why that could not be done."""
    files = [text[1:] for text in options.extra_vars if text.startswith("@")]
    inline = extra_vars([text for text in options.extra_vars if not text.startswith("@")])
    made = Applied(
        host="",
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        playbooks=tuple(str(book.path.absolute()) for book in playbooks),
        hosts=tuple(recap.hosts),
        tags=tuple(sorted(names_of(options.tags))),
        skip_tags=tuple(sorted(names_of(options.skip_tags))),
        vars_files=tuple(str(Path(name).absolute()) for name in files),
        given=tuple(sorted(inline)),
        become=bool(options.become),
        become_user=options.become_user,
        allow_restart=bool(options.allow_restart),
    )
    # As text, for each file names all the hosts; in one line: json's quick encoder does not indent.
    shared = json.dumps({name: value for name, value in asdict(made).items() if name not in ("host", "ended")})
    folder = path_of(inventory, "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for host in filter(_took_part, recap.hosts.values()):
            own = json.dumps({"host": host.name, "ended": host.state})
            _write(path_of(inventory, host.name), f"{own[:-1]}, {shared[1:]}\n")
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def _took_part(host: HostRecap) -> bool:
    """Tell whether tasks were run on a host, or would have been, even if it was lost then."""
    told = any(host.counts[name] for name in ("ok", "changed", "skipped", "ignored"))
    return told or host.state in ("done", "failed", "unfinished")


def recall(inventory: Inventory, host: str) -> Applied | None:
    """Return the last apply of a host, None where there was none; raises InputError where it cannot be read."""
    from provisioner.document import decode, load
    from provisioner.errors import InputError

    path = path_of(inventory, host)
    if not path.is_file():
        return None
    found = decode(load(path), Applied, strict=True, name=str(path))
    if found.host != host:
        raise InputError(f"{path} is about {found.host}, and not about {host}", hint=f"remove {path}, and apply again")
    return found


def path_of(inventory: Inventory, host: str) -> Path:
    """Return the file that keeps the last apply of a host."""
    safe = "".join(char if char.isalnum() or char in "-_.@" else "_" for char in host)
    return inventory.state_dir / "applied" / f"{safe}.json"


def _write(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old one or the new one."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, "utf-8")
    aside.replace(path)
