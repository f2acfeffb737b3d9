"""Random plays on random folders, the oracles that they are held against, and what makes a failing one small."""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.compiler import HostScope, Memory
from provisioner.engine import HostRun, Options
from provisioner.errors import NotYetKnown
from provisioner.events import Event, TaskFinished, TaskResult
from provisioner.model import Line, NeedLook, View, task_types
from provisioner.observables.file import METADATA, File, FileState
from provisioner.playbook import Play, load_playbook
from provisioner.wire import Batch, Probed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shells import ShellTransport

ROOT = os.geteuid() == 0
USER = pwd.getpwuid(os.geteuid()).pw_name
TOP_NAMES = ("a", "b", "c", "d")
LOW_NAMES = ("x", "y")
CONTENTS = (
    "",
    "one\n",
    "one\ntwo\n",
    "two\nthree",
    "# BEGIN ANSIBLE MANAGED BLOCK\nblock\n# END ANSIBLE MANAGED BLOCK\n",
)
FILE_MODES = ("0644", "0600", "0755", "0444", "4755", "0000", "2755", "2644")
FOLDER_MODES = ("0755", "0700", "2755", "2775", "1777")
OWNERS = ("root", "daemon", "1", "54321")
GROUPS = ("root", "daemon", "games", "12", "54321")
PLAIN_OWNERS = ("root", "daemon")
NUMBER = re.compile(r"the name of id|54321")


@dataclass(frozen=True)
class Thing:
    """Something in the folder at the start; detail is a content, a link's target, or another thing's name."""

    path: str
    kind: str
    detail: str = ""
    mode: str = "0644"
    owner: int = 0
    group: int = 0


@dataclass(frozen=True)
class Case:
    """A start, and the tasks of a play; TOP stands for the folder."""

    start: tuple[Thing, ...]
    tasks: tuple[dict[str, Any], ...]
    handlers: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        """Return both, as one would write them down."""
        return "\n".join([*map(str, self.start), *(json.dumps(one) for one in (*self.tasks, *self.handlers))])


# Making cases.


