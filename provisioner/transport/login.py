"""Authentication in the order that costs least: configured keys at once, then the agent, then a password.

Imports paramiko at the top: only `connect`, itself imported late, may import this module.
"""

from __future__ import annotations

import base64
import os
import threading
import time
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.auth_strategy import AuthFailure, AuthResult, AuthSource, AuthStrategy, InMemoryPrivateKey, Password

from provisioner.errors import HungUp, Refused
from provisioner.records import dataclass
from provisioner.transport.knownhosts import HostKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provisioner.transport.target import Target

_PUBLIC_KEY = "publickey"
_FRESH = 30.0  # how long what an agent told is relied on, in seconds: a fleet's logins come together
_KEYS: dict[tuple[Path, int], paramiko.PKey] = {}
_KEYS_LOCK = threading.Lock()


@dataclass
class Attempts:
    """What was tried and what the server would take, for the message of a refusal."""

    user: str
    tried: list[str] = field(default_factory=list)
    accepted: tuple[str, ...] = ()
    hung_up: bool = False

    def refusal(self, place: str) -> Refused:
        """Return the message for a login that did not succeed."""
        tried = "; ".join(self.tried) or "nothing: no key file, no key in an agent, no password"
        accepts = f"; the server accepts {', '.join(self.accepted)}" if self.accepted else ""
        kind = HungUp if self.hung_up else Refused
        return kind(
            f"{place} refused to log in {self.user}. Tried: {tried}{accepts}",
            hint="give the right user (-u), a key (--private-key) or a password (-k)",
        )


def load_key(path: Path) -> paramiko.PKey:
    """Return the private key of a file (and its certificate), read once per process."""
    stamp = (path, path.stat().st_mtime_ns)
    with _KEYS_LOCK:
        if stamp not in _KEYS:
            _KEYS[stamp] = paramiko.PKey.from_path(path)
        return _KEYS[stamp]


class _Agent(paramiko.Agent):
    """The user's agent, asked for its keys once for many hosts; it signs for one of them at a time."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.asked = time.monotonic()
        self._turn = threading.Lock()
        super().__init__()

    def is_fresh(self, place: str) -> bool:
        """Return whether this is the agent at that place, and was asked a moment ago."""
        return self.place == place and time.monotonic() - self.asked < _FRESH

    def _send_message(self, msg: paramiko.Message) -> Any:
        with self._turn:
            try:
                return super()._send_message(msg)  # type: ignore[misc]
            except OSError as error:
                raise paramiko.SSHException("the agent is gone") from error


_AGENTS: list[_Agent] = []
_AGENTS_LOCK = threading.Lock()


def agent_keys() -> list[paramiko.PKey]:
    """Return the keys of the user's agent, as it told them a moment ago at most."""
    place = os.environ.get("SSH_AUTH_SOCK", "")
    with _AGENTS_LOCK:
        if not (_AGENTS and _AGENTS[0].is_fresh(place)):
            # The old one is not closed: somebody may sign with it yet.
            _AGENTS[:] = [_Agent(place)]
        return list(_AGENTS[0].get_keys())


