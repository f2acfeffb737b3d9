"""The laws of authorized_key: keys are told apart by what they are, and what is not asked about stays."""

from __future__ import annotations

import pytest
from taskviews import absent, file, folder, plan, view

from provisioner.errors import InputError
from provisioner.model import Unknown, View
from provisioner.observables.file import File
from provisioner.observables.user import User, UserState
from provisioner.tasks.authorized_key import AuthorizedKey, parsed

PATH = "/home/nvidia/.ssh/authorized_keys"
OURS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOURS me@here"
OTHER = "ssh-rsa AAAAB3NzaC1yc2EOTHER other"
LIMITED = f'from="10.0.0.0/8",command="echo ssh-rsa hi" {OTHER}'


def account(*states: object, **more: object) -> View:
    """Return a view in which the user nvidia has a home."""
    at = view(folder("/home", mode="0755"), folder("/home/nvidia", owner="nvidia", group="nvidia"), *states)  # type: ignore[arg-type]
    given = {"present": True, "home": "/home/nvidia", "group": "nvidia", **more}
    at.learn(User("nvidia"), UserState(**given))  # type: ignore[arg-type]
    return at


def with_keys(*lines: str) -> View:
    """Return a view in which nvidia has these lines in authorized_keys."""
    own = {"owner": "nvidia", "group": "nvidia"}
    text = "".join(f"{line}\n" for line in lines).encode()
    return account(folder("/home/nvidia/.ssh", mode="0700", **own), file(PATH, text, mode="0600", **own))


def content(at: View) -> str:
    """Return what stands in authorized_keys."""
    return (at.get(File(PATH)).content or b"").decode()


def test_a_first_key_brings_folder_and_file_with_their_access() -> None:
    """~/.ssh gets mode 0700 and the file 0600, both the user's, and a second plan is empty."""
    at = account(absent("/home/nvidia/.ssh"), absent(PATH))
    task = AuthorizedKey(user="nvidia", key=OURS)
    assert plan(task, at).changes
    made, held = at.get(File("/home/nvidia/.ssh")), at.get(File(PATH))
    assert (made.type, made.owner, made.group, made.mode) == ("directory", "nvidia", "nvidia", "0700")
    assert (held.owner, held.group, held.mode) == ("nvidia", "nvidia", "0600")
    assert content(at) == f"{OURS}\n"
    assert not plan(task, at).changes


def test_as_the_user_nothing_is_given_away() -> None:
    """Who is not root makes the file as himself."""
    at = account(absent("/home/nvidia/.ssh"), absent(PATH))
    assert plan(AuthorizedKey(user="nvidia", key=OURS), at, user="nvidia").changes
    held = at.get(File(PATH))
    assert (held.owner, held.mode) == ("nvidia", "0600")
    assert isinstance(held.group, Unknown)


CASES = [
    ((OTHER,), {}, (OTHER, OURS)),
    (("# ours", "", LIMITED), {}, ("# ours", "", LIMITED, OURS)),
    ((OURS.replace("me@here", "old"),), {}, (OURS.replace("me@here", "old"),)),  # the comment is no part of the key
    ((f"no-pty {OURS}",), {}, (OURS,)),
    ((OURS,), {"key_options": "no-pty"}, (f"no-pty {OURS}",)),
    ((OURS,), {"comment": "new"}, (OURS.replace("me@here", "new"),)),
    (("# x", OTHER), {"exclusive": True}, (OURS,)),
    ((OTHER, OURS), {"state": "absent"}, (OTHER,)),
    ((OTHER,), {"state": "absent"}, (OTHER,)),
    ((OURS,), {"key": f"# two\n{OURS}\n{OTHER}\n"}, (OURS, OTHER)),
]


@pytest.mark.parametrize(("before", "more", "after"), CASES)
def test_what_is_there_stays(before: tuple[str, ...], more: dict[str, object], after: tuple[str, ...]) -> None:
    """Other keys, their options and comments stay as they are; a second plan is empty."""
    at = with_keys(*before)
    task = AuthorizedKey(**{"user": "nvidia", "key": OURS, **more})  # type: ignore[arg-type]
    assert plan(task, at).changes == (before != after)
    assert content(at) == "".join(f"{line}\n" for line in after)
    assert not plan(task, at).changes


def test_options_with_key_words_in_them_are_options() -> None:
    """The key of a line is found behind options that hold spaces, quotes and names of key types."""
    key = parsed(LIMITED)
    assert key is not None
    assert (key.blob, key.comment, key.line) == ("AAAAB3NzaC1yc2EOTHER", "other", LIMITED)
    assert parsed("# ssh-rsa AAAA") is None


@pytest.mark.parametrize("text", ["", "AAAA", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----", "https://x/y.keys"])
def test_what_is_no_key_is_an_error(text: str) -> None:
    """No private key, address or half a key is ever written to a device."""
    with pytest.raises(InputError):
        AuthorizedKey(user="nvidia", key=text)


def test_without_the_user_there_is_no_plan() -> None:
    """Whose home is not known gets no key."""
    at = account(present=False, home=None, group=None)
    assert "user must exist" in str(plan(AuthorizedKey(user="nvidia", key=OURS), at).failed)
