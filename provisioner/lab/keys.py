"""The lab's SSH keys: made once, ed25519, in OpenSSH's own format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def pair(path: Path, comment: str) -> str:
    """Make a key pair at path unless there is one; return the public line."""
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        _make(path, public, comment)
    return public.read_text(encoding="ascii").strip()


def remember(folder: Path, port: int) -> None:
    """Write the known_hosts of a device, whose host key is in its folder, for the loopback port that leads to it."""
    kind, key, *_comment = (folder / "host_key.pub").read_text(encoding="ascii").split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="ascii")


def _make(path: Path, public: Path, comment: str) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()))
    line = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    public.write_text(f"{line.decode()} {comment}\n", encoding="ascii")