class Maker:
    """Draws cases from a seed."""

    def __init__(self, seed: str, *, opaque: bool = True) -> None:
        self.rng = random.Random(seed)
        self.opaque = opaque
        self.registers: list[str] = []

    def case(self) -> Case:
        """Return one case."""
        start = tuple(self.thing() for _ in range(self.rng.randrange(0, 9)))
        tasks = tuple(self.task(n) for n in range(self.rng.randint(3, 12)))
        handlers = tuple({"name": f"h{n}", **self.rng.choice((self.file, self.copy, self.line))()} for n in range(2))
        return Case(start, tasks, handlers)

    def often(self, chance: float) -> bool:
        """Return whether something is the case."""
        return self.rng.random() < chance

    def path(self) -> str:
        """Return a path below TOP, from so few that plays collide."""
        depth = self.rng.choices((1, 2, 3), (45, 45, 10))[0]
        return "/".join([self.rng.choice(TOP_NAMES), *(self.rng.choice(LOW_NAMES) for _ in range(depth - 1))])

    def thing(self) -> Thing:
        """Return something to begin with."""
        path = self.path()
        kind = self.rng.choices(("directory", "file", "link", "hard"), (45, 30, 22, 3))[0]
        owner, group = (0, 0)
        if ROOT and self.often(0.25):
            owner, group = self.rng.choice((0, 1, 54321)), self.rng.choice((0, 1, 60, 54321))
        if kind == "directory":
            mode = "0755" if self.often(0.5) else self.rng.choice(FOLDER_MODES)
            return Thing(path, kind, "", mode, owner, group)
        if kind == "link":
            return Thing(path, kind, self.target(path), "0777", owner, group)
        if kind == "hard":
            return Thing(path, kind, self.path())
        mode = "0644" if self.often(0.5) else self.rng.choice(FILE_MODES)
        return Thing(path, kind, self.rng.choice(CONTENTS), mode, owner, group)

    def target(self, path: str) -> str:
        """Return where a link leads to."""
        to = self.path()
        kind = self.rng.choices(("relative", "absolute", "here", "odd"), (50, 25, 15, 10))[0]
        if kind == "relative":
            return "../" * path.count("/") + to
        if kind == "absolute":
            return f"TOP/{to}"
        if kind == "here":
            return self.rng.choice((*LOW_NAMES, *TOP_NAMES, "."))
        return self.rng.choice(("../a", "./a", "nowhere", "a/", "..", "TOP/../top/b", "../top/d"))

    def place(self) -> str:
        """Return a path as a task names it."""
        path = f"TOP/{self.path()}"
        return f"{path}/" if self.often(0.03) else path

    def task(self, n: int) -> dict[str, Any]:
        """Return a task with its keywords."""
        makers = [(self.file, 40), (self.copy, 22), (self.line, 9), (self.block, 6), (self.stat, 9), (self.template, 5)]
        if self.opaque:
            makers += [(self.command, 6), (self.reading, 3)]
        body = self.rng.choices([one for one, _ in makers], [weight for _, weight in makers])[0]()
        task: dict[str, Any] = {"name": f"t{n}", **body}
        if self.registers and self.often(0.25):
            task["when"] = self.condition()
        if self.often(0.3) and "register" not in task:
            task["register"] = f"r{n}"
        if "register" in task:
            task["register"] = f"r{n}"
            self.registers.append(f"r{n}")
        if self.often(0.6):
            task["ignore_errors"] = True
        if self.often(0.1):
            task["notify"] = self.rng.choice(("h0", "h1"))
        return task

    def condition(self) -> str:
        """Return a condition on what was registered."""
        r = self.rng.choice(self.registers)
        return self.rng.choice(
            (
                f"{r}.stat is defined and {r}.stat.exists",
                f"{r}.stat is defined and not {r}.stat.exists",
                f"{r}.stat.isdir | default(false)",
                f"{r}.stat.islnk | default(false)",
                f"{r}.stat.mode | default('') == '0644'",
                f"{r} is changed",
                f"{r} is not changed",
                f"{r} is failed",
                f"{r} is skipped",
                f"{r}.state | default('') == 'file'",
                f"'there' in {r}.stdout | default('')",
            )
        )

    def access(self, modes: tuple[str, ...], chance: float = 0.3) -> dict[str, Any]:
        """Return an owner, group and mode to ask for."""
        found: dict[str, Any] = {}
        if self.often(chance):
            found["mode"] = self.rng.choice((*modes, "u+x", "g-w,o=", "a+rX", "u=rwX,g=rX,o=", "g+s"))
        if ROOT and self.often(chance / 2):
            found["owner"] = self.rng.choice(OWNERS)
        if ROOT and self.often(chance / 2):
            found["group"] = self.rng.choice(GROUPS)
        return found

    def file(self) -> dict[str, Any]:
        """Return a file task."""
        states = ("directory", "absent", "link", "file", "touch", "hard", None)
        state = self.rng.choices(states, (34, 18, 24, 8, 6, 4, 6))[0]
        path = self.path()
        args: dict[str, Any] = {"path": f"TOP/{path}"}
        if state is not None:
            args["state"] = state
        if state in ("link", "hard"):
            args["src"] = self.target(path) if state == "link" else f"TOP/{self.path()}"
            if self.often(0.6):
                args["force"] = True
        if state != "absent":
            args.update(self.access(FOLDER_MODES if state == "directory" else FILE_MODES))
        if state in ("directory", None) and self.often(0.2):
            args["recurse"] = True
            if ROOT and self.often(0.5):
                args["owner"] = self.rng.choice(PLAIN_OWNERS)
        if state != "absent" and self.often(0.15):
            args["follow"] = False
        return {"file": args}

    def content(self) -> str:
        """Return a content, at times one that tells what was registered."""
        if self.registers and self.often(0.2):
            r = self.rng.choice(self.registers)
            return self.rng.choice(
                (
                    f"{{{{ {r}.changed }}}}\n",
                    f"{{{{ {r}.stat.exists | default('none') }}}}\n",
                    f"{{{{ {r}.stat.mode | default('none') }}}}\n",
                    f"{{{{ {r}.stat.size | default('none') }}}}\n",
                    f"{{{{ {r}.stat.nlink | default('none') }}}}\n",
                    f"{{{{ {r}.stat.lnk_source | default('none') }}}}\n",
                    f"{{{{ {r}.stat.pw_name | default('none') }}}}\n",
                    f"{{{{ {r}.state | default('none') }}}}\n",
                    f"{{{{ {r}.mode | default('none') }}}}\n",
                    f"{{{{ {r}.stdout | default('none') }}}}\n",
                )
            )
        return self.rng.choice(CONTENTS)

    def copy(self) -> dict[str, Any]:
        """Return a copy task."""
        kind = self.rng.choices(("content", "src", "remote", "tree"), (55, 20, 17, 8))[0]
        args: dict[str, Any] = {"dest": self.place()}
        if kind == "content":
            args["content"] = self.content()
        elif kind == "src":
            args["src"] = self.rng.choice(("x", "one.txt"))
        elif kind == "tree":
            args["src"] = self.rng.choice(("tree", "tree/"))
        else:
            args["src"] = f"TOP/{self.path()}"
            args["remote_src"] = True
        args.update(self.access(FILE_MODES))
        if kind in ("src", "remote") and self.often(0.15):
            args["mode"] = "preserve"
        if kind != "content" and self.often(0.2):
            args["dest"] = args["dest"].rstrip("/") + "/"
        more = (("force", False, 0.12), ("follow", True, 0.2), ("backup", True, 0.12), ("directory_mode", "0700", 0.08))
        args.update({name: value for name, value, chance in more if self.often(chance)})
        return {"copy": args}

    def template(self) -> dict[str, Any]:
        """Return a template task."""
        args: dict[str, Any] = {"dest": self.place(), "src": "t.j2", **self.access(FILE_MODES)}
        if self.often(0.2):
            args["follow"] = True
        return {"template": args, "vars": {"word": self.content().strip()}}

    def edit(self) -> dict[str, Any]:
        args: dict[str, Any] = {"path": self.place()}
        if self.often(0.6):
            args["create"] = True
        if self.often(0.15):
            args["backup"] = True
        return {**args, **self.access(FILE_MODES, 0.15)}

    def line(self) -> dict[str, Any]:
        """Return a lineinfile task; its regexp also finds its line."""
        args = self.edit()
        if self.often(0.25):
            args.update(state="absent", regexp=self.rng.choice(("^one", "t", "^$")))
        else:
            args["line"] = self.rng.choice(("one", "one = 1", "two", "three"))
            if self.often(0.5):
                args["regexp"] = "^" + args["line"][:2]
            elif self.often(0.3):
                args["insertbefore"] = "BOF"
        return {"lineinfile": args}

    def block(self) -> dict[str, Any]:
        """Return a blockinfile task."""
        args = self.edit()
        if self.often(0.2):
            args["state"] = "absent"
        else:
            args["block"] = self.rng.choice(("block", "b\nc", "one"))
        return {"blockinfile": args}

    def stat(self) -> dict[str, Any]:
        """Return a stat task."""
        args: dict[str, Any] = {"path": self.place()}
        if self.often(0.3):
            args["follow"] = True
        if self.often(0.2):
            args["get_checksum"] = True
        return {"stat": args, "register": ""}

    def command(self) -> dict[str, Any]:
        """Return a command that nothing is known of."""
        one, other = self.place().rstrip("/"), self.place().rstrip("/")
        text = self.rng.choice(
            (
                "true",
                f"touch {one}",
                f"mkdir -p {one}",
                f"rm -rf {one}",
                f"ln -sfn {other} {one}",
                f"chmod 0600 {one}",
                f"mv -T {one} {other}",
                f"echo said > {one}",
            )
        )
        args: dict[str, Any] = {"cmd": text}
        if self.often(0.3):
            args[self.rng.choice(("creates", "removes"))] = self.place()
        body: dict[str, Any] = {"shell": args}
        if self.often(0.2):
            body["changed_when"] = False
        if self.often(0.2):
            body["failed_when"] = False
        return body

    def reading(self) -> dict[str, Any]:
        """Return a command that only reads, and says so."""
        text = f"test -e {self.place()} && echo there || echo gone"
        return {"shell": {"cmd": text}, "check_mode": False, "changed_when": False, "register": ""}