class Login(AuthStrategy):
    """Tries the sources in order, without asking first what the server would take."""

    def __init__(self, target: Target, settings: Mapping[str, object], attempts: Attempts, *, own: bool = True) -> None:
        super().__init__(ssh_config=None)  # type: ignore[arg-type]  # ours is looked up already
        self.attempts = attempts
        self.verified = False  # set when the host key is: no password before that
        self._settings = settings
        self._target = target
        self._own = own  # a jump host is not given the device's password
        self._labels: dict[int, Callable[[], str]] = {}

    def authenticate(self, transport: paramiko.Transport) -> AuthResult:
        """Log in, or raise AuthFailure when every source was refused."""
        wanted: tuple[str, ...] = ()
        result = AuthResult(strategy=self)
        for source in self.get_sources():
            method = "password" if isinstance(source, Password) else _PUBLIC_KEY
            if wanted and method not in wanted and "keyboard-interactive" not in wanted:
                continue
            remaining = self._try(source, transport)
            if remaining == ():
                return result
            wanted = remaining or wanted
        raise AuthFailure(result=result)

    def _try(self, source: AuthSource, transport: paramiko.Transport) -> tuple[str, ...] | None:
        """Return what is still to do (nothing: logged in), or None if the source was refused."""
        try:
            remaining = tuple(source.authenticate(transport))
        except paramiko.BadAuthenticationType as error:
            self.attempts.accepted = tuple(error.allowed_types)
            self.attempts.tried.append(self._labels[id(source)]())
        except paramiko.SSHException:
            if not transport.is_active():
                self.attempts.tried.append(f"{self._labels[id(source)]()} (then it hung up)")
                self.attempts.hung_up = True
                raise AuthFailure(result=AuthResult(strategy=self)) from None
            self.attempts.tried.append(self._labels[id(source)]())
        else:
            if remaining:
                self.attempts.tried.append(f"{self._labels[id(source)]()} (accepted, but not enough)")
                self.attempts.accepted = remaining
            return remaining
        return None

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield the keys of the configuration, then the agent's, then the password."""
        sources: list[AuthSource] = []  # kept alive: labels go by identity
        for source, label in self._labelled():
            sources.append(source)
            self._labels[id(source)] = label
            yield source

    def _labelled(self) -> Iterator[tuple[AuthSource, Callable[[], str]]]:
        seen: list[paramiko.PKey] = []
        for path in self._files():
            key = self._load(path)
            if key is not None and key not in seen:
                seen.append(key)
                yield InMemoryPrivateKey(self.attempts.user, key), partial(_file_label, path, key)
        told = {key.asbytes() for key in seen}
        for key in self._agent_keys():
            if key.asbytes() not in told:
                told.add(key.asbytes())
                yield InMemoryPrivateKey(self.attempts.user, key), partial(_agent_label, key)
        yield from self._password()

    def _password(self) -> Iterator[tuple[AuthSource, Callable[[], str]]]:
        password = self._target.password
        if password is None or not self._own:
            return
        if not self.verified:
            self.attempts.tried.append("no password, for the host key was not verified")
            return
        yield Password(self.attempts.user, password.reveal), lambda: "password"

    def _files(self) -> list[Path]:
        configured = self._settings.get("identityfile", [])
        files = [Path(str(name)).expanduser() for name in configured] if isinstance(configured, list) else []
        # A file that only ssh_config names may be missing, as with ssh; one that was given may not.
        return list(dict.fromkeys([*self._target.key_files, *(file for file in files if file.is_file())]))

    def _load(self, path: Path) -> paramiko.PKey | None:
        try:
            return load_key(path)
        except FileNotFoundError:
            reason = "no such file"
        except (TypeError, paramiko.PasswordRequiredException):
            reason = "needs a passphrase: ssh-add it"
        except Exception as error:  # noqa: BLE001 - each crypto backend has errors of its own
            reason = f"unusable: {type(error).__name__}"
        self.attempts.tried.append(f"key {path} ({reason})")
        return None

    def _agent_keys(self) -> list[paramiko.PKey]:
        if self._settings.get("identityagent") == "none":
            return []
        only = self._settings.get("identitiesonly") == "yes"
        keys = agent_keys()
        if not only:
            return keys
        wanted = [blob for path in self._files() if (blob := _public_blob(path))]
        return [key for key in keys if key.asbytes() in wanted]


def _public_blob(path: Path) -> bytes | None:
    """Return the public key that lies beside a private key file, or in the file itself."""
    for candidate in (path, path.with_name(path.name + ".pub")):
        try:
            words = candidate.read_text(encoding="ascii").split()
            if words[0].startswith(("ssh-", "ecdsa-")):
                return base64.b64decode(words[1])
        except (OSError, ValueError, IndexError):
            continue
    return None


def _file_label(path: Path, key: paramiko.PKey) -> str:
    return f"key {path} ({_describe(key)})"


def _agent_label(key: paramiko.PKey) -> str:
    return f"agent key {_describe(key)}"


def _describe(key: paramiko.PKey) -> str:
    return str(HostKey(key.get_name(), key.asbytes()))
