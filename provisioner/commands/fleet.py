"""What the commands that talk to devices share: inventory, playbooks, lab, transports, reports."""

from __future__ import annotations

import getpass
import sys
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.connection import LAB_WORDS, Credentials, check, lab_backend, lab_devices, lab_kind, target_of
from provisioner.document import beside, near, raise_all, searched
from provisioner.errors import InputError
from provisioner.records import dataclass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from provisioner.events import Event
    from provisioner.inventory import Host, Inventory
    from provisioner.lab import Lab
    from provisioner.model import TaskType
    from provisioner.playbook import Playbook
    from provisioner.report import Closing
    from provisioner.transport.link import Transport


SHIPPED = Path(__file__).parent.parent / "shipped"


@dataclass
class Fleet:
    """An inventory, its selected hosts, their lab if they are simulated, and how to reach them."""

    inventory: Inventory
    hosts: tuple[Host, ...]
    credentials: Credentials
    lab: Lab | None = None
    modules: Mapping[str, type[TaskType]] = field(default_factory=dict)

    @property
    def lock_path(self) -> Path:
        """Return the file that holds the pins of this inventory."""
        from provisioner.jetson.pins import lock_path

        return lock_path(self.inventory.path or self.inventory.state_dir / "hosts.yaml")

    def connect(self, host: Host, become: bool, *, hasty: float | None = None) -> Transport:
        """Return a transport to a host, which logs in with its first batch; `hasty` is what SshTransport takes.

        What that needs is imported in the background; sooner, it would hold up what is to be told of bad input.
        """
        kind = lab_kind(host)
        if self.lab is not None and self.lab.backend == "model" and kind:
            from provisioner.lab.model import model_transport

            return model_transport(lab_name(self.inventory), host.name, kind, self.lab, become=become)
        from provisioner.transport import SshSession
        from provisioner.transport.link import SshTransport

        target = target_of(host, self.inventory, self.credentials, self.lab, become=become)
        session = SshSession(target)
        session.dial()
        warm_up()
        return SshTransport(session, hasty=hasty)


def load_fleet(
    options: argparse.Namespace, playbooks: Sequence[str], known: frozenset[str] = frozenset()
) -> tuple[Fleet, list[Playbook]]:
    """Read the inventory and the playbooks; raise every mistake in them at once, before anything is touched."""
    import provisioner.tasks  # noqa: F401 - registers the task types
    from provisioner.inventory import load_inventory
    from provisioner.model import task_types
    from provisioner.playbook import load_playbook
    from provisioner.undefined import handed_on, undefined_names

    errors: list[InputError] = []
    paths = [path for name in playbooks if (path := _attempt(partial(find_playbook, name, options), errors))]
    folders = tuple(dict.fromkeys(path.parent for path in paths if SHIPPED not in path.parents))
    inventory = _attempt(partial(load_inventory, options.inventory, vars_dirs=folders, errors=errors), errors)
    read = partial(load_playbook, modules=task_types(), errors=errors)
    loaded = [book for path in paths if (book := _attempt(partial(read, path), errors))]
    hosts: tuple[Host, ...] = ()
    if inventory is not None:
        hosts = _attempt(partial(inventory.select, options.limit or "all"), errors) or ()
        for host in hosts:
            _attempt(partial(check, host, inventory), errors)
    unsure = inventory is None or inventory.incomplete or not hosts
    for play in (play for book in loaded for play in book.plays):
        if inventory is not None and play.hosts:
            _attempt(partial(inventory.select, play.hosts, play.hosts_source), errors)
        errors.extend(undefined_names(play, None if unsure else hosts, known))
        known |= handed_on(play)
    raise_all(errors)
    assert inventory is not None
    if not hosts:
        raise InputError("there is no host to work on", hint=f"hosts of {options.inventory}: see -l/--limit")
    return Fleet(inventory, hosts, ask_credentials(options), modules=task_types()), loaded


def _attempt(read: Any, errors: list[InputError]) -> Any:
    try:
        return read()
    except InputError as error:
        errors.append(error)
        return None


def find_playbook(name: str, options: argparse.Namespace) -> Path:
    """Return the playbook of a name: as given, beside the inventory, or one that is shipped."""
    given = Path(name)
    home = Path(options.inventory).parent if "," not in options.inventory else Path()
    tried = [given]
    if len(given.parts) == 1:
        folders = (Path("playbooks"), home, home / "playbooks", home.parent / "playbooks", SHIPPED / "playbooks")
        tried += [folder / name for folder in folders]
    tried = list(dict.fromkeys(tried))
    for path in tried:
        if path.is_file():
            return path
    known = near(given.name, beside(tried))
    raise InputError(f"there is no playbook {name!r}{known}", hint=searched(tried))


