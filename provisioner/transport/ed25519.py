"""Ed25519 keys as paramiko asks PyNaCl for them, from the library that it has for everything else.

PyNaCl brings its own libsodium, and a layer between, which is a tenth of what importing paramiko takes.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signed(NamedTuple):
    """What signing gives."""

    signature: bytes


class VerifyKey:
    """A public key; ValueError where the bytes are none."""

    def __init__(self, key: bytes) -> None:
        self._bytes = key
        self._key = Ed25519PublicKey.from_public_bytes(key)

    def verify(self, data: bytes, signature: bytes) -> bytes:
        """Return the data if that is its signature; InvalidSignature otherwise."""
        self._key.verify(signature, data)
        return data

    def encode(self) -> bytes:
        """Return the key's bytes."""
        return self._bytes

    def __eq__(self, other: object) -> bool:
        """Compare the keys."""
        return isinstance(other, VerifyKey) and other._bytes == self._bytes

    def __hash__(self) -> int:
        """Hash the key."""
        return hash(self._bytes)


class SigningKey:
    """A private key; ValueError where the bytes are no seed of one."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verify_key = VerifyKey(self._key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> Signed:
        """Return the signature of the data."""
        return Signed(self._key.sign(data))


def as_nacl() -> dict[str, ModuleType]:
    """Return modules with PyNaCl's names for these."""
    top, signing, exceptions = (ModuleType(name) for name in ("nacl", "nacl.signing", "nacl.exceptions"))
    vars(top).update(signing=signing, exceptions=exceptions, __path__=[])
    vars(signing).update(SigningKey=SigningKey, VerifyKey=VerifyKey)
    vars(exceptions).update(BadSignatureError=InvalidSignature)
    return {module.__name__: module for module in (top, signing, exceptions)}
