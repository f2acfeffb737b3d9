"""service and systemd: units, whether they run, and whether they start at boot."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError
from provisioner.model import ANYTHING, Context, Effect, Line, Observable, Pattern, Plan, TaskType, Unknown, known, task
from provisioner.observables.file import File
from provisioner.observables.unit import Unit, UnitRun, UnitsStale, UnitState, planned_unit_files
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import View

UNIT_LAST_WORDS = Script(
    "unit_last_words",
    r"""
# unit: what systemd and the unit's journal have to say of it, on stderr.
{
  timeout 20 systemctl status --no-pager --full -n 0 "$1"
  timeout 20 journalctl --no-pager --quiet --output=cat --lines=20 --unit="$1"
} </dev/null >&2
return 0
""",
)

UNIT_STATE = Script(
    "unit_state",
    r"""
# unit: sets active, sub and type.
active='' sub='' type=''
while IFS='=' read -r key value; do
  case $key in ActiveState) active=$value ;; SubState) sub=$value ;; Type) type=$value ;; esac
done <<END
$(timeout 20 systemctl show --no-pager -p ActiveState,SubState,Type "$1" 2>/dev/null)
END
""",
)

UNIT_SETTLE = Script(
    "unit_settle",
    r"""
# unit seconds: waits until the unit is no longer on its way; fails where it failed.
unit_left=$2 looked=
while :; do
  unit_state "$1"
  case $active,$sub,$type,$looked in
  *,auto-restart*,*,*) printf '%s ended, and systemd will start it again\n' "$1" >&2; return 1 ;;
  # Only a second look tells of a program that ends as soon as it has been started.
  active,*,simple, | active,*,exec, | active,*,idle,) looked=yes ;;
  activating,* | deactivating,* | reloading,* | refreshing,*) ;;
  failed,*) printf '%s failed\n' "$1" >&2; return 1 ;;
  *) return 0 ;;
  esac
  if [ "$unit_left" -le 0 ]; then printf '%s is still %s after %s seconds\n' "$1" "$active" "$2" >&2; return 1; fi
  sleep 1
  unit_left=$((unit_left - 1))
done
""",
    (UNIT_STATE,),
)

UNIT_RUN = Script(
    "unit_run",
    r"""
# verb unit seconds [--no-block]: starts, restarts, reloads or stops, and waits for it; its last words are shown.
case $1 in start | restart)
  # A unit that failed too often may not be started before that is forgotten.
  timeout 20 systemctl reset-failed "$2" 2>/dev/null ;;
esac
say "$1 $2"
if timeout "$3" systemctl "$1" ${4:+"$4"} "$2" </dev/null; then
  case $1,$4 in
  *,?*) return 0 ;;
  stop,) timeout 20 systemctl reset-failed "$2" 2>/dev/null; return 0 ;;
  *) if unit_settle "$2" "$3"; then return 0; fi ;;
  esac
fi
unit_last_words "$2"
return 1
""",
    (UNIT_SETTLE, UNIT_LAST_WORDS),
)

UNIT_FILE = Script(
    "unit_file",
    r"""
# verb unit: enables, disables, masks or unmasks.
timeout 120 systemctl "$1" "$2" </dev/null
""",
)

DAEMON_RELOAD = Script("daemon_reload", "timeout 120 systemctl daemon-reload </dev/null")

PATIENCE = 330
"""Seconds that a unit may take to start or stop; systemd's own limit is 90 where the unit says nothing."""

_ON = ("enabled", "enabled-runtime", "static", "alias", "indirect", "generated", "transient")
_OFF = ("static", "alias", "indirect", "generated", "transient", "masked", "masked-runtime", "disabled", "bad")
_VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}


@dataclass
class _Course:
    """A plan in the making: the unit as the effects so far leave it."""

    unit: Unit
    state: UnitState
    effects: list[Effect] = field(default_factory=list)

    def add(self, line: str, script: Script, *values: str, after: UnitState | None = None, **more: Any) -> None:
        """Plan one more effect."""
        self.state = self.state if after is None else after
        shows = (Line(f"{self.unit.name}: {line}"),)
        self.effects.append(Effect(script=script, values=values, shows=shows, leaves={self.unit: self.state}, **more))


