"""docker_runtime: a runtime in Docker's daemon.json, the default one if asked, and a daemon that runs with it."""

from __future__ import annotations

import re
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import InputError
from provisioner.jetson.compatibility import docker_problems
from provisioner.jetson.facts import HostFacts
from provisioner.jetson.observed import FACTS_VARIABLE
from provisioner.model import (
    Context,
    Diff,
    Effect,
    Line,
    Observable,
    Pattern,
    Plan,
    Shown,
    State,
    TaskType,
    Unknown,
    known,
    task,
)
from provisioner.observables.docker import (
    ENGINES,
    Container,
    DockerDaemon,
    DockerState,
    RunningContainers,
    running_with,
)
from provisioner.observables.file import CONTENT, METADATA, File, FileState, follow
from provisioner.observables.package import Package
from provisioner.observables.unit import Unit, UnitRun
from provisioner.records import dataclass
from provisioner.shell import NEW_TEMP, REPLACE_FILE, Script
from provisioner.tasks.daemon_json import BadConfig, parsed, with_runtime
from provisioner.tasks.service import PATIENCE, UNIT_RUN
from provisioner.tasks.writing import KEEP_OWNER, KEPT, CannotPlan, Draft, born_line, editable, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.jetson.catalogue import DockerProblem
    from provisioner.model import Ran, View

CONFIG = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/jetson.conf"
UNIT = "docker.service"
LABEL = "provision=yes"
"""The label of containers that are ours: those that our own command starts."""

UNDONE = "the old files are back in place"
LAST_LINES = 8
ANY = "any"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
AFTER_RESTART = Unknown("known after Docker's restart")

DOCKER_STAGE = Script(
    "docker_stage",
    r"""
# path data: writes base64 data to a new file beside path, and prints its name.
mkdir -p -- "${1%/*}" || return 1
new_temp "${1%/*}" || return 1
printf %s "$2" | base64 -d >"$temp" || { rm -f -- "$temp"; return 1; }
printf '%s\n' "$temp"
""",
    (NEW_TEMP,),
)

DOCKER_VALIDATE = Script(
    "docker_validate",
    r"""
# temp path: asks dockerd what it thinks of a configuration; before Docker 23 it cannot be asked.
command -v dockerd >/dev/null 2>&1 || return 0
verdict=$(timeout 300 dockerd --validate --config-file "$1" 2>&1 </dev/null)
case $?,$verdict in
  0,* | *'unknown flag'*) return 0 ;;
  124,*)
    printf 'dockerd does not say whether it takes the new configuration, and %s was left as it is\n' "$2" >&2
    return 1 ;;
esac
printf 'dockerd refuses the new configuration, and %s was left as it is:\n' "$2" >&2
printf '%s\n' "$verdict" | sed -e "s|$1|$2|g" >&2
return 1
""",
)

DOCKER_MAY_STOP = Script(
    "docker_may_stop",
    r"""
# ids: whether all containers that run now are among those that may be stopped.
[ "$1" != any ] || return 0
running=$(timeout 120 docker ps -q --no-trunc 2>/dev/null </dev/null)
if [ $? -eq 124 ]; then
  printf 'docker does not say which containers run, and a restart might stop one\n' >&2
  return 1
fi
for id in $running; do
  case " $1 " in *" $id "*) ;; *)
    printf 'a container was started meanwhile, and a restart of Docker would stop it: %s\n' "$id" >&2
    return 1 ;;
  esac
done
""",
)

DOCKER_WORDS = Script(
    "docker_words",
    r"""
# since: what Docker's journal has since then, in order.
timeout 20 journalctl --no-pager --quiet --output=cat --since "@$1" --unit=docker.service 2>/dev/null </dev/null |
  grep -v -e '^-- ' -e '^$'
""",
)

