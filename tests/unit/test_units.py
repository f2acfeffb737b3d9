"""Units: what a probe's text means, and what service and systemd make of it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import ANYTHING, Context, View
from provisioner.observables.boot import BootId, BootState
from provisioner.observables.file import File, FileState
from provisioner.observables.package import AptCache, AptTransaction, DpkgLock, Package
from provisioner.observables.unit import Unit, UnitRun, UnitsStale, UnitsStaleState, UnitState
from provisioner.observables.user import Group, User, UserPassword
from provisioner.tasks.reboot import Reboot
from provisioner.tasks.service import Service, Systemd

CTX = Context(host="nano", label="it")
RUNNING = UnitState(load_state="loaded", active_state="active", unit_file_state="enabled")
STOPPED = UnitState(load_state="loaded", active_state="inactive", unit_file_state="disabled")


def shown(plan: Any) -> list[str]:
    """Return the lines of a plan."""
    return [line.text for effect in plan.effects for line in effect.shows]


def plan(task: Any, state: UnitState) -> Any:
    """Plan against one unit."""
    return task.plan(View(probed={Unit("docker"): state}), CTX)


@pytest.mark.parametrize(
    "text",
    [
        "load_state=not-found\nactive_state=inactive\nneed_daemon_reload=no",
        "load_state=not-found\nactive_state=inactive\nneed_daemon_reload=no\ninit=other",
        "load_state=loaded\nactive_state=active\nunit_file_state=enabled\nneed_daemon_reload=yes",
    ],
)
def test_render_is_the_inverse_of_parse(text: str) -> None:
    """What the controller predicts has the text that the probe will print."""
    assert UnitState.parse(text).render() == text
    attached = UnitState.parse(f"{text}\n.invocation_id=ab\n.passes=yes")
    assert attached == UnitState.parse(text)
    assert (attached.invocation_id, attached.passes) == ("ab", True)


def test_a_probe_is_named_after_its_kind() -> None:
    """The wire calls probe_KIND."""
    kinds = (Unit, UnitRun, UnitsStale, User, UserPassword, Group, BootId, Package, AptTransaction, AptCache, DpkgLock)
    assert [kind.probe.name for kind in kinds] == [f"probe_{kind.kind}" for kind in kinds]


def test_a_name_without_a_kind_is_a_service() -> None:
    """As for systemctl; a dot alone makes no kind."""
    assert Unit("docker") == Unit("docker.service")
    assert Unit("docker.socket").name == "docker.socket"
    assert Unit("org.example.thing").name == "org.example.thing.service"
    assert UnitRun("docker").name == "docker.service"


@pytest.mark.parametrize(
    ("task", "state", "lines"),
    [
        (Service(unit="docker", state="started"), RUNNING, []),
        (Service(unit="docker", state="started"), STOPPED, ["start"]),
        (Service(unit="docker", state="started", enabled=True), STOPPED, ["enable", "start"]),
        (Service(unit="docker", state="stopped", enabled=False), RUNNING, ["disable", "stop"]),
        (Service(unit="docker", state="stopped"), STOPPED, []),
        (Service(unit="docker", state="restarted"), RUNNING, ["restart"]),
        (Service(unit="docker", state="restarted"), STOPPED, ["restart"]),
        (Service(unit="docker", state="reloaded"), RUNNING, ["reload"]),
        (Service(unit="docker", state="reloaded"), STOPPED, ["start"]),
        (Systemd(unit="docker", masked=True), RUNNING, ["mask"]),
        (Systemd(unit="docker", masked=False), RUNNING, []),
        (Systemd(unit="docker", daemon_reload=True), RUNNING, []),
        (Systemd(unit="docker", daemon_reload=True, state="restarted"), RUNNING, ["restart"]),
    ],
)
def test_each_wish_is_one_effect_with_its_line(task: Any, state: UnitState, lines: list[str]) -> None:
    """What is as it is asked for takes nothing."""
    assert shown(plan(task, state)) == [f"docker.service: {line}" for line in lines]


@pytest.mark.parametrize("kind", ["static", "indirect", "generated", "alias"])
def test_a_unit_without_an_install_section_is_left_as_it_is(kind: str) -> None:
    """It can be neither enabled nor disabled, and systemctl is-enabled calls it enabled."""
    state = UnitState(load_state="loaded", active_state="active", unit_file_state=kind)
    for enabled in (True, False):
        assert not plan(Service(unit="docker", enabled=enabled), state).effects


def test_effects_leave_the_unit_step_by_step() -> None:
    """Each effect leaves what those before it left, and its own."""
    enable, start = plan(Service(unit="docker", state="started", enabled=True), STOPPED).effects
    assert enable.leaves == {
        Unit("docker"): UnitState(load_state="loaded", active_state="inactive", unit_file_state="enabled")
    }
    assert start.leaves == {Unit("docker"): RUNNING}
    assert start.disturbs == (ANYTHING,)
    assert start.witness is None


def test_a_restart_has_a_witness_and_a_reload_none() -> None:
    """An event that leaves no state shows in a name that differs afterwards."""
    assert plan(Service(unit="docker", state="restarted"), RUNNING).effects[0].witness == UnitRun("docker")
    assert plan(Service(unit="docker", state="reloaded"), RUNNING).effects[0].witness is None


def test_a_oneshot_may_be_over_when_it_was_started() -> None:
    """What a unit that passes is afterwards, only the device can tell."""
    state = UnitState(load_state="loaded", passes=True)
    (effect,) = plan(Service(unit="docker", state="started"), state).effects
    assert effect.leaves[Unit("docker")].open_fields() == ("active_state",)
    with pytest.raises(NotYetKnown):
        plan(Service(unit="docker", state="started"), effect.leaves[Unit("docker")])


@pytest.mark.parametrize(
    ("task", "state", "failed"),
    [
        (Service(unit="docker", state="started"), UnitState(), "Could not find the requested service docker"),
        (Service(unit="docker", enabled=False), UnitState(), "Could not find the requested service docker"),
        (Systemd(unit="docker", masked=True), UnitState(), None),
        (
            Service(unit="docker", state="stopped"),
            UnitState(init="other"),
            "Could not find the requested service docker: systemd does not run on this device",
        ),
        (
            Service(unit="docker", state="started"),
            UnitState(load_state="masked", unit_file_state="masked"),
            "docker.service is masked",
        ),
    ],
)
def test_what_cannot_be_done_is_said_before(task: Any, state: UnitState, failed: str | None) -> None:
    """In Ansible's words, where it has some."""
    assert plan(task, state).failed == failed


