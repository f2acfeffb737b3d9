"""authorized_key: a public key that may log in as a user."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError
from provisioner.model import Context, Observable, Plan, TaskType, known, task
from provisioner.observables.file import CONTENT, File
from provisioner.observables.user import User
from provisioner.records import dataclass
from provisioner.tasks.content import Content
from provisioner.tasks.writing import Access, CannotPlan, Draft, editable, make_folders, read, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.model import View

KIND = r"(?:ssh-[a-z0-9-]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9-]+)(?:@openssh\.com)?"
LINE = re.compile(rf"(?:(?P<options>.*?)\s+)?(?P<kind>{KIND})\s+(?P<blob>[A-Za-z0-9+/]+=*)(?:\s+(?P<comment>.*))?")
PRIVATE_FILE, PRIVATE_FOLDER = "0600", "0700"


@dataclass(frozen=True)
class Key:
    """One line of authorized_keys; two with the same blob are the same key."""

    kind: str
    blob: str
    options: str = ""
    comment: str = ""

    @property
    def line(self) -> str:
        """Return the line as it is written."""
        return " ".join(part for part in (self.options, self.kind, self.blob, self.comment) if part)


def parsed(line: str) -> Key | None:
    """Return the key of a line, or None for a comment, an empty line, or what is no key."""
    match = LINE.fullmatch(line.strip())
    if match is None or line.lstrip().startswith("#"):
        return None
    return Key(match["kind"], match["blob"], match["options"] or "", match["comment"] or "")


@task
@dataclass(frozen=True, kw_only=True)
class AuthorizedKey(TaskType):
    """Lets keys log in as a user, or takes them away; other keys stay unless `exclusive` says otherwise."""

    user: str
    key: str
    path: str | None = None
    manage_dir: bool = True
    state: Literal["present", "absent"] = "present"
    key_options: str | None = None
    exclusive: bool = False
    comment: str | None = None
    follow: bool = False

    name: ClassVar[str] = "authorized_key"
    example: ClassVar[str] = 'authorized_key: { user: nvidia, key: \'{{ lookup("file", "id_ed25519.pub") }}\' }'

    def __post_init__(self) -> None:
        """Check that there is at least one key, and that each line is one."""
        if self.key.startswith(("http://", "https://")):
            raise InputError("a key has to be given as text: nothing is fetched from an address")
        lines = [line for line in self.key.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        wrong = next((line for line in lines if parsed(line) is None), None if lines else self.key)
        if wrong is not None:
            raise InputError(f"invalid key specified: {wrong}", hint="it looks like `ssh-ed25519 AAAA... comment`")

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the user, and the file where its place is known."""
        del ctx
        yield User(self.user)
        if self.path is not None and self.path.startswith("/"):
            yield from (File(self.path, CONTENT), File(self.path).parent)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan the file with the keys, and the folder that holds it."""
        draft = Draft(view, ctx)
        try:
            result = self._draft(draft)
        except CannotPlan as no:
            return Plan(failed=no.reason, result=no.result)
        return Plan(effects=tuple(draft.effects), result=result, warnings=tuple(draft.warnings))

    def _draft(self, draft: Draft) -> Mapping[str, Any]:
        account = draft.get(User(self.user))
        if not account.present:
            raise CannotPlan(f"Either user must exist or you must provide full path to key file: {self.user}")
        own = draft.ctx.user == "root"
        group = known(account.group) if own else None
        owner = self.user if own else None
        where = File(self.path or posixpath.join(known(account.home) or "/", ".ssh", "authorized_keys"), CONTENT)
        if self.state == "present" and self.manage_dir:
            make_folders(draft, where.parent, Access(owner, group, PRIVATE_FOLDER))
        file, state = read(draft, where, links=self.follow)
        before = (editable(state, file.path) or b"").decode("utf-8", "surrogateescape")
        after = self.edited(before)
        if after != before or (self.state == "present" and not state.exists):
            content = Content.of(after.encode("utf-8", "surrogateescape"))
            write(draft, file, state, content, Access(owner, group, PRIVATE_FILE))
        return {"user": self.user, "keyfile": where.path, "key": self.key, "state": self.state}

    def edited(self, text: str) -> str:
        """Return the text of the file with the keys, or without them."""
        wanted = {key.blob: self._written(key) for line in self.key.splitlines() if (key := parsed(line))}
        lines = []
        for line in text.splitlines():
            key = parsed(line)
            if key is None:
                lines += [] if self.exclusive and self.state == "present" else [line]
            elif key.blob in wanted:
                new = wanted.pop(key.blob) if self.state == "present" else None
                lines += [self._kept(key, new, line)] if new else []
            elif not (self.exclusive and self.state == "present"):
                lines.append(line)
        if self.state == "present":
            lines += [key.line for key in wanted.values()]
        return "".join(f"{line}\n" for line in lines)

    def _written(self, key: Key) -> Key:
        options = key.options if self.key_options is None else self.key_options
        return Key(key.kind, key.blob, options, key.comment if self.comment is None else self.comment)

    def _kept(self, old: Key, new: Key, line: str) -> str:
        """Return a line that holds the key already; it stays where nothing else is asked of it."""
        same = old.options == new.options and (self.comment is None or old.comment == new.comment)
        return line if same else new.line
