"""The pair of keys, and logging in: with a password, or with the key alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError, Refused
from provisioner.records import dataclass
from provisioner.transport import Target, default_key_files

if TYPE_CHECKING:
    from provisioner.onboarding.units import Unit


@dataclass(frozen=True)
class KeyPair:
    """A private key's file and its public line; `new` holds the private text of one that is not written yet."""

    path: Path
    public: str
    new: bytes | None = None

    @property
    def fingerprint(self) -> str:
        """Return the key's fingerprint as ssh-keygen -l prints it."""
        import base64

        from provisioner.transport import HostKey

        kind, blob = self.public.split()[:2]
        return HostKey(kind, base64.b64decode(blob)).fingerprint

    def save(self) -> None:
        """Write a new pair: the private key is for its owner alone from the first byte on."""
        if self.new is None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.new)
            _public_path(self.path).write_text(f"{self.public}\n", encoding="ascii")
        except OSError as error:
            raise InputError(
                f"cannot write the key {self.path}: {error.strerror}", hint="--private-key FILE"
            ) from error


def key_pair(given: Path | None) -> KeyPair:
    """Return the pair that is to log in: the one that was named, the first in ~/.ssh, or a new ed25519 one."""
    path = given.expanduser() if given else next(iter(default_key_files()), usual_keys()[0])
    if path.suffix == ".pub":
        raise InputError(f"{path} is the public key", hint=f"name the private one: {path.with_suffix('')}")
    if not path.exists():
        return _new_pair(path)
    return KeyPair(path, _public_line(path))


def usual_keys() -> tuple[Path, ...]:
    """Return where keys lie that need not be named, be they there or not."""
    return tuple(Path.home() / ".ssh" / name for name in ("id_ed25519", "id_ecdsa", "id_rsa"))


def _public_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def _new_pair(path: Path) -> KeyPair:
    import getpass
    import socket

    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    line = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode("ascii")
    comment = f"{getpass.getuser()}@{socket.gethostname()}".encode("ascii", "replace").decode("ascii")
    return KeyPair(path, f"{line} {comment}", private)


def _public_line(path: Path) -> str:
    """Return the public line of a key: from the file beside it, or from the key itself."""
    beside = _public_path(path)
    try:
        if beside.is_file() and (text := beside.read_text(encoding="ascii").strip()):
            return text.splitlines()[0]
        from provisioner.transport.login import load_key

        key = load_key(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the key {path}: {error}", hint="--private-key FILE") from error
    except Exception as error:
        hint = f"`ssh-keygen -y -f {path} > {beside}` writes the public one beside it"
        raise InputError(f"{path} is no key that can be read without a passphrase", hint=hint) from error
    return f"{key.get_name()} {key.get_base64()}"


@dataclass(frozen=True)
class Door:
    """How units are reached: only a host key that was accepted counts, and no agent's keys get in the way."""

    known_hosts: Path
    ssh_config: Path

    def by_password(self, unit: Unit) -> Target:
        """Return the target for the password alone."""
        return replace(self._base(unit), password=unit.password, become_password=unit.password)

    def by_key(self, unit: Unit, key: Path) -> Target:
        """Return the target for the key; the password is kept for sudo."""
        return replace(self._base(unit), key_files=(key,), become_password=unit.password)

    def _base(self, unit: Unit) -> Target:
        return Target(
            name=unit.name or unit.label,
            address=unit.place.address,
            port=unit.place.port,
            user=unit.user,
            connect_timeout=unit.patience,
            known_hosts=(self.known_hosts,),
            ssh_config=self.ssh_config,
        )


def write_ssh_config(path: Path) -> None:
    """Write an ssh_config that reads the user's own, and leaves the agent's other keys out."""
    own = [file for file in (Path.home() / ".ssh" / "config", Path("/etc/ssh/ssh_config")) if file.is_file()]
    lines = ["Host *", "  IdentitiesOnly yes", *(f"Include {file}" for file in own)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def log_in(target: Target) -> tuple[str, ...]:
    """Log in and hang up; return what was tried in vain before it worked."""
    from provisioner.transport.connect import connect

    link = connect(target)
    try:
        return tuple(link.connection.connect_kwargs["auth_strategy"].attempts.tried)
    finally:
        link.close()


def prove(target: Target, pair: KeyPair) -> None:
    """Log in with the key and nothing else; raises Refused where the device does not take this very key."""
    try:
        tried = log_in(target)
    except Refused as error:
        raise _not_proven(target, error.message) from error
    if any(pair.fingerprint in one for one in tried):
        raise _not_proven(target, f"another key got in, but not {pair.path}")


def _not_proven(target: Target, why: str) -> Refused:
    return Refused(
        f"the key was installed, and does not log in: {why}",
        hint=f"sshd's own log says why (often a home or ~/.ssh of {target.user} that others may write to, or "
        "AuthorizedKeysFile in its sshd_config); login with the password is as it was",
    )
