"""The names under which task types are announced."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import provisioner.tasks
from provisioner.jetson.catalogue import catalogue, check
from provisioner.model import task_types


def test_every_task_type_is_announced_where_it_is() -> None:
    """The table of names holds exactly the names that the modules register, each at its module."""
    for module in pkgutil.iter_modules(provisioner.tasks.__path__):
        import_module(f"{provisioner.tasks.__name__}.{module.name}")
    types = task_types()
    registered = {name: cls.__module__.rpartition(".")[2] for name, cls in types.items()}
    announced = {name: module for module, names in provisioner.tasks.NAMES.items() for name in names}
    assert registered == announced


def test_the_tables_fit_together() -> None:
    """Every row of the shipped tables names only what another row defines, and has its sources."""
    check(catalogue())