DOCKER_CAUSE = Script(
    "docker_cause",
    r"""
# since lines: what dockerd itself said last before it gave up, each once: neither systemd's words, nor what only
# informs, nor the lines that had been written when it was restarted.
docker_words "$1" | tail -n "+$(($2 + 1))" |
  sed -e 's/^[A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]* [^ ]* [a-z]*\[[0-9]*\]: //' |
  grep -v -e 'level=info' -e 'level=debug' -e 'level=warning' -e '^docker\.service: ' -e '^Start' -e '^Stopp' \
    -e '^Failed to start ' -e '^Dependency failed ' |
  sed -e 's/^time="[^"]*" //' | awk '!said[$0]++' | tail -n 5
""",
    (DOCKER_WORDS,),
)

DOCKER_RESTART = Script(
    "docker_restart",
    r"""
# Restarts Docker; where that fails, stderr has dockerd's own words for it, or all that was said where it has none.
since=$(date +%s)
lines=$(docker_words "$since" | grep -c .)
said=$(umask 077; mktemp) || return 1
unit_run restart docker.service 330 2>"$said"
rc=$?
if [ "$rc" -ne 0 ]; then
  cause=$(docker_cause "$since" "$lines")
  if [ -n "$cause" ]; then printf '%s\n' "$cause"; else cat -- "$said"; fi >&2
fi
rm -f -- "$said"
return "$rc"
""",
    (DOCKER_WORDS, DOCKER_CAUSE, UNIT_RUN),
)

DOCKER_TOOK = Script(
    "docker_took",
    r"""
# runtime default: whether the daemon runs with the runtime, and as the default one where default is not empty.
answer=$(timeout 120 docker info --format '{{.DefaultRuntime}} {{json .Runtimes}}' 2>&1 </dev/null) || {
  printf 'docker info does not answer: %s\n' "$answer" >&2
  return 1
}
case $answer in *"\"$1\":{"*) ;; *)
  printf 'Docker runs without the runtime %s\n' "$1" >&2
  return 1 ;;
esac
case $2,$answer in ,* | *,"$1 "*) return 0 ;; esac
printf 'Docker runs with the default runtime %s, not %s\n' "${answer%% *}" "$1" >&2
return 1
""",
)

DOCKER_PUT = Script(
    "docker_put",
    r"""
# Puts the staged files in their places, and keeps what was there: the configuration as a file, the drop-in in memory.
old_drop_in=
if [ -n "$new" ]; then
  if [ -n "$backup" ]; then cp -p -- "$config" "$backup" || return 1; fi
  replace_file "$new" "$config" "$owner" "$group" "$mode" || return 1
  put_config=yes
fi
if [ -n "$extra" ]; then
  [ ! -f "$drop_in" ] || old_drop_in=$(base64 <"$drop_in")
  replace_file "$extra" "$drop_in" root root 0644 || return 1
  put_drop_in=yes
  timeout 120 systemctl daemon-reload </dev/null || return 1
fi
""",
    (REPLACE_FILE,),
)

DOCKER_UNDO = Script(
    "docker_undo",
    r"""
# Puts back what docker_put has put, and starts Docker with it.
if [ -n "$put_config" ]; then
  if [ -n "$backup" ]; then
    new_temp "${config%/*}" && cp -p -- "$backup" "$temp" && mv -f -- "$temp" "$config"
  else
    rm -f -- "$config"
  fi
fi
if [ -n "$put_drop_in" ]; then
  if [ -n "$old_drop_in" ]; then printf %s "$old_drop_in" | base64 -d >"$drop_in"; else rm -f -- "$drop_in"; fi
  timeout 120 systemctl daemon-reload </dev/null
fi
[ -n "$put_config$put_drop_in" ] || return 0
settle_file "${config%/*}/"
timeout 20 systemctl reset-failed docker.service 2>/dev/null </dev/null
if timeout 330 systemctl restart docker.service >/dev/null 2>&1 </dev/null; then
  printf 'the old files are back in place, and Docker runs with them\n' >&2
else
  printf 'the old files are back in place, and Docker does not start with them either\n' >&2
fi
""",
    (NEW_TEMP, REPLACE_FILE),
)