@dataclass(frozen=True, kw_only=True)
class _UnitTask(TaskType):
    """What service and systemd share."""

    unit: str | None = field(default=None, metadata={"key": "name"})
    state: Literal["started", "stopped", "restarted", "reloaded"] | None = None
    enabled: bool | None = None

    _masked: ClassVar[bool | None] = None
    _reload: ClassVar[bool] = False
    _no_block: ClassVar[bool] = False

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the unit."""
        del ctx
        if self.unit is not None:
            yield Unit(self.unit)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan what is asked for, one effect for each, in Ansible's order."""
        del ctx
        unit = Unit(self.unit or "")
        now = view.get(unit)
        refusal = self._refusal(now)
        if refusal:
            return refusal
        course = _Course(unit, now)
        self._plan_reload(course)
        self._plan_mask(course)
        self._plan_enabled(course)
        if self.state and _is_masked(course.state) and self.state != "stopped" and self._goes(course.state):
            return Plan(failed=f"{unit.name} is masked", hint="unmask it with `systemd: masked: no`")
        self._plan_state(course)
        return Plan(effects=tuple(course.effects), result=self._result(), warnings=tuple(self._warnings(now, course)))

    def _refusal(self, now: UnitState) -> Plan | None:
        if now.init:
            message = f"Could not find the requested service {self.unit}: systemd does not run on this device"
            return Plan(failed=message)
        asked = self.state is not None or self.enabled is not None
        if asked and not known(now.exists):
            return Plan(
                failed=f"Could not find the requested service {self.unit}",
                hint="`systemctl list-unit-files` on the device lists what is there; is its package installed?",
            )
        return None

    def _plan_reload(self, course: _Course) -> None:
        if not self._wants_reload or course.state.need_daemon_reload is False:
            return
        after = replace(course.state, need_daemon_reload=False)
        course.add("daemon-reload", DAEMON_RELOAD, after=after, disturbs=(Pattern("unit"), Pattern("units_stale")))

    def _plan_mask(self, course: _Course) -> None:
        masked = self._wants_masked
        if masked is None or masked == _is_masked(course.state):
            return
        if masked:
            after = replace(course.state, load_state="masked", unit_file_state="masked", need_daemon_reload=False)
        else:
            open_ = Unknown("known once it is unmasked")
            after = replace(course.state, load_state=open_, unit_file_state=open_, need_daemon_reload=False)
        self._file(course, "mask" if masked else "unmask", after)

    def _plan_enabled(self, course: _Course) -> None:
        now = course.state.unit_file_state
        if self.enabled is None or (isinstance(now, str) and now in (_ON if self.enabled else _OFF)):
            return
        if now is None and not self.enabled:
            return
        word = "enabled" if self.enabled else "disabled"
        after = replace(course.state, unit_file_state=word, need_daemon_reload=False)
        self._file(course, word.removesuffix("d"), after)

    @staticmethod
    def _file(course: _Course, verb: str, after: UnitState) -> None:
        """Plan a change of links; systemctl reads all unit files anew, and other units may come along by Also=."""
        disturbs = (Pattern("unit"), Pattern("units_stale"), Pattern("file", "/etc/systemd/system/*"))
        course.add(verb, UNIT_FILE, verb, course.unit.name, after=after, disturbs=disturbs)

    def _goes(self, now: UnitState) -> bool:
        """Tell whether the state that is asked for takes an effect."""
        active = known(now.active_state) == "active"
        return {"started": not active, "stopped": active}.get(self.state or "", True)

    def _plan_state(self, course: _Course) -> None:
        if self.state is None or not self._goes(course.state):
            return
        active = known(course.state.active_state) == "active"
        verb = "start" if self.state == "reloaded" and not active else _VERBS[self.state]
        ends_up: str | Unknown = "inactive" if verb == "stop" else "active"
        # A oneshot passes, and without waiting nobody knows how far it came.
        if (course.state.passes and verb != "stop") or self._wants_no_block:
            ends_up = Unknown("known after apply")
        witness = UnitRun(course.unit.name) if verb == "restart" and not self._wants_no_block else None
        flags = ["--no-block"] * self._wants_no_block
        after = replace(course.state, active_state=ends_up)
        values = (verb, course.unit.name, str(PATIENCE), *flags)
        course.add(verb, UNIT_RUN, *values, after=after, disturbs=(ANYTHING,), witness=witness, timeout=2 * PATIENCE)

    def _result(self) -> dict[str, Any]:
        result: dict[str, Any] = {"name": self.unit}
        if self.state is not None:
            result["state"] = "stopped" if self.state == "stopped" else "started"
        return result if self.enabled is None else {**result, "enabled": self.enabled}

    def _warnings(self, now: UnitState, course: _Course) -> Iterator[str]:
        starts = any(effect.values[0] in ("start", "restart") for effect in course.effects if effect.script is UNIT_RUN)
        if starts and now.need_daemon_reload is True and course.state.need_daemon_reload is True:
            yield f"the unit file of {course.unit.name} changed; without daemon_reload the old one is used"

    @property
    def _wants_masked(self) -> bool | None:
        return self._masked

    @property
    def _wants_reload(self) -> bool:
        return self._reload

    @property
    def _wants_no_block(self) -> bool:
        return self._no_block


