"""command and shell: anything else that has to run; of what it does nothing can be told."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import ANYTHING, Context, Effect, Line, Observable, Plan, Ran, TaskType, View, task
from provisioner.observables.file import METADATA, File
from provisioner.records import dataclass
from provisioner.shell import Script, Value
from provisioner.tasks.writing import absolute

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TIMEOUT = 3600
TIMED_OUT = 124
GLOB = re.compile(r"[*?\[]")
VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
_PLAIN = re.compile(r"[!#-&(-\[\]-~ \t\r\n]*")
"""What needs no reading as a shell does it: no quotes, no backslash, and of all blanks only those of the shell's."""

_COMMANDS = 4096  # commands of which the words are kept: each is asked for several times

RUN_WITH = Script(
    "run_with",
    r"""
# chdir input program argument...: runs a program in a folder; input is the path of its stdin.
if [ -n "$1" ]; then
  cd -- "$1" || return 1
fi
input=$2
shift 2
"$@" <"$input"
""",
)

RUN_COMMAND = Script(
    "run_command",
    r"""
# seconds chdir has_stdin stdin argument...: runs a program for so long at most.
seconds=$1 folder=$2 has=$3 text=$4
shift 4
if [ "$has" != yes ]; then
  run_with "$folder" /dev/null timeout -k 10 "$seconds" "$@"
  return
fi
temp=$(umask 077; mktemp) || return 1
if printf %s "$text" | base64 -d >"$temp"; then
  run_with "$folder" "$temp" timeout -k 10 "$seconds" "$@"
  rc=$?
else
  rc=1
fi
rm -f -- "$temp"
return "$rc"
""",
    (RUN_WITH,),
)

RUN_SHELL = Script(
    "run_shell",
    r"""
# seconds chdir has_stdin stdin executable text: runs shell text from a file, so that no process list shows it.
home=$(umask 077; mktemp -d) || return 1
if (umask 077; printf %s "$6" | base64 -d >"$home/command"); then
  run_command "$1" "$2" "$3" "$4" "$5" "$home/command"
  status=$?
else
  status=1
fi
rm -rf -- "$home"
return "$status"
""",
    (RUN_COMMAND,),
)


