"""Where a device is and how to get in: plain values, no network."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from provisioner.records import dataclass


class Secret:
    """A password that shows itself only to whoever asks for it by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the plain text."""
        return self._value

    def __repr__(self) -> str:
        """Return a mask, so that no log or traceback holds the text."""
        return "Secret(********)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Compare the texts."""
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        """Hash the text."""
        return hash((Secret, self._value))


def default_known_hosts(inventory: Path | None = None) -> tuple[Path, ...]:
    """Return the known_hosts files in the order in which they are asked."""
    own = (inventory / ".provision" / "known_hosts",) if inventory else ()
    return (*own, Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts"))


def default_key_files() -> tuple[Path, ...]:
    """Return the keys in ~/.ssh that ssh itself would try, for a caller that wants them."""
    names = ("id_ed25519", "id_ecdsa", "id_rsa")
    return tuple(path for name in names if (path := Path.home() / ".ssh" / name).is_file())


@dataclass(frozen=True, kw_only=True)
class Target:
    """One device as the inventory describes it; what is None comes from ssh_config or its defaults."""

    name: str
    address: str
    port: int | None = None
    user: str | None = None
    key_files: tuple[Path, ...] = ()
    password: Secret | None = None
    become: bool = False
    become_password: Secret | None = None
    connect_timeout: float = 10
    known_hosts: tuple[Path, ...] = field(default_factory=default_known_hosts)
    ssh_config: Path | None = None
    proxy_jump: str | None = None
    check_host_keys: bool = True
