"""What the last apply of each host was: kept beside the inventory, so that `provision status` can tell what drifted.

One file holds the runs that were the last one of some host: of a large fleet, most hosts share theirs. Values that
were given on the command line may be secrets: of those only the names are kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError
from provisioner.files import locked
from provisioner.records import dataclass

from .fleet import extra_vars, names_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from provisioner.inventory import Inventory
    from provisioner.playbook import Playbook
    from provisioner.report import Recap
    from provisioner.report.recap import HostRecap


@dataclass(frozen=True, kw_only=True)
class Applied:
    """One apply: which playbooks, with which options, to which hosts; and how it ended for those whose last it was."""

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
    ended: dict[str, str] = field(default_factory=dict)

    def variables(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the variables of its files as they are now, and of those that are given anew the ones that it had."""
        again = {name: given[name] for name in self.given if name in given}
        return {**extra_vars([f"@{path}" for path in self.vars_files]), **again}

    def without(self, hosts: Mapping[str, Any]) -> Applied:
        """Return this as what is left of it once some hosts have had a later one."""
        return replace(self, ended={name: how for name, how in self.ended.items() if name not in hosts})


def remember(
    inventory: Inventory, playbooks: Sequence[Playbook], options: argparse.Namespace, recap: Recap
) -> str | None:
    """Write down what was applied to the hosts that took part; return why that could not be done."""
    files = [text[1:] for text in options.extra_vars if text.startswith("@")]
    inline = extra_vars([text for text in options.extra_vars if not text.startswith("@")])
    made = Applied(
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
        ended={host.name: host.state for host in recap.hosts.values() if _took_part(host)},
    )
    path = path_of(inventory)
    try:
        with locked(path.with_name(f".{path.name}.lock")):
            runs = [*(run.without(made.ended) for run in _readable(path)), made]
            _write(path, [run for run in runs if run.ended])
    except InputError as error:
        return error.message
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def _took_part(host: HostRecap) -> bool:
    """Tell whether tasks were run on a host, or would have been, even if it was lost then."""
    told = any(host.counts[name] for name in ("ok", "changed", "skipped", "ignored"))
    return told or host.state in ("done", "failed", "unfinished")


def recall(inventory: Inventory, host: str) -> Applied | None:
    """Return the last apply of a host, None where there was none; raises InputError where it cannot be read."""
    return next((run for run in _runs(path_of(inventory)) if host in run.ended), None)


def path_of(inventory: Inventory) -> Path:
    """Return the file that keeps the last applies."""
    return inventory.state_dir / "applied.json"


def _runs(path: Path) -> tuple[Applied, ...]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return ()
    return _parsed(path, (stat.st_ino, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=4)
def _parsed(path: Path, _stamp: tuple[int, ...]) -> tuple[Applied, ...]:
    """Return the runs of a file, read once as long as it stays the same: a fleet asks for each host."""
    from provisioner.document import decode

    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint=f"remove {path}, and apply again") from error
    runs: tuple[Applied, ...] = decode(told, tuple[Applied, ...], strict=True, name=str(path))
    return runs


def _readable(path: Path) -> tuple[Applied, ...]:
    """Return the runs of a file; none where somebody else has written there, which is then written anew."""
    try:
        return _runs(path)
    except InputError:
        return ()


def _write(path: Path, runs: Iterable[Applied]) -> None:
    """Write the file so that whoever reads it finds the old one or the new one."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text("[\n" + ",\n".join(json.dumps(asdict(run)) for run in runs) + "\n]\n", "utf-8")
    aside.replace(path)
