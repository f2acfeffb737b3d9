"""Who answers, with which host key, and whether that key was accepted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from provisioner.errors import HostError, InputError, LinkLost, Refused, Unreachable
from provisioner.transport import Target, remember
from provisioner.transport.hostkeys import ChangedHostKey, UnknownHostKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provisioner.onboarding.units import Unit

T = TypeVar("T")
FORKS = 50


def side_by_side(units: Sequence[Unit], work: Callable[[Unit], T]) -> dict[int, T]:
    """Do something with all units at once; what goes wrong with one ends that one alone."""

    def one(unit: Unit) -> T | None:
        try:
            return work(unit)
        except HostError as error:
            unit.fail(_in_words_of_arguments(error))
        except LinkLost as error:
            unit.fail(Unreachable(error.message, hint=error.hint or "run again"))
        except InputError as error:
            unit.fail(Refused(error.message, hint=error.hint))
        return None

    if not units:
        return {}
    with ThreadPoolExecutor(min(FORKS, len(units)), thread_name_prefix="unit") as pool:
        results = list(pool.map(one, units))
    return {id(unit): result for unit, result in zip(units, results, strict=True) if result is not None}


def _in_words_of_arguments(error: HostError) -> HostError:
    """Return an error whose hint names arguments: there is no entry yet that could be wrong."""
    hint = (error.hint or "").replace("ansible_port", "the port (-p)").replace("ansible_host", "the address")
    error.hint = hint or None
    return error


def greet_all(units: Sequence[Unit], known_hosts: Sequence[Path], ssh_config: Path) -> None:
    """Find out what answers; nobody logs in, and no password is at hand."""

    def meet(unit: Unit) -> None:
        from provisioner.transport.greeting import greet

        place = unit.place
        unit.greeting = greet(
            Target(
                name=unit.label,
                address=place.address,
                port=place.port,
                user=unit.user,
                connect_timeout=unit.patience,
                known_hosts=tuple(known_hosts),
                ssh_config=ssh_config,
            )
        )

    side_by_side(units, meet)


def objection(unit: Unit, replace: str | None) -> HostError | None:
    """Return why a unit's key cannot even be asked about: revoked, or changed and not replaced."""
    greeting = unit.greeting
    if greeting is None or greeting.objection is None or isinstance(greeting.objection, UnknownHostKey):
        return None
    if not isinstance(greeting.objection, ChangedHostKey):
        return greeting.objection
    if replace is not None and replace == unit.existing:
        return None
    name = unit.existing or "NAME"
    note = f"; --replace names {replace}, which is not at this address" if replace else ""
    return Refused(
        f"{greeting.objection.message}{note}",
        hint="somebody may be listening in. If the unit was flashed anew, compare the fingerprint on it "
        f"(`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), then add --replace {name}",
    )


def asked_about(unit: Unit) -> bool:
    """Tell whether somebody has to say that the key is the right one."""
    return unit.greeting is not None and unit.greeting.objection is not None


def accepted(unit: Unit, fingerprints: Sequence[str]) -> bool:
    """Tell whether the key is one of those that were given beforehand."""
    return unit.greeting is not None and unit.greeting.key.fingerprint in fingerprints


def take(unit: Unit, known_hosts: Path) -> None:
    """Let the unit's key, and no other, be good for what follows."""
    assert unit.greeting is not None
    remember(known_hosts, unit.greeting.line)
