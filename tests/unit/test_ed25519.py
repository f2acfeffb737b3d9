"""Our Ed25519 keys are PyNaCl's: the same bytes, signed and judged alike."""

from __future__ import annotations

import nacl.exceptions
import nacl.signing
import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given
from hypothesis import strategies as st

from provisioner.transport.ed25519 import SigningKey, VerifyKey

SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS, st.binary())
def test_ours_sign_as_theirs(seed: bytes, data: bytes) -> None:
    """A seed has one public key, and data one signature, whoever makes them; each takes what the other has signed."""
    ours, theirs = SigningKey(seed), nacl.signing.SigningKey(seed)
    assert ours.verify_key.encode() == theirs.verify_key.encode()
    assert ours.sign(data).signature == theirs.sign(data).signature
    assert ours.verify_key.verify(data, theirs.sign(data).signature) == data
    assert ours.verify_key == VerifyKey(theirs.verify_key.encode())
    assert hash(ours.verify_key) == hash(VerifyKey(theirs.verify_key.encode()))


@given(SEEDS, st.binary(), st.integers(0, 63), st.integers(1, 255))
def test_ours_refuse_as_theirs(seed: bytes, data: bytes, place: int, change: int) -> None:
    """A signature with one byte changed is none, and neither is one of other data, or one that is too short."""
    ours, theirs = SigningKey(seed), nacl.signing.SigningKey(seed)
    right = ours.sign(data).signature
    wrong = right[:place] + bytes([right[place] ^ change]) + right[place + 1 :]
    for said, signature in ((data, wrong), (data + b"!", right), (data, right[:-1])):
        with pytest.raises(InvalidSignature):
            ours.verify_key.verify(said, signature)
        with pytest.raises((nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError)):
            theirs.verify_key.verify(said, signature)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_bytes_of_another_length_are_no_key(size: int) -> None:
    """A key of the wrong length is refused before anything is signed or judged with it."""
    with pytest.raises(ValueError, match="32"):
        SigningKey(bytes(size))
    with pytest.raises(ValueError, match="32"):
        VerifyKey(bytes(size))
