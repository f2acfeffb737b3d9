"""The benchmark's light servers: what one host said once, all say, with their own random words."""

from __future__ import annotations

import asyncio
import secrets

from bench.light import Session, Tape

COMMAND = "echo {marker} ready 0 root; exec /bin/sh"
BATCH = """nonce={nonce}
batch_{name}() {{
{body}
printf '\\n%s end done\\n' $nonce
}}
batch_{name}
unset -f batch_{name}
"""


def talk(tape: Tape, *bodies: str) -> tuple[list[bytes], bool]:
    """Return what a host answers to a command and to batches, and whether a real shell did; less random words."""

    async def session() -> tuple[list[bytes], bool]:
        here = Session(tape)
        marker, nonce = secrets.token_hex(8), secrets.token_hex(16)
        told = [(await here.answer(COMMAND.format(marker=marker).encode())).replace(marker.encode(), b"MARKER")]
        for body in bodies:
            text = BATCH.format(nonce=nonce, name=secrets.token_hex(8), body=body)
            told.append((await here.answer(text.encode())).replace(nonce.encode(), b"NONCE"))
        real = here.shell is not None
        await here.close()
        return told, real

    return asyncio.run(session())


def test_what_was_said_once_is_said_again_by_no_shell() -> None:
    """The second session gets the first one's answer, behind its own marker and nonce, and no shell is started."""
    tape = Tape()
    first = talk(tape, "echo one", "echo two")
    assert first == ([b"MARKER ready 0 root\n", b"one\n\nNONCE end done\n", b"two\n\nNONCE end done\n"], True)
    assert talk(tape, "echo one", "echo two") == (first[0], False)


def test_a_command_that_says_nothing_is_not_waited_for() -> None:
    """A shell that is only started has said nothing; what it is told first is answered with the batch behind it."""

    async def session() -> tuple[bytes, bytes]:
        here = Session(Tape())
        nonce = secrets.token_hex(16)
        started = await here.answer(b"exec /bin/sh")
        told = await here.answer(BATCH.format(nonce=nonce, name=secrets.token_hex(8), body="echo one").encode())
        await here.close()
        return started, told.replace(nonce.encode(), b"NONCE")

    assert asyncio.run(session()) == (b"", b"one\n\nNONCE end done\n")


def test_what_is_new_is_asked_of_a_shell_that_knows_what_was_said_before() -> None:
    """A session that goes on otherwise than any before has a real shell, with all that it sent, and is recorded too."""
    tape = Tape()
    talk(tape, "told=$((told + 1)); echo $told")
    other = ("told=$((told + 1)); echo $told", "told=$((told + 1)); echo $told")
    assert talk(tape, *other) == ([b"MARKER ready 0 root\n", b"1\n\nNONCE end done\n", b"2\n\nNONCE end done\n"], True)
    assert talk(tape, *other)[1] is False


def test_a_digest_is_no_random_word() -> None:
    """Sessions that differ in a digest are different sessions."""
    tape = Tape()
    digests = ["0" * 64, "1" * 64]
    assert [talk(tape, f"echo {digest}")[0][1].split()[0].decode() for digest in digests] == digests