# Running them.


@dataclass
class Ran:
    """What a run told, and what it knew at its end."""

    results: list[TaskResult]
    view: View
    summary: Any


class Bench:
    """A folder, a shell, and the files of a controller, for one case after another."""

    def __init__(self, shell: ShellTransport, home: Path) -> None:
        self.shell = shell
        self.home = home
        self.world = home / "world"
        self.top = self.world / "in" / "top"
        (home / "files" / "tree" / "y").mkdir(parents=True)
        (home / "templates").mkdir()
        for name, text in (("x", "one\n"), ("one.txt", "one\ntwo\n"), ("tree/x", "tree\n"), ("tree/y/x", "deep\n")):
            (home / "files" / name).write_text(text)
        (home / "templates" / "t.j2").write_text("{{ word }}\n")

    def begin(self, case: Case) -> None:
        """Lay out a case's start; what cannot be there is left out."""
        shutil.rmtree(self.world, ignore_errors=True)
        (self.shell.state_dir / "owed").unlink(missing_ok=True)
        self.top.mkdir(parents=True)
        for one in case.start:
            with suppress(OSError):
                _make(self.top, one)

    def load(self, case: Case) -> Play:
        """Return a case's play."""
        text = json.dumps(
            [{"hosts": "all", "gather_facts": False, "tasks": list(case.tasks), "handlers": list(case.handlers)}]
        )
        path = self.home / "play.yaml"
        path.write_text(text.replace("TOP", str(self.top)))
        return load_playbook(path, task_types()).plays[0]

    def run(self, play: Play, *, check: bool, memory: Memory | None = None) -> Ran:
        """Run a play through the engine, in this bench's shell."""
        results: list[TaskResult] = []

        def hear(event: Event) -> None:
            if isinstance(event, TaskFinished):
                results.append(event.result)

        scope = HostScope(host="device", play=play, modules=task_types(), login_user=USER, check=check)
        run = HostRun(scope, Options(check=check, privileged=ROOT), hear, memory or Memory())
        requests = run.converge()
        with suppress(StopIteration):
            batch = next(requests)
            while True:
                batch = requests.send(self.shell.exchange(batch))
        return Ran(results, run.view, run.summary)

    def look(self, files: list[File]) -> dict[File, FileState]:
        """Return what is there."""
        replies = self.shell.exchange(Batch(looks=tuple(files)))
        return {one.observable: one.state for one in replies if isinstance(one, Probed)}


