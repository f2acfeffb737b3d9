"""The laws of onboarding's pure parts: addresses, names, groups, duplicates, known_hosts, and the stages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import provisioner.tasks
from provisioner.errors import InputError, Refused, Unreachable
from provisioner.inventory.read import inventory_of
from provisioner.jetson.facts import HostFacts, facts_from
from provisioner.model import task_types
from provisioner.onboarding.judging import (
    Known,
    existing_host,
    group_for,
    hostname_for,
    is_name,
    judge_duplicates,
    name_for,
)
from provisioner.onboarding.recording import entry_of, exchanged, tame
from provisioner.onboarding.stages import STAGES, check_stages, stage_of
from provisioner.onboarding.units import Place, Unit, exit_code, place_of
from provisioner.playbook import load_playbook
from provisioner.transport.greeting import Greeting
from provisioner.transport.knownhosts import HostKey

if TYPE_CHECKING:
    from provisioner.inventory import Inventory

KEY = HostKey("ssh-ed25519", b"one")
BOOK = Path(provisioner.tasks.__file__).parents[2] / "playbooks" / "onboard.yaml"

ADDRESSES = [
    ("192.168.55.1", Place("192.168.55.1")),
    ("nvidia@orin.local", Place("orin.local", user="nvidia")),
    ("orin:2222", Place("orin", 2222)),
    ("me@[fe80::1%usb0]:2222", Place("fe80::1%usb0", 2222, "me")),
    ("fe80::1", Place("fe80::1")),
]


@pytest.mark.parametrize(("text", "place"), ADDRESSES)
def test_addresses(text: str, place: Place) -> None:
    """User, address and port are found in what people write; a port beside it counts where it has none."""
    assert place_of(text) == place
    assert place_of(text, 44).port == (place.port if ":2222" in text else 44)


@pytest.mark.parametrize("text", ["a b", "@a", "a:", "a:0", "a:65536", "-oProxyCommand=x", "a@b@c", "[::1", "a:b"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    """Nothing that could be read otherwise is taken for an address."""
    with pytest.raises(InputError):
        place_of(text)


def jetson(hostname: str = "ubuntu", l4t: str = "36.4.3") -> HostFacts:
    """Return the facts of an Orin Nano."""
    major, _, rest = l4t.partition(".")
    return facts_from(
        {
            "hostname": hostname,
            "kernel_arch": "aarch64",
            "userland_arch": "arm64",
            "compatible": "nvidia,p3768-0000+p3767-0005|nvidia,p3767-0005|nvidia,tegra234",
            "release_line": f"# R{major} (release), REVISION: {rest}, GCID: 1",
        }
    )


def test_a_unit_keeps_a_name_of_its_own() -> None:
    """A host name that tells it from others is kept; one that images come with, or that is taken, is not."""
    assert name_for(jetson("Kitchen.local"), "1420123456789", None, ()) == "kitchen"
    made = name_for(jetson("ubuntu"), "1420123456789", None, ())
    assert made.endswith("-56789")
    assert is_name(made)
    assert name_for(jetson("kitchen"), "1420123456789", None, {"kitchen"}) == made
    assert name_for(jetson("ubuntu"), "1420123456789", None, {made}) == f"{made}-2"
    assert is_name(name_for(jetson("ubuntu"), None, None, ()))


def test_an_address_does_not_become_a_host_name() -> None:
    """A host that the inventory calls by its address keeps the name that it has."""
    assert hostname_for("192.168.1.40", "orin") == "orin"
    assert hostname_for("kitchen.lan", "orin") == "kitchen"
    assert hostname_for("rack_1", "orin") == "orin"


def fleet(text: str) -> Inventory:
    """Return an inventory of this text."""
    return inventory_of(text, Path("fleet.yaml"))


def test_the_group_is_the_release_where_there_is_one() -> None:
    """The group that was asked for, else jetpack6 where the inventory has it, else jetsons."""
    with_group = fleet("jetpack6: {hosts: {a: }}\n")
    assert group_for(jetson(), with_group, None) == "jetpack6"
    assert group_for(jetson(), with_group, "spare") == "spare"
    assert group_for(jetson(), fleet("all: {hosts: {a: }}\n"), None) == "jetsons"


def test_a_host_is_found_by_name_or_by_address_and_port() -> None:
    """What somebody wrote by hand is the same unit; another port is another one."""
    own = fleet("all: {hosts: {a: {ansible_host: 10.0.0.5}, b: {ansible_host: 10.0.0.5, ansible_port: 2222}}}\n")
    found = [existing_host(own, place_of(text)) for text in ("a", "10.0.0.5", "10.0.0.5:2222", "10.0.0.5:2223", "c")]
    assert [host.name if host else None for host in found] == ["a", "a", "b", None, None]


def unit(address: str, **more: Any) -> Unit:
    """Return a unit that has greeted."""
    key = more.pop("key", HostKey("ssh-ed25519", address.encode()))
    return Unit(Place(address), "nvidia", greeting=Greeting(address, "OpenSSH", key), **more)


DUPLICATES = [
    ({"serial": "1"}, Known("old", serial="1"), "serial number 1"),
    ({"machine": "m"}, Known("old", machine="m"), "machine-id m"),
    ({"key": KEY}, Known("old", keys=frozenset({KEY.blob})), "host key"),
]


@pytest.mark.parametrize(("own", "other", "told"), DUPLICATES)
def test_a_unit_that_is_there_under_another_name_is_refused(own: dict[str, Any], other: Known, told: str) -> None:
    """Same serial number, machine-id or host key: it names the other one, and --replace lets it be that one."""
    new = unit("10.0.0.9", **own)
    refused = {one.label: error for one, error in judge_duplicates([new], [other], None)}
    assert told in refused["10.0.0.9"].message
    assert "old" in refused["10.0.0.9"].message
    assert "--replace old" in str(refused["10.0.0.9"].hint)
    assert list(judge_duplicates([new], [other], "old")) == []
    assert list(judge_duplicates([replace(new, existing="old")], [other], None)) == []


def test_one_unit_at_two_addresses_comes_once() -> None:
    """Of two addresses of one unit in the same run the second is refused; two units are two."""
    pair = [unit("10.0.0.1", serial="1"), unit("10.0.0.2", serial="1"), unit("10.0.0.3", serial="3")]
    assert [one.label for one, _ in judge_duplicates(pair, [], None)] == ["10.0.0.2"]


def test_what_is_not_known_is_the_same_as_nothing() -> None:
    """Units without a serial number or machine-id are no duplicates of each other."""
    assert list(judge_duplicates([unit("10.0.0.1"), unit("10.0.0.2")], [Known("a"), Known("b")], None)) == []


LINES = "# mine\nold ssh-rsa AAAA\nold,kept ssh-ed25519 BBBB note\n|1|x|y ssh-rsa CCCC\n@revoked old ssh-rsa DDDD\n"


def test_an_exchanged_key_leaves_every_other_line() -> None:
    """Only plain lines of that name go; comments, other names, hashed and revoked lines stay. Twice is once."""
    line = "old ssh-ed25519 NEW"
    after = exchanged(LINES, {"old"}, line)
    assert after.splitlines() == [
        "# mine",
        "kept ssh-ed25519 BBBB note",
        "|1|x|y ssh-rsa CCCC",
        "@revoked old ssh-rsa DDDD",
        line,
    ]
    assert exchanged(after, {"old"}, line) == after
    assert exchanged("", {"old"}, line) == f"{line}\n"


def test_the_entry_says_how_to_reach_the_unit_and_what_it_is() -> None:
    """Port and key are written where they are not the usual ones; a lab's device has no address of its own."""
    plain = entry_of(unit("10.0.0.1", name="a", group="jetsons", serial="1"))
    assert (plain.name, plain.group) == ("a", "jetsons")
    assert dict(plain.vars) == {"ansible_host": "10.0.0.1", "ansible_user": "nvidia", "jetson_serial": "1"}
    other = unit("10.0.0.1", name="a", key_file=Path("/keys/fleet"))
    other.place = Place("10.0.0.1", 2222)
    assert entry_of(other).vars["ansible_port"] == 2222
    assert entry_of(other).vars["ansible_ssh_private_key_file"] == "/keys/fleet"
    assert dict(entry_of(unit("127.0.0.1", name="a", lab=True, existing="a")).vars) == {}
    assert entry_of(unit("10.0.0.1", name="a", existing="a", group="g")).group is None