def ask_credentials(options: argparse.Namespace) -> Credentials:
    """Return what the command line says of logging in; passwords are asked for on the terminal."""
    from provisioner.transport import Secret

    password = Secret(getpass.getpass("SSH password: ")) if options.ask_pass else None
    become = Secret(getpass.getpass("sudo password: ")) if options.ask_become_pass else password
    key = Path(options.private_key) if options.private_key else None
    return Credentials(
        user=options.user, key_file=key, password=password, become_password=become, timeout=options.timeout
    )


def lab_name(inventory: Inventory) -> str:
    """Return the name of an inventory's lab: its file's, and what tells it from others of that name."""
    import hashlib

    path = (inventory.path or Path("inventory")).resolve()
    return f"{path.stem}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def start_lab(fleet: Fleet, options: argparse.Namespace) -> None:
    """Start the devices of the inventory's lab that do not run."""
    if not lab_devices({host.name: host for host in fleet.hosts}):
        return
    from provisioner import lab

    real = [host for host in fleet.hosts if not lab_kind(host)]
    if real:
        raise InputError(
            f"{real[0].name} is a real device, and other hosts are simulated: their images must not be mixed",
            source=real[0].source,
            hint="keep simulated devices in an inventory of their own, or choose with --limit",
        )
    devices = lab_devices(fleet.inventory.hosts)
    backend = lab_backend(fleet.inventory.hosts, options.lab_backend)
    try:
        fleet.lab = lab.ensure(lab_name(fleet.inventory), devices, backend=backend)
    except InputError as error:
        raise _placed(error, fleet, devices) from error
    print(fleet.lab.banner, file=sys.stderr)


def warm_up() -> None:
    """Import in the background what the first connection needs."""
    # YAML's modules import each other in a circle: two threads that begin with it would each see half of them.
    import yaml  # noqa: F401

    from provisioner.transport import warm_up as warm_transport

    warm_transport()


def _placed(error: InputError, fleet: Fleet, devices: Mapping[str, str]) -> InputError:
    """Give an error about a simulated device the place where the inventory asks for it."""
    host = next((name for name, kind in devices.items() if kind.split(" ")[0] in error.message), None)
    if host is not None and error.source is None:
        word = next(word for word in LAB_WORDS if word in fleet.inventory.hosts[host].vars)
        error.source = fleet.inventory.var_source(host, word)
    return error


def settle() -> None:
    """Spare the garbage collector what was read: it stays, and would be gone over again and again."""
    import gc

    gc.freeze()


@dataclass
class Listeners:
    """Hands each event to several listeners that have something to finish."""

    listeners: Sequence[Closing]

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        for one in self.listeners:
            one(event)

    def close(self) -> None:
        """Finish what each has to finish; raises what some could not, once all have tried."""
        errors: list[InputError] = []
        for one in self.listeners:
            _attempt(one.close, errors)
        raise_all(errors)


def extra_vars(texts: Sequence[str]) -> dict[str, Any]:
    """Return the variables of -e: key=value pairs, JSON or YAML, or the content of @file."""
    from provisioner.document import load, parse, plain

    found: dict[str, Any] = {}
    for text in texts:
        if text.startswith("@"):
            node = load(Path(text[1:]))
            value = plain(node) if node is not None else {}
        elif text.lstrip().startswith(("{", "[")) or ("=" not in text and ":" in text):
            node = parse(text, "--extra-vars")
            value = plain(node) if node is not None else {}
        else:
            value = _pairs(text)
        if not isinstance(value, dict):
            raise InputError(f"-e wants variables, and got {text!r}", hint="-e key=value, or -e @file.yaml")
        found.update(value)
    return found


def names_of(texts: Sequence[str] | None) -> frozenset[str]:
    """Return the names that options list, apart by commas."""
    return frozenset(name.strip() for text in texts or () for name in text.split(",") if name.strip())


def _pairs(text: str) -> dict[str, str]:
    import shlex

    pairs = {}
    for word in shlex.split(text):
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(
                f"-e wants key=value, and got {word!r}", hint="-e 'key=value other=value', or -e @file.yaml"
            )
        pairs[name] = value
    return pairs
