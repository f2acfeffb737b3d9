"""Units of systemd."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from provisioner.model import Observable, State, Unknown, attached, observable
from provisioner.observables.file import File, FileState
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from provisioner.model import View

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)

_SUFFIX = re.compile(r"\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$")

UNIT_VALID = Script(
    "unit_valid",
    r"""
# name: whether systemctl takes it for one unit; it gives up on all names where one is none.
case $1 in '' | -* | *[!A-Za-z0-9:_.\\@-]* | *@.*) return 1 ;; *.*) return 0 ;; *) return 1 ;; esac
""",
)

UNIT_BLOCKS = Script(
    "unit_blocks",
    r"""
# name ...: the properties of each valid unit, in order, with an empty line between two.
for name do
  shift
  ! unit_valid "$name" || set -- "$@" "$name"
done
[ $# -gt 0 ] || set -- basic.target
timeout 20 systemctl show --no-pager -p \
  Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,Type,RemainAfterExit "$@" 2>/dev/null
""",
    (UNIT_VALID,),
)

UNIT_PROPERTY = Script(
    "unit_property",
    r"""
# block name: sets value to that property, or to nothing.
value=
lf='
'
case $lf$1 in *"$lf$2="*)
  value=$lf$1
  value=${value#*"$lf$2="}
  value=${value%%"$lf"*} ;;
esac
""",
)

UNIT_ON_DISK = Script(
    "unit_on_disk",
    r"""
# name: whether a file for it lies where systemd looks: one that came after its last reload is not found by old ones.
case $1 in *@*.*) set -- "${1%%@*}@.${1##*.}" ;; esac
for folder in /etc/systemd/system /run/systemd/system /usr/local/lib/systemd/system /usr/lib/systemd/system \
  /lib/systemd/system; do
  [ ! -e "$folder/$1" ] || return 0
done
return 1
""",
)

UNIT_LINES = Script(
    "unit_lines",
    r"""
# name block
unit_property "$2" LoadState
load=${value:-not-found}
unit_property "$2" ActiveState
active=$value
unit_property "$2" SubState
sub=$value
unit_property "$2" UnitFileState
file=$value
unit_property "$2" NeedDaemonReload
reload=${value:-no}
if [ "$load" = not-found ] && unit_valid "$1" && unit_on_disk "$1"; then
  load=loaded reload=yes
  file=$(timeout 20 systemctl is-enabled "$1" 2>/dev/null)
fi
# A unit on its way counts as where it is going to; one that waits to be restarted has failed.
case $active,$sub in
*,auto-restart*) active=failed ;;
active,* | activating,* | reloading,* | refreshing,*) active=active ;;
failed,* | maintenance,*) active=failed ;;
*) active=inactive ;;
esac
printf 'load_state=%s\nactive_state=%s\n' "$load" "$active"
[ -z "$file" ] || printf 'unit_file_state=%s\n' "$file"
printf 'need_daemon_reload=%s\n' "$reload"
unit_property "$2" InvocationID
[ -z "$value" ] || printf '.invocation_id=%s\n' "$value"
unit_property "$2" Type
kind=$value
unit_property "$2" RemainAfterExit
[ "$kind,$value" != oneshot,no ] || printf '.passes=yes\n'
""",
    (UNIT_PROPERTY, UNIT_VALID, UNIT_ON_DISK),
)

UNIT_EACH = Script(
    "unit_each",
    r"""