def test_a_reload_comes_first_where_the_unit_needs_it() -> None:
    """And without daemon_reload, starting the old definition is warned of."""
    stale = UnitState(load_state="loaded", unit_file_state="disabled", need_daemon_reload=True)
    planned = plan(Systemd(unit="docker", state="started", daemon_reload=True), stale)
    assert shown(planned) == ["docker.service: daemon-reload", "docker.service: start"]
    assert not planned.warnings
    assert plan(Service(unit="docker", state="started"), stale).warnings


def test_a_unit_file_planned_before_makes_the_unit() -> None:
    """A play that writes a unit file and starts it knows the unit without a look."""
    view = View(probed={Unit("docker"): UnitState()})
    view.planned[File("/etc/systemd/system/docker.service")] = FileState(type="file", content=b"[Install]\n")
    task = Systemd(unit="docker", state="started", enabled=True, daemon_reload=True)
    planned = task.plan(view, CTX)
    assert shown(planned) == [f"docker.service: {line}" for line in ("daemon-reload", "enable", "start")]
    assert planned.effects[-1].leaves == {Unit("docker"): RUNNING}


def test_a_drop_in_planned_before_asks_for_a_reload() -> None:
    """Whether systemd needs it is known once the file is there; daemon_reload does it either way."""
    view = View(probed={Unit("docker"): RUNNING})
    view.planned[File("/etc/systemd/system/docker.service.d/raw.conf")] = FileState(type="file")
    task = Systemd(unit="docker", state="restarted", daemon_reload=True)
    assert shown(task.plan(view, CTX)) == ["docker.service: daemon-reload", "docker.service: restart"]


def test_a_reload_without_a_name_runs_where_any_unit_is_stale() -> None:
    """Once, also where the play itself wrote the unit file."""
    clean = View(probed={UnitsStale(): UnitsStaleState()})
    assert not Systemd(daemon_reload=True).plan(clean, CTX).effects
    stale = View(probed={UnitsStale(): UnitsStaleState(stale=("a.service",))})
    assert Systemd(daemon_reload=True).plan(stale, CTX).effects
    clean.planned[File("/etc/systemd/system/x.service")] = FileState(type="file")
    (effect,) = Systemd(daemon_reload=True).plan(clean, CTX).effects
    clean.lay(effect, "reload")
    assert not Systemd(daemon_reload=True).plan(clean, CTX).effects


@pytest.mark.parametrize("arguments", [{}, {"state": "started"}, {"masked": True}, {"unit": "x"}])
def test_systemd_wants_a_name_and_a_wish(arguments: dict[str, Any]) -> None:
    """As Ansible does."""
    with pytest.raises(InputError):
        Systemd(**arguments)
    with pytest.raises(InputError):
        Service(unit="x")


def test_a_reboot_ends_the_session_and_has_a_witness() -> None:
    """It is always planned, its witness is the boot, and what it cannot do it refuses."""
    (effect,) = Reboot(reboot_timeout=90).plan(View(probed={BootId(): BootState(boot="a")}), CTX).effects
    assert effect.ends_session
    assert effect.witness == BootId()
    assert effect.timeout == 90
    assert effect.disturbs == (ANYTHING,)
    assert BootState.parse("boot=x").render() == "boot=x"
    with pytest.raises(InputError):
        Reboot(test_command="true")