@pytest.mark.parametrize("text", ["{{ lookup('pipe', 'id') }}", "{% set a %}", "a\nb: c", "#x", "'\"&*!|>", "\x1b[2J"])
def test_what_a_device_says_is_no_template_in_the_inventory(text: str) -> None:
    """Nothing that a template, YAML or a terminal could read as its own gets into an entry."""
    assert not set("{}%#&*!|>'\"\n\x1b:[") & set(tame(text))
    assert tame("NVIDIA Jetson Orin Nano Developer Kit (8GB)") == "NVIDIA Jetson Orin Nano Developer Kit (8GB)"


def test_the_shipped_playbook_has_every_stage() -> None:
    """Each play of onboard.yaml belongs to a stage, and each stage has a play."""
    book = load_playbook(BOOK, modules=task_types())
    check_stages(book)
    assert all(stage_of(book, stage).plays for stage in STAGES)
    with pytest.raises(InputError, match="belongs to no stage"):
        check_stages(replace(book, plays=(replace(book.plays[0], tags=()),)))
    with pytest.raises(InputError, match="no play has the tag 'key'"):
        check_stages(replace(book, plays=book.plays[:1]))


def test_exit_codes() -> None:
    """0 where all are in, 2 for a refusal, 4 for no answer, 6 for both."""
    fine, refused, lost = unit("a"), unit("b", error=Refused("no")), unit("c", error=Unreachable("no"))
    assert [exit_code(some) for some in ([fine], [fine, refused], [lost], [refused, lost])] == [0, 2, 4, 6]
