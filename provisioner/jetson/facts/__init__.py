"""What a host is.

body       what every run asks, in shell
host       what its answers mean
details    what only `provision facts` asks besides, in shell: software, Docker, disks, temperatures
software   what the answers to that mean
readings   lines of tegrastats, nvpmodel and /sys
variables  what a playbook sees
"""

from .body import FACTS_BODY, FIELDS, VOLATILE
from .host import (
    Architecture,
    HostFacts,
    Kind,
    facts_from,
    l4t_of_package,
    l4t_of_release_line,
    parse_facts,
)
from .variables import as_variables

__all__ = [
    "FACTS_BODY",
    "FIELDS",
    "VOLATILE",
    "Architecture",
    "HostFacts",
    "Kind",
    "as_variables",
    "facts_from",
    "l4t_of_package",
    "l4t_of_release_line",
    "parse_facts",
]
