"""The archive that a virtual Jetson's kernel starts from, read by another program than ours."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner.lab.virtual import initrd

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed (Debian package busybox)")
def test_the_first_file_system_is_an_archive_that_cpio_reads(tmp_path: Path) -> None:
    """What is packed is unpacked by another hand, byte for byte."""
    files = {"bin": None, "bin/busybox": b"\x7fELF", "init": b"#!/bin/sh\n", "empty": b""}
    archive = tmp_path / "archive"
    archive.write_bytes(initrd.cpio(files))
    ended = subprocess.run(
        ["busybox", "cpio", "-i", "-d", "-F", archive], cwd=tmp_path, check=False, capture_output=True
    )
    if ended.returncode != 0:
        pytest.skip("there is no busybox with cpio here")
    for name, content in files.items():
        path = tmp_path / name
        assert path.is_dir() if content is None else path.read_bytes() == content
    assert (tmp_path / "init").stat().st_mode & 0o111