@dataclass(frozen=True, kw_only=True)
class Run(TaskType):
    """What command and shell share: where and when to run, and what is registered."""

    cmd: str | None = None
    chdir: str | None = None
    creates: str | None = None
    removes: str | None = None
    stdin: str | None = None
    stdin_add_newline: bool = True
    strip_empty_ends: bool = True
    executable: str | None = None

    free_form: ClassVar[str | None] = "cmd"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the paths that decide whether it has to run."""
        return tuple(self._path(path, ctx) for path in (self.creates, self.removes) if path and not GLOB.search(path))

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the run, unless what it makes is there or what it takes away is not."""
        for path in (self.creates, self.removes):
            if path and GLOB.search(path):
                return Plan(failed=f"creates and removes take one path here, no pattern: {path}")
        done = self._done(view, ctx)
        if done:
            return Plan(result={"cmd": self.shown(), "rc": 0, "stderr": "", "stderr_lines": [], **done})
        return Plan(effects=(self._effect(ctx),), result={"cmd": self.shown()}, finish=self._finish)

    def _path(self, path: str, ctx: Context) -> File:
        if self.chdir and not path.startswith(("/", "~")):
            path = posixpath.join(self.chdir, path)
        return File(absolute(path, ctx, "creates or removes"), METADATA)

    def _done(self, view: View, ctx: Context) -> dict[str, Any]:
        """Return what is registered where there is no need to run."""
        reason = ""
        if self.creates and view.get(self._path(self.creates, ctx)).exists:
            reason = f"{self.creates} exists"
        elif self.removes and not view.get(self._path(self.removes, ctx)).exists:
            reason = f"{self.removes} does not exist"
        stdout = f"skipped, since {reason}"
        message = f"Did not run command since '{self.creates or self.removes}' {reason.partition(' ')[2]}"
        return {"stdout": stdout, "stdout_lines": [stdout], "msg": message} if reason else {}

    def _effect(self, ctx: Context) -> Effect:
        script, values = self.call()
        stdin = (self.stdin or "") + ("\n" if self.stdin_add_newline else "")
        given: tuple[Value, ...] = ("no", "") if self.stdin is None else ("yes", stdin.encode())
        folder = absolute(self.chdir, ctx, "chdir") if self.chdir else ""
        shown = self.shown()
        text = shown if isinstance(shown, str) else shlex.join(shown)
        return Effect(
            script=script,
            values=(str(TIMEOUT), folder, *given, *values),
            shows=(Line(f"run: {'(hidden)' if ctx.no_log else text}"),),
            disturbs=(ANYTHING,),
            timeout=TIMEOUT,
            opaque=True,
        )

    def _finish(self, ran: Ran) -> Mapping[str, Any]:
        """Return what the run told."""
        streams = {"stdout": ran.stdout, "stderr": ran.stderr}
        if self.strip_empty_ends:
            streams = {name: text.rstrip("\r\n") for name, text in streams.items()}
        lines = {f"{name}_lines": text.splitlines() for name, text in streams.items()}
        message = "" if ran.rc == 0 else "non-zero return code"
        if ran.rc == TIMED_OUT and ran.seconds >= TIMEOUT:
            message = f"it ran for more than {TIMEOUT} seconds and was ended"
        return {"rc": ran.rc, "msg": message, **streams, **lines}

    def call(self) -> tuple[Script, tuple[Value, ...]]:
        """Return the script that runs it, and the values behind seconds, folder and stdin."""
        raise NotImplementedError

    def shown(self) -> str | list[str]:
        """Return what is registered as cmd."""
        raise NotImplementedError


@task
@dataclass(frozen=True, kw_only=True)
class Command(Run):
    """Runs a program, without a shell."""

    argv: list[str] = field(default_factory=list)

    name: ClassVar[str] = "command"
    example: ClassVar[str] = "command: nvpmodel -m 0"

    def __post_init__(self) -> None:
        """Check that there is one command."""
        if self.argv and self.cmd:
            raise InputError("only command or argv can be given, not both")
        if not self.shown():
            raise InputError("no command given")

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the run, with a word on what no shell will fill in."""
        plan = super().plan(view, ctx)
        unfilled = plan.changes and any(VARIABLE.search(word) for word in self.shown())
        if not unfilled:
            return plan
        return _with_warning(plan, "a $variable in a command is passed on as it is; use shell to have it filled in")

    def call(self) -> tuple[Script, tuple[Value, ...]]:
        """Return the script that runs a program."""
        return RUN_COMMAND, tuple(self.shown())

    def shown(self) -> list[str]:
        """Return the words of the command."""
        return self.argv or list(_words(self.cmd or ""))


@task
@dataclass(frozen=True, kw_only=True)
class Shell(Run):
    """Runs shell text."""

    name: ClassVar[str] = "shell"
    example: ClassVar[str] = "shell: grep -c processor /proc/cpuinfo"

    def __post_init__(self) -> None:
        """Check that there is something to run."""
        if not (self.cmd or "").strip():
            raise InputError("no command given")

    def call(self) -> tuple[Script, tuple[Value, ...]]:
        """Return the script that runs shell text."""
        return RUN_SHELL, (self.executable or "/bin/sh", (self.cmd or "").encode())

    def shown(self) -> str:
        """Return the shell text."""
        return self.cmd or ""


@lru_cache(_COMMANDS)
def _words(command: str) -> tuple[str, ...]:
    if _PLAIN.fullmatch(command):
        return tuple(command.split())
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise InputError(f"cannot tell the words of {command!r}: {error}") from error


def _with_warning(plan: Plan, warning: str) -> Plan:
    return Plan(effects=plan.effects, result=plan.result, finish=plan.finish, warnings=(*plan.warnings, warning))