def _files_written(view: View) -> bool:
    """Tell whether unit files are planned that no daemon-reload planned so far will have read."""
    since = view.laid.get(UnitsStale(), -1)
    return any(view.laid.get(File(path), 0) >= since for path in planned_unit_files(view))


def _is_masked(state: UnitState) -> bool:
    return "masked" in (state.load_state, state.unit_file_state, str(state.unit_file_state).removesuffix("-runtime"))


@task
@dataclass(frozen=True, kw_only=True)
class Service(_UnitTask):
    """Starts, stops, restarts, reloads, enables and disables a service of systemd; other init systems are not known."""

    name: ClassVar[str] = "service"
    example: ClassVar[str] = "service: { name: docker, state: started, enabled: yes }"

    def __post_init__(self) -> None:
        if not self.unit:
            raise InputError("'name' is required")
        if self.state is None and self.enabled is None:
            raise InputError("one of the following is required: state, enabled")


@task
@dataclass(frozen=True, kw_only=True)
class Systemd(_UnitTask):
    """Controls units of systemd.

    Ansible's arguments. `daemon_reload` runs where the unit, or without a name any unit, needs it, or where a unit file
    is written earlier in the play; as an effect it counts as a change. A static unit counts as enabled and as disabled.
    """

    name: ClassVar[str] = "systemd"
    aliases: ClassVar[tuple[str, ...]] = ("systemd_service",)
    example: ClassVar[str] = "systemd: { name: docker, state: restarted, daemon_reload: yes }"

    unit: str | None = field(default=None, metadata={"key": "name", "aliases": ("service", "unit")})
    masked: bool | None = None
    daemon_reload: bool = field(default=False, metadata={"aliases": ("daemon-reload",)})
    no_block: bool = False
    scope: Literal["system"] = "system"

    def __post_init__(self) -> None:
        chosen = (self.state, self.enabled, self.masked)
        if not self.unit and any(value is not None for value in chosen):
            raise InputError("'name' is required with state, enabled and masked")
        if all(value is None for value in chosen) and not self.daemon_reload:
            raise InputError("one of the following is required: state, enabled, masked, daemon_reload")

    @property
    def _wants_masked(self) -> bool | None:
        return self.masked

    @property
    def _wants_reload(self) -> bool:
        return self.daemon_reload

    @property
    def _wants_no_block(self) -> bool:
        return self.no_block

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the unit, or all that are stale."""
        return super().looks_at(ctx) if self.unit else (UnitsStale(),)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan what is asked for."""
        return super().plan(view, ctx) if self.unit else self._reload_all(view)

    @staticmethod
    def _reload_all(view: View) -> Plan:
        stale = view.get(UnitsStale())
        if not stale.stale and not _files_written(view):
            return Plan(result={"name": None})
        effect = Effect(
            script=DAEMON_RELOAD,
            shows=(Line("systemctl daemon-reload"),),
            leaves={UnitsStale(): replace(stale, stale=None)},
            disturbs=(Pattern("unit"),),
        )
        return Plan(effects=(effect,), result={"name": None})