# function name ...: calls function with each name and its block, behind `next`; without systemd the block is `none`.
show=$1
shift
blocks=$(unit_blocks "$@")
told=0 rest=$blocks
while case $rest in *LoadState=*) ;; *) false ;; esac; do
  rest=${rest#*LoadState=}
  told=$((told + 1))
done
valid=0
for name do ! unit_valid "$name" || valid=$((valid + 1)); done
if [ "$told" -ne "$valid" ] && [ "$told" -gt 0 ] && [ $# -gt 1 ]; then
  # One of them stopped systemctl: one by one, then.
  for name do unit_each "$show" "$name"; done
  return
fi
for name do
  next
  if [ "$told" -eq 0 ]; then "$show" "$name" none
  elif unit_valid "$name"; then
    "$show" "$name" "${blocks%%"

"*}"
    blocks=${blocks#*"

"}
  else "$show" "$name" ''
  fi
done
""",
    (UNIT_BLOCKS, UNIT_VALID),
)

UNIT_SHOW = Script(
    "unit_show",
    r"""
# name block
if [ "$2" = none ]; then
  printf 'load_state=not-found\nactive_state=inactive\nneed_daemon_reload=no\ninit=other\n'
else
  unit_lines "$1" "$2"
fi
""",
    (UNIT_LINES,),
)

PROBE_UNIT = Script("probe_unit", 'unit_each unit_show "$@"', (UNIT_EACH, UNIT_SHOW))

UNIT_RUN_SHOW = Script(
    "unit_run_show",
    r"""
# name block
unit_property "$2" InvocationID
[ -z "$value" ] || printf 'invocation=%s\n' "$value"
""",
    (UNIT_PROPERTY,),
)

PROBE_UNIT_RUN = Script("probe_unit_run", 'unit_each unit_run_show "$@"', (UNIT_EACH, UNIT_RUN_SHOW))


@dataclass(frozen=True, kw_only=True)
class UnitState(State):
    """What systemd says of a unit.

    `active_state` is active, inactive or failed: a unit on its way counts as where it is going to, one that waits to be
    restarted as failed. A unit whose file systemd has yet to read is loaded, and needs a daemon-reload. `init` is
    `other` on a device that systemd does not run. `passes` tells of a oneshot that is inactive again once it is done.
    """

    load_state: str | Unknown = "not-found"
    active_state: str | Unknown = "inactive"
    unit_file_state: str | Unknown | None = None
    need_daemon_reload: bool | Unknown = False
    init: str | None = None
    invocation_id: str | None = attached()
    passes: bool | None = attached()

    @property
    def exists(self) -> bool | Unknown:
        """Tell whether systemd knows such a unit."""
        return self.load_state if isinstance(self.load_state, Unknown) else self.load_state != "not-found"


def unit_name(name: str) -> str:
    """Return the full name of a unit, which is a service where nothing else is said."""
    return name if _SUFFIX.search(name) else f"{name}.service"


@observable
@dataclass(frozen=True)
class Unit(Observable[UnitState]):
    """A unit of systemd by name."""

    name: str

    kind: ClassVar[str] = "unit"
    state: ClassVar[type[State]] = UnitState
    probe: ClassVar[Script] = PROBE_UNIT

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", unit_name(self.name))

    def is_absent(self, state: State) -> bool:
        """Tell whether systemd knows no such unit."""
        return isinstance(state, UnitState) and state.load_state == "not-found"

    def implied(self, view: View) -> UnitState | None:
        """A unit file or drop-in planned before makes the unit, or has to be read anew."""
        files = planned_unit_files(view, self.name)
        if not files:
            return None
        state: UnitState = view.raw(self)
        reload = Unknown("known once its unit file is written")
        main = [file for path, file in files.items() if path.endswith(f"/{self.name}")]
        if not main:
            return replace(state, need_daemon_reload=reload)
        if main[-1].type == "absent":
            return replace(state, load_state=reload, unit_file_state=reload, need_daemon_reload=reload)
        enabled = state.unit_file_state or _fresh_file_state(main[-1])
        return replace(state, load_state="loaded", unit_file_state=enabled, need_daemon_reload=reload)


def _fresh_file_state(file: FileState) -> str | Unknown:
    if file.content is None:
        return Unknown("known once its unit file is written")
    return "disabled" if b"[Install]" in file.content else "static"


def planned_unit_files(view: View, name: str | None = None) -> dict[str, FileState]:
    """Return the planned files that systemd reads for a unit, or for any."""
    found = {}
    for thing, state in view.planned.items():
        if isinstance(thing, File) and isinstance(state, FileState) and state.type != "directory":
            folder = next((f for f in UNIT_FOLDERS if thing.path.startswith(f"{f}/")), None)
            unit = thing.path[len(folder) + 1 :].partition("/")[0].removesuffix(".d") if folder else None
            if unit is not None and name in (None, unit):
                found[thing.path] = state
    return found


@dataclass(frozen=True, kw_only=True)
class UnitRunState(State):
    """The invocation of a unit."""

    invocation: str | None = None


@observable
@dataclass(frozen=True)
class UnitRun(Observable[UnitRunState]):
    """The witness of a restart: systemd names each run of a unit anew."""

    name: str

    kind: ClassVar[str] = "unit_run"
    state: ClassVar[type[State]] = UnitRunState
    probe: ClassVar[Script] = PROBE_UNIT_RUN
    guarded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", unit_name(self.name))


UNITS_STALE = Script(
    "probe_units_stale",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  stale=$(timeout 20 systemctl show --no-pager -p Id,NeedDaemonReload '*' 2>/dev/null | awk -F= '
    $1 == "Id" { id = $2 }
    $1 == "NeedDaemonReload" { stale = $2 }
    $0 == "" { if (stale == "yes") print id; stale = "" }
    END { if (stale == "yes") print id }' | sort -u | tr '\n' ' ')
  [ -z "$stale" ] || printf 'stale=%s\n' "${stale% }"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class UnitsStaleState(State):
    """The loaded units whose files changed since systemd read them."""

    stale: tuple[str, ...] | None = None


@observable
@dataclass(frozen=True)
class UnitsStale(Observable[UnitsStaleState]):
    """Whether any unit needs a daemon-reload."""

    kind: ClassVar[str] = "units_stale"
    state: ClassVar[type[State]] = UnitsStaleState
    probe: ClassVar[Script] = UNITS_STALE

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("units",)
