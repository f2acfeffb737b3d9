"""`provision init DIR`: a folder of one's own with the shipped inventory, playbooks and templates."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError

from .fleet import SHIPPED

if TYPE_CHECKING:
    import argparse

PARTS = ("inventory", "playbooks", "templates")


def run(options: argparse.Namespace) -> int:
    """Copy what is shipped; a file that is there is an error, and nothing is written then."""
    target = Path(options.folder)
    files = [path for part in PARTS for path in sorted((SHIPPED / part).rglob("*")) if _is_shipped(path)]
    pairs = [(path, target / path.relative_to(SHIPPED)) for path in files]
    there = [str(to) for _, to in pairs if to.exists()]
    if there:
        raise InputError(f"already there: {', '.join(there)}", hint="name an empty folder; nothing was written")
    try:
        for path, to in pairs:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
            print(to)
    except OSError as error:
        raise InputError(f"cannot write {error.filename}: {error.strerror}") from error
    print(f"\nnext: cd {target} && provision apply inventory/lab.yaml --dry-run")
    return 0


def _is_shipped(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(SHIPPED).parts)