SET_DOCKER = Script(
    "set_docker",
    r"""
# runtime default ids config owner group mode backup data drop_in data: sets daemon.json and a drop-in, where they have
# data, restarts Docker and asks it; what was there before is put back where that does not lead to the runtime.
config=$4 mode=$7 backup=$8 drop_in=${10} new='' extra='' put_config='' put_drop_in=''
docker_may_stop "$3" || return 1
if [ -n "$9" ]; then
  keep_owner "$config" "$5" "$6" || return 1
  new=$(docker_stage "$config" "$9") || return 1
  docker_validate "$new" "$config" || { rm -f -- "$new"; return 1; }
fi
if [ -n "${11}" ]; then
  extra=$(docker_stage "$drop_in" "${11}") || { rm -f -- "$new"; return 1; }
fi
if docker_put && docker_restart && docker_took "$1" "$2"; then return 0; fi
docker_undo
[ -z "$new$extra" ] || rm -f -- "$new" "$extra"
return 1
""",
    (DOCKER_STAGE, DOCKER_VALIDATE, DOCKER_MAY_STOP, DOCKER_TOOK, DOCKER_PUT, DOCKER_UNDO, KEEP_OWNER, DOCKER_RESTART),
)

Leaves = dict[Observable[Any], State]


@dataclass(frozen=True)
class _Change:
    """A file that has to be written: what stands there, what it will be, and where the old one is kept."""

    file: File
    old: FileState
    new: FileState
    backup: str = ""

    @property
    def diff(self) -> Diff:
        """Return what people see of it."""
        return Diff(self.file.path, self.old.content if self.old.exists else None, self.new.content)


