"""Jinja2 as Ansible uses it, but strict; Pending and NotYetKnown for what nobody can say yet.

Jinja itself is imported with the first template, for the sake of start-up time.
"""

from provisioner.errors import NotYetKnown
from provisioner.templating.names import guarded_names, hides_names, is_volatile, syntax_error, used_names
from provisioner.templating.templar import Templar, is_plain
from provisioner.templating.values import OMIT, Pending, UndefinedVariable, Verbatim, settle

__all__ = [
    "OMIT",
    "NotYetKnown",
    "Pending",
    "Templar",
    "UndefinedVariable",
    "Verbatim",
    "guarded_names",
    "hides_names",
    "is_plain",
    "is_volatile",
    "settle",
    "syntax_error",
    "used_names",
]
