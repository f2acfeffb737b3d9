"""ssh_config as it is read for a fleet: the same answers as ever, and nothing asked that no line needs."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, NoReturn

import pytest

from provisioner.transport import sshconfig

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = """
Host jetson-* !jetson-9
  User nvidia
  IdentityFile /keys/fleet
Host "lab" bench,desk
  Port 2200
Match originalhost rack1,rack2
  User rack
"""


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("jetson-1", {"user": "nvidia", "identityfile": ["/keys/fleet"]}),
        ("jetson-9", {}),
        ("lab", {"port": "2200"}),
        ("desk", {"port": "2200"}),
        ("rack2", {"user": "rack"}),
    ],
)
def test_blocks_count_for_the_hosts_that_they_name(tmp_path: Path, host: str, wanted: dict[str, object]) -> None:
    """A host gets what stands under the patterns that fit it, and nothing else."""
    (tmp_path / "config").write_text(BLOCKS)
    told = sshconfig.load(tmp_path / "config").lookup(host)
    assert dict(told) == {"hostname": host, **wanted}


def test_who_runs_this_is_asked_only_where_a_line_depends_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up by names asks for no user; %u in a value, and a Match by user, do."""

    def refuse() -> NoReturn:
        raise KeyError("no such user")

    monkeypatch.setattr(getpass, "getuser", refuse)
    (tmp_path / "plain").write_text(BLOCKS)
    for host in ("jetson-1", "lab", "rack1", "other"):
        sshconfig.load(tmp_path / "plain").lookup(host)
    for name, text in (("value", "IdentityFile /keys/%u"), ("match", "Match user root\n  Port 1")):
        (tmp_path / name).write_text(f"{text}\n")
        with pytest.raises(KeyError):
            sshconfig.load(tmp_path / name).lookup("other")