def _make(top: Path, one: Thing) -> None:
    path = top / one.path
    if one.kind == "directory":
        path.mkdir()
    elif one.kind == "file":
        path.open("x").write(one.detail)
    elif one.kind == "hard":
        source = top / one.detail
        if source.is_file() and not source.is_symlink():
            os.link(source, path)
        return
    else:
        path.symlink_to(one.detail.replace("TOP", str(top)))
    if ROOT:
        os.chown(path, one.owner, one.group, follow_symlinks=False)
    if one.kind != "link":
        path.chmod(int(one.mode, 8))


Picture = dict[str, tuple[Any, ...]]


def picture(top: Path, *, times: bool) -> Picture:
    """Return all that is below a folder, and with `times` also what shows a write that changed nothing."""
    names: dict[int, str] = {}
    found: Picture = {}
    for path in (top, *_below(top)):
        info = path.lstat()
        name = str(path.relative_to(top))
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        target = str(path.readlink()) if path.is_symlink() else ""
        twin = names.setdefault(info.st_ino, name)
        extra = (info.st_mtime_ns, info.st_ctime_ns, info.st_ino) if times else ()
        found[name] = (oct(info.st_mode), info.st_uid, info.st_gid, content, target, twin, *extra)
    return found


def _below(top: Path) -> Iterator[Path]:
    for path in sorted(top.iterdir()):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