@task
@dataclass(frozen=True, kw_only=True)
class DockerRuntime(TaskType):
    """Registers a container runtime with Docker and makes it the default one.

    Every other byte of daemon.json stays as it is; the old file is kept beside it. Docker is restarted only where
    something changed or the daemon does not run with what the file says, and is asked afterwards; where the runtime did
    not take, the old file is put back. Containers that are not ours are stopped only with --allow-restart. A Docker
    that is known not to work on the device's release gets the drop-in that cures it.
    """

    runtime: str = field(default="nvidia", metadata={"key": "name"})
    path: str = "nvidia-container-runtime"
    default: bool = True

    name: ClassVar[str] = "docker_runtime"
    example: ClassVar[str] = "docker_runtime: { name: nvidia, path: nvidia-container-runtime, default: yes }"
    services: ClassVar[tuple[str, ...]] = ("facts",)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.runtime):
            raise InputError(f"{self.runtime!r} is no name of a runtime")

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the daemon, its files, its unit, and the containers that a restart would stop."""
        del ctx
        yield from (DockerDaemon(), RunningContainers(), Unit(UNIT))
        for path in (CONFIG, DROP_IN):
            yield File(path, CONTENT)
            yield File(path).parent
        yield from (Package(name) for name in ENGINES)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan both files and the restart as one effect."""
        draft = Draft(view, ctx)
        try:
            return self._plan(draft)
        except CannotPlan as no:
            return Plan(failed=no.reason)
        except BadConfig as bad:
            return Plan(failed=f"{CONFIG}: {bad.message}", hint=bad.hint)

    def _plan(self, draft: Draft) -> Plan:
        docker = draft.get(DockerDaemon())
        if not docker.present:
            return Plan(failed="Docker is not installed", hint="jetson_runtime_packages installs it")
        config = self._config(draft)
        problems = _problems(draft, docker)
        extra = _drop_in(draft, problems)
        warnings = tuple(f"{row.symptom}: {row.advice}" for row in problems if not row.environment)
        result = {"name": self.runtime, "default": self.default, "restarted": False}
        if config is None and extra is None and self._runs(docker):
            return Plan(result=result, warnings=warnings)
        stopped = _stopped(draft, docker)
        foreign = [one.name for one in stopped if LABEL not in one.labels]
        if foreign and not draft.ctx.options.get("allow_restart"):
            return _refused(foreign, warnings)
        effect = self._effect(draft, docker, config, extra, stopped)
        backup = {"backup_file": config.backup} if config and config.backup else {}
        result |= {"restarted": True, **backup}
        return Plan(effects=(effect,), result=result, finish=_told, warnings=warnings)

    def _config(self, draft: Draft) -> _Change | None:
        """Return what has to become of daemon.json."""
        file, state = read(draft, File(CONFIG, CONTENT), links=True)
        before = editable(state, CONFIG)
        after = with_runtime(before, self.runtime, self.path, default=self.default)
        if after == (before or b""):
            return None
        if not state.exists:
            return _Change(file, state, _new_file(state, after))
        return _Change(file, state, state.with_content(after), f"{state.real}.{(known(state.sha256) or '')[:8]}~")

    def _runs(self, docker: DockerState) -> bool:
        """Tell whether the daemon runs with what the file says; it may have been changed by hand and not restarted."""
        if not known(docker.answers):
            return False
        # Docker does not start with a default runtime that it does not have.
        if self.default:
            return known(docker.default_runtime) == self.runtime
        return self.runtime in (known(docker.runtimes) or ())

    def _effect(
        self,
        draft: Draft,
        docker: DockerState,
        config: _Change | None,
        extra: _Change | None,
        stopped: tuple[Container, ...],
    ) -> Effect:
        old = config.old if config else FileState()
        access = (KEPT, KEPT, known(old.mode) or "0644") if old.exists else ("root", "root", "0644")
        allowed = ANY if draft.ctx.options.get("allow_restart") or docker.live_restore is True else _ids(stopped)
        return Effect(
            script=SET_DOCKER,
            values=(
                self.runtime,
                "yes" if self.default else "",
                allowed,
                config.file.path if config else CONFIG,
                *access,
                config.backup if config else "",
                (config.new.content or b"") if config else "",
                extra.file.path if extra else DROP_IN,
                (extra.new.content or b"") if extra else "",
            ),
            shows=tuple(_shows(config, extra, stopped, docker)),
            leaves=self._leaves(draft, config, extra),
            disturbs=tuple(_disturbed(draft, docker, config)),
            witness=UnitRun(UNIT),
            timeout=5 * PATIENCE,
        )

    def _leaves(self, draft: Draft, config: _Change | None, extra: _Change | None) -> Leaves:
        leaves: Leaves = {}
        for change in (config, extra):
            if change is not None:
                leaves |= _folder(draft, change.file)
                leaves[change.file] = change.new
        if config is not None and config.backup:
            leaves[File(config.backup)] = replace(config.old, real=config.backup, facts=None)
        unit = draft.peek(Unit(UNIT))
        if known(unit.load_state) == "loaded":
            reload = False if extra else unit.need_daemon_reload
            leaves[Unit(UNIT)] = replace(unit, active_state="active", need_daemon_reload=reload, invocation_id=None)
        default = self.runtime if self.default else AFTER_RESTART
        leaves[DockerDaemon()] = running_with(AFTER_RESTART, answers=True, default_runtime=default)
        return leaves


def _refused(foreign: list[str], warnings: tuple[str, ...]) -> Plan:
    return Plan(
        failed=f"a restart of Docker would stop containers that are not ours: {', '.join(foreign)}",
        hint="--allow-restart allows it; with live-restore in daemon.json they would outlive it",
        warnings=warnings,
    )


def _told(ran: Ran) -> Mapping[str, Any]:
    """Return why Docker did not take it, the cause first, and what has become of it."""
    lines = ran.stderr.strip().splitlines()
    if ran.rc == 0 or not lines:
        return {}
    after = [line for line in lines if line.startswith(UNDONE)]
    cause = "\n".join([line for line in lines if line not in after][-LAST_LINES:]) or "Docker did not take it"
    hint = "`journalctl -u docker` on the device tells more"
    if "would stop it: " in cause:
        hint = "--allow-restart allows it"
    elif "refuses the new configuration" in cause:
        hint = f"the fault is in what {CONFIG} has besides the runtime, which is left to you to mend"
    return {"msg": cause, "hint": "; ".join([*after, hint])}


