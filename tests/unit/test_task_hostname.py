"""The laws of hostname: both names of a device, and only names that can be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from taskviews import plan, shown, view

from provisioner.errors import InputError
from provisioner.observables.hostname import HostName, HostNameState
from provisioner.tasks.hostname import Hostname

if TYPE_CHECKING:
    from provisioner.model import View


def named(static: str | None, running: str) -> View:
    """Return a view of a device with these names."""
    at = view()
    at.learn(HostName(), HostNameState(static=static, running=running))
    return at


@pytest.mark.parametrize(("static", "running"), [("ubuntu", "ubuntu"), (None, "ubuntu"), ("kitchen", "ubuntu")])
def test_both_names_are_set(static: str | None, running: str) -> None:
    """Where either differs one change sets both, and a second plan is empty."""
    at = named(static, running)
    planned = plan(Hostname(wanted="kitchen"), at)
    assert shown(planned) == [f"host name: {static or running} -> kitchen"]
    assert at.get(HostName()) == HostNameState(static="kitchen", running="kitchen")
    assert not plan(Hostname(wanted="kitchen"), at).changes


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a b", "a..b", "a" * 65, "a;reboot", "käse", "a\nb"])
def test_what_cannot_be_a_name_is_an_error(name: str) -> None:
    """Nothing else reaches a device."""
    with pytest.raises(InputError, match="cannot be the name"):
        Hostname(wanted=name)