# Judging them.


class Complaint(Exception):  # noqa: N818 - what a law says of a case
    """A law that a case breaks: a word for the law, and what was claimed and found."""

    def __init__(self, law: str, text: str) -> None:
        super().__init__(f"{law}: {text}")
        self.law = law


def judge(bench: Bench, case: Case, *, singly: bool = True) -> None:
    """Hold a case against the laws; raises Complaint."""
    play = bench.load(case)
    bench.begin(case)
    before = picture(bench.world, times=True)
    dry = _ran(bench, play, check=True)
    if (now := picture(bench.world, times=True)) != before:
        raise Complaint("touched", f"the dry run touched {_difference(before, now)}")
    real = _ran(bench, play, check=False)
    foreign = _compare(case, dry, real, "the apply")
    for one in real.results:
        if "did not take" in (one.message or ""):
            raise Complaint("did not take", f"{one.task}: {one.message}")
    if not foreign:
        _foretold(bench, dry)
    if not singly or any("notify" in task for task in case.tasks):
        return
    after = picture(bench.world, times=False)
    one_by_one(bench, case, play, real, after)


def _ran(bench: Bench, play: Play, *, check: bool, memory: Memory | None = None) -> Ran:
    try:
        return bench.run(play, check=check, memory=memory)
    except Exception as error:
        raise Complaint("raised", f"{'dry run' if check else 'apply'}: {type(error).__name__}: {error}") from error


def _claim(one: TaskResult) -> tuple[Any, ...]:
    failure = (one.message or "") if one.status == "failed" else ""
    return (one.task, one.item, one.status, failure, one.shows)


def _settled(one: TaskResult) -> tuple[Any, ...]:
    """Return a claim without the names that only numbers were known of when it was made."""
    numbers = any(isinstance(shown, Line) and NUMBER.search(shown.text) for shown in one.shows)
    return _claim(one)[:4] if numbers else _claim(one)


def _opaque(case: Case, name: str) -> bool:
    return any("shell" in task for task in case.tasks if task["name"] == name)


def _compare(case: Case, dry: Ran, real: Ran, what: str) -> bool:
    """Compare claims with what came; tell whether something failed that nobody can know of before."""
    for said, came in zip(dry.results, real.results, strict=False):
        if said.task != came.task:
            raise Complaint("order", f"{said.task} was told where {came.task} came")
        if came.status == "failed" and said.status != "failed" and _opaque(case, said.task):
            return True
        if said.status == "unknown" or said.assumed_after:
            if came.status == "failed" and not came.ignored:
                return True
            continue
        if _claim(said) != _claim(came):
            law = "claim" if said.status == came.status else f"claim {said.status}"
            raise Complaint(law, f"the dry run said {_claim(said)}, {what} came to {_claim(came)}: {came.message}")
    if len(dry.results) != len(real.results):
        told = [one.task for one in dry.results], [one.task for one in real.results]
        open_end = any(one.status == "unknown" or one.assumed_after for one in dry.results)
        if not open_end:
            raise Complaint("length", f"told of {told[0]}, came to {told[1]}")
        return True
    return False