def _new_file(state: FileState, content: bytes) -> FileState:
    return FileState(type="file", real=state.real, owner="root", group="root", mode="0644").with_content(content)


def _folder(draft: Draft, file: File) -> Leaves:
    """Return the folder that comes with a file where there is none; it may have come with Docker meanwhile."""
    above = File(file.parent.path, METADATA)
    state = draft.peek(above)
    if state.exists:
        return {}
    later = Unknown("known after apply")
    return {above: FileState(type="directory", real=state.real, owner="root", group="root", mode=later)}


def _problems(draft: Draft, docker: DockerState) -> tuple[DockerProblem, ...]:
    """Return what is known to fail with this Docker on this release."""
    facts = draft.ctx.facts.get(FACTS_VARIABLE)
    if not isinstance(facts, HostFacts) or facts.l4t is None or not docker_problems_of(facts.l4t):
        return ()
    version = _engine_version(draft, docker)
    return docker_problems(facts.l4t, version) if version[:1].isdigit() else ()


def docker_problems_of(l4t: str) -> bool:
    """Tell whether any Docker fails on a release, so that its version counts."""
    return bool(docker_problems(l4t, "99999"))


def _engine_version(draft: Draft, docker: DockerState) -> str:
    """Return the version of Docker that is, or will be, installed: without epoch and without the package's part."""
    for name in ENGINES:
        state = draft.get(Package(name))
        if state.installed:
            return (known(state.version) or "").rpartition(":")[2].partition("-")[0]
    return known(docker.version) or ""


def _drop_in(draft: Draft, problems: tuple[DockerProblem, ...]) -> _Change | None:
    """Return the drop-in that cures the problems, unless it is there."""
    lines = [f'Environment="{key}={value}"' for row in problems for key, value in sorted(row.environment.items())]
    if not lines:
        return None
    causes = [f"# {row.cause}." for row in problems if row.environment]
    content = "\n".join(["# Written by provision.", *causes, "[Service]", *lines, ""]).encode()
    file, state = follow(draft, File(DROP_IN, CONTENT))
    if state.exists and state.type != "file":
        raise CannotPlan(f"{DROP_IN} is a {state.type}, no regular file")
    if state.exists and editable(state, DROP_IN) == content:
        return None
    return _Change(file, state, _new_file(state, content))


def _stopped(draft: Draft, docker: DockerState) -> tuple[Container, ...]:
    """Return the containers that a restart would stop."""
    if docker.live_restore is True or docker.answers is not True:
        return ()
    return draft.peek(RunningContainers()).running


def _ids(stopped: tuple[Container, ...]) -> str:
    return " ".join(one.id for one in stopped)


def _shows(
    config: _Change | None, extra: _Change | None, stopped: tuple[Container, ...], docker: DockerState
) -> Iterator[Shown]:
    for change in (config, extra):
        if change is not None:
            yield change.diff
            if not change.old.exists:
                yield born_line(change.new)
    if config is not None and config.backup:
        yield Line(f"the old file is kept as {config.backup}")
    why = "" if config or extra else " (it runs with another configuration than its file has)"
    yield Line(f"restart Docker{why}" if docker.answers is not False else "start Docker")
    for container in stopped:
        yield Line(f"this stops the container {container.name} ({container.image})")


def _disturbed(draft: Draft, docker: DockerState, config: _Change | None) -> Iterator[Pattern]:
    """Yield what else a restart may change: another data-root has other images."""
    yield Pattern("unit_run")
    yield Pattern("units_stale")
    content = config.new.content if config else draft.peek(File(CONFIG, CONTENT)).content
    root = parsed(content).get("data-root")
    moved = root is not None and isinstance(docker.data_root, str) and root != docker.data_root
    # A daemon that does not answer has not told what images it has.
    if moved or docker.answers is False:
        yield Pattern("image")
        yield Pattern("image_users")