def _foretold(bench: Bench, dry: Ran) -> None:
    """Every file of which the dry run's view tells the state is found so."""
    names = [f"{a}{b}{c}" for a in TOP_NAMES for b in ("", "/x", "/y") for c in ("", "/x")]
    paths = {str(bench.top / name) for name in names} | {one.path for one in dry.view.planned if isinstance(one, File)}
    claims: dict[File, FileState] = {}
    for path in sorted(paths):
        dry.view.begin()
        with suppress(NeedLook, NotYetKnown):
            state = dry.view.peek(File(path, METADATA))
            if not dry.view.assumed:
                claims[File(path)] = state
    found = bench.look(list(claims))
    for file, state in claims.items():
        open_names = state.open_fields()
        got = replace(found[file], **{name: getattr(state, name) for name in open_names})
        if state.type == "file" and state.sha256 is None:
            got = replace(got, sha256=None)
        if got.render() != state.render():
            raise Complaint("foretold", f"{file}: the view told\n{state.render()}\nand there is\n{got.render()}")


def one_by_one(bench: Bench, case: Case, play: Play, real: Ran, after: Picture) -> None:
    """The tasks one at a time, each from a fresh look, come to the same; each, once done, has nothing left to do."""
    bench.begin(case)
    memory = Memory()
    results: list[TaskResult] = []
    for task, body in zip(play.tasks, case.tasks, strict=True):
        single = replace(play, tasks=(replace(task, notify=()),), handlers=())
        kept = memory.copy()
        ran = _ran(bench, single, check=False, memory=memory)
        results += ran.results
        if any(one.status == "failed" for one in ran.results):
            if ran.summary.failed:
                break
            continue
        again = _ran(bench, single, check=True, memory=kept)
        if not _always_acts(body) and [one for one in again.results if one.status not in ("ok", "skipped")]:
            told = [_claim(one) for one in again.results]
            raise Complaint("not idempotent", f"{body}\nplans again: {told} {again.results[0].message}")
    singly, whole = [_settled(one) for one in results], [_settled(one) for one in real.results]
    for alone, together in zip(singly, whole, strict=False):
        if alone != together and not _opaque(case, alone[0]):
            raise Complaint("one by one", f"alone it came to {alone}, in the play to {together}")
    if (now := picture(bench.world, times=False)) != after:
        raise Complaint("another end", _difference(now, after))


def _always_acts(body: dict[str, Any]) -> bool:
    return "shell" in body or body.get("file", {}).get("state") == "touch"


def _difference(one: Picture, other: Picture) -> str:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(f"{name}: {one.get(name)} and {other.get(name)}" for name in names)


# Making failing ones small.


def complaint(bench: Bench, case: Case) -> Complaint | None:
    """Return what a case breaks, if anything."""
    try:
        judge(bench, case)
    except Complaint as found:
        return found
    return None


def smaller(case: Case) -> Iterator[Case]:
    """Yield cases that lack a little of a case."""
    for n in reversed(range(len(case.tasks))):
        yield replace(case, tasks=case.tasks[:n] + case.tasks[n + 1 :])
    for n in reversed(range(len(case.start))):
        yield replace(case, start=case.start[:n] + case.start[n + 1 :])
    for n, task in enumerate(case.tasks):
        for less in _less(task):
            yield replace(case, tasks=(*case.tasks[:n], less, *case.tasks[n + 1 :]))
    for n, thing in enumerate(case.start):
        plain = replace(thing, owner=0, group=0, mode={"directory": "0755", "file": "0644"}.get(thing.kind, "0777"))
        if plain != thing:
            yield replace(case, start=(*case.start[:n], plain, *case.start[n + 1 :]))


def _less(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key, value in task.items():
        if isinstance(value, dict):
            for name in value:
                yield {**task, key: {one: v for one, v in value.items() if one != name}}
        if key != "name":
            yield {one: v for one, v in task.items() if one != key}


def shrunk(bench: Bench, case: Case, law: str, seconds: float = 60) -> tuple[Case, Complaint | None]:
    """Return the smallest case found in that time that breaks the same law, and how it does."""
    end = time.monotonic() + seconds
    last: Complaint | None = None
    going = True
    while going and time.monotonic() < end:
        going = False
        for less in smaller(case):
            if time.monotonic() > end:
                break
            try:
                found = complaint(bench, less)
            except Exception:  # noqa: BLE001 - no longer a playbook
                continue
            if found is not None and found.law == law:
                case, last, going = less, found, True
                break
    return case, last
