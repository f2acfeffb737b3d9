"""apt: packages of Debian and Ubuntu."""

from __future__ import annotations

import re
from dataclasses import field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import ANYTHING, Context, Effect, Line, Observable, Pattern, Plan, State, TaskType, Unknown, task
from provisioner.observables.package import (
    AFTER_UPDATE,
    CHANGES,
    DPKG_LOCK_HOLDER,
    DPKG_TORN,
    AptCache,
    AptCacheState,
    AptTransaction,
    AptTransactionState,
    Package,
    PackageState,
    known_after,
)
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import Ran, View

HOUR = 3600
"""Seconds for which lists count as fresh where no cache_valid_time is given and nothing is known to be missing."""

DPKG_LOCK_WAIT = Script(
    "dpkg_lock_wait",
    r"""
# seconds: waits until nobody holds dpkg's locks, and sets seconds_left.
seconds_left=$1 told=
while holder=$(dpkg_lock_holder) && [ -n "$holder" ]; do
  if [ "$seconds_left" -le 0 ]; then
    printf '%s holds the lock of dpkg, and still did after %s seconds\n' "$holder" "$1" >&2
    return 1
  fi
  [ "$told" = "$holder" ] || say "waiting for $holder, which holds the lock of dpkg"
  told=$holder
  sleep 1
  seconds_left=$((seconds_left - 1))
done
""",
    (DPKG_LOCK_HOLDER,),
)

APT_SAY = Script(
    "apt_say",
    r"""
# line: hands on a line of apt's status, at most once for each percent and phase.
case $1 in dlstatus:*) phase=downloading ;; *) phase=installing ;; esac
tail=${1#*:*:}
# A package may carry its architecture behind a colon of its own.
case $tail in [0-9]*:*) ;; *) tail=${tail#*:} ;; esac
percent=${tail%%:*}
percent=${percent%%.*}
[ "$phase $percent" != "$apt_said" ] || return 0
apt_said="$phase $percent"
say "$phase, $percent%: ${tail#*:}"
""",
)

APT_REPORT = Script(
    "apt_report",
    r"""
# Reads what apt-get prints: progress is said, warnings and errors go to stderr, the rest to stdout. Ends with its rc;
# 75 where it failed for a lock that somebody took meanwhile, 100 where not every list could be read.
apt_said='' worse=''
while IFS= read -r line; do
  case $line in
  provision-rc:*)
    line=${line#provision-rc:}
    # Not until the end of the input: a daemon that was started may keep it open.
    [ "$worse" != 75 ] || [ "$line" -ne 0 ] || worse=
    return "${worse:-$line}" ;;
  dlstatus:*:*:* | pmstatus:*:*:*) apt_say "$line" ;;
  pmerror:* | pmconffile:* | media-change:*) ;;
  E:*'Could not get lock'* | E:*'Unable to acquire the dpkg frontend lock'* | E:*'Unable to lock'*)
    worse=75
    printf '%s\n' "$line" >&2 ;;
  'W: Some index files failed to download'*)
    worse=100
    printf '%s\n' "$line" >&2 ;;
  'E: '* | 'W: '* | 'dpkg: '*) printf '%s\n' "$line" >&2 ;;
  *) printf '%s\n' "$line" ;;
  esac
done
return 1
""",
    (APT_SAY,),
)

APT_GET = Script(
    "apt_get",
    r"""
# seconds arg ...: apt-get arg ..., as soon as nobody else holds the locks.
seconds_left=$1
shift
while :; do
  dpkg_lock_wait "$seconds_left" || return
  {
    # Apt before 1.9.11 does not know the lock's timeout, and ignores it.
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none \
      apt-get -q -y -oAPT::Status-Fd=1 -oDPkg::Lock::Timeout="$seconds_left" -oAcquire::Retries=3 \
      -oAcquire::http::Timeout=60 -oAcquire::https::Timeout=60 "$@" </dev/null 2>&1 3>&-
    printf '\nprovision-rc:%s\n' "$?"
  } | apt_report
  ended_with=$?
  [ "$ended_with" -eq 75 ] && [ "$seconds_left" -gt 0 ] || return "$ended_with"
  sleep 1
  seconds_left=$((seconds_left - 1))
done
""",
    (DPKG_LOCK_WAIT, APT_REPORT),
)

DPKG_FINISH = Script(
    "dpkg_finish",
    r"""
# seconds: lets dpkg finish what it was interrupted in, as when the power went; until then apt-get does nothing.
for left in "${DPKG_ROOT:-}"/var/lib/dpkg/updates/[0-9]*; do
  [ -e "$left" ] || break
  dpkg_lock_wait "$1" || return
  say 'finishing what dpkg was interrupted in'
  DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confdef --force-confold </dev/null
  break
done
""",
    (DPKG_LOCK_WAIT,),
)

APT_MEND = Script(
    "apt_mend",
    r"""
# seconds: unpacks again what dpkg was interrupted in unpacking. Apt takes it for installed, and what needs it fails.
[ -n "$(dpkg_torn)" ] || return 0
# Somebody may be at work on it just now, and is let finish.
dpkg_lock_wait "$1" || return
torn=$(dpkg_torn)
[ -n "$torn" ] || return 0
set -- --no-remove --reinstall -oDpkg::Options::=--force-confdef -oDpkg::Options::=--force-confold
# shellcheck disable=SC2086 # names are words
apt_get "$seconds_left" "$@" --allow-change-held-packages install -- $torn && return
# An older version may be gone from the lists.
# shellcheck disable=SC2046
apt_get "$seconds_left" "$@" install -- $(printf '%s\n' "$torn" | sed 's/=.*//')
""",
    (APT_GET, DPKG_LOCK_WAIT, DPKG_TORN),
)

APT_RUN = Script(
    "apt_run",
    r"""
# seconds update arg ...: apt-get update, where update is not empty, then apt-get arg ..., where there are any.
seconds=$1 update=$2
shift 2
if [ -n "$update" ]; then
  say 'apt-get update'
  apt_get "$seconds" update || return
  # The lists keep their time where nothing in them changed, and Debian has no stamp.
  touch -c /var/lib/apt/lists /var/lib/apt/periodic/update-success-stamp
fi
[ $# -eq 0 ] || {
  dpkg_finish "$seconds"
  apt_mend "$seconds"
  apt_get "$seconds" "$@"
}
""",
    (APT_GET, DPKG_FINISH, APT_MEND),
)

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?")
_PIN = re.compile(r"[A-Za-z0-9.+:~*?\[\]!^-]+")
LATER = Unknown("known after apply")


@dataclass(frozen=True)
class Spec:
    """A package as a playbook names it: name, perhaps with an architecture, perhaps with a version that is a glob."""

    name: str
    pin: str | None = None

    @classmethod
    def read(cls, text: str) -> Spec:
        """Return what was written; raises InputError where apt would make something else of it."""
        name, equals, pin = text.strip().partition("=")
        if not _NAME.fullmatch(name) or name.endswith("-"):
            hint = "names with *, and versions with >=, are not supported" if set("*?>[") & set(name) else None
            raise InputError(f"{text!r} is not the name of a package", hint=hint)
        if equals and not _PIN.fullmatch(pin):
            raise InputError(f"{pin!r} is not a version of {name}")
        return cls(name, pin if equals else None)

    def __str__(self) -> str:
        """Return it as apt-get takes it."""
        return self.name if self.pin is None else f"{self.name}={self.pin}"

    def met_by(self, state: PackageState) -> bool:
        """Tell whether a package is installed, in a version that was asked for; NotYetKnown where that is open."""
        if isinstance(state.status, Unknown) and state.version is not None:
            raise NotYetKnown(state.status.reason)
        if state.status != "installed" or self.pin is None:
            return state.status == "installed"
        if isinstance(state.version, Unknown):
            raise NotYetKnown(state.version.reason)
        return fnmatchcase(state.version or "", self.pin)

    def after(self, before: PackageState, why: Unknown) -> PackageState:
        """Return what a package is once apt has installed it from lists that are yet to come."""
        exact = self.pin if self.pin and not set("*?[") & set(self.pin) else why
        return PackageState(status="installed", version=exact, selection="hold" if before.held else "install")


@task
@dataclass(frozen=True, kw_only=True)
class Apt(TaskType):
    """Installs, upgrades and removes packages.

    Ansible's arguments, and these differences. A transaction that removes packages is refused unless
    `fail_on_autoremove: no` is written, one that downgrades unless `allow_downgrade: yes` is. `update_cache` updates
    the lists only where that can matter: not where every package asked for is installed (so a second run has nothing
    to do); with `state: latest`, `upgrade` or alone it takes lists younger than `cache_valid_time`, an hour by
    default, as they are; lists older than the sources are always updated, and an update counts as a change. A package
    that came as a dependency is not marked as wanted by name. `force_apt_get` has no effect: only apt-get is used.
    """

    name: ClassVar[str] = "apt"
    example: ClassVar[str] = "apt: { name: [docker.io, nvidia-container-toolkit], update_cache: yes }"

    packages: tuple[str, ...] | None = field(default=None, metadata={"key": "name", "aliases": ("package", "pkg")})
    state: Literal["present", "absent", "latest"] = "present"
    update_cache: bool = field(default=False, metadata={"aliases": ("update-cache",)})
    cache_valid_time: int = 0
    install_recommends: bool | None = field(default=None, metadata={"aliases": ("install-recommends",)})
    purge: bool = False
    autoremove: bool = False
    upgrade: Literal["no", "yes", "safe", "full", "dist"] = "no"
    only_upgrade: bool = False
    allow_downgrade: bool = field(
        default=False, metadata={"aliases": ("allow-downgrade", "allow_downgrades", "allow-downgrades")}
    )
    allow_change_held_packages: bool = False
    fail_on_autoremove: bool | None = None
    dpkg_options: str = "force-confdef,force-confold"
    lock_timeout: int = 60
    force_apt_get: bool = False

    def __post_init__(self) -> None:
        names = tuple(name for name in self.packages or () if name.strip())
        if "*" in names and self.state == "latest":
            if len(names) > 1:
                raise InputError("unable to install additional packages when upgrading all installed packages")
            names = ()
            object.__setattr__(self, "upgrade", "yes")
        if names and self.upgrade != "no":
            raise InputError("name and upgrade are mutually exclusive")
        if self.packages is None and self.upgrade == "no" and not (self._updates or self.autoremove):
            raise InputError("one of the following is required: autoremove, name, update_cache, upgrade")
        object.__setattr__(self, "packages", names)
        for name in names:
            Spec.read(name)

    @property
    def specs(self) -> tuple[Spec, ...]:
        """Return the packages that are named."""
        return tuple(dict.fromkeys(Spec.read(name) for name in self.packages or ()))

    @property
    def _updates(self) -> bool:
        return self.update_cache or self.cache_valid_time > 0

    @property
    def _action(self) -> str | None:
        """Return apt-get's word for what is asked, None for nothing but an update."""
        if self.upgrade != "no":
            return "dist-upgrade" if self.upgrade in ("full", "dist") else "upgrade"
        if not self.packages:
            return "autoremove" if self.autoremove else None
        if self.state == "absent":
            return "purge" if self.purge else "remove"
        return "latest" if self.state == "latest" else "install"

    @property
    def _options(self) -> tuple[str, ...]:
        """Return the options that bear on what a transaction is."""
        chosen = []
        if self.install_recommends is not None:
            chosen.append(f"-oAPT::Install-Recommends={'yes' if self.install_recommends else 'no'}")
        chosen += ["--only-upgrade"] * (self.only_upgrade and self.state != "absent" and bool(self.packages))
        chosen += ["--auto-remove"] * (self.autoremove and bool(self.packages or self.upgrade != "no"))
        chosen += ["--purge"] * (self.purge and not self.packages)
        chosen += ["--with-new-pkgs"] * (self._action == "upgrade")
        return tuple(chosen)

    @property
    def _may_remove(self) -> bool:
        asked = self.state == "absent" or self.autoremove or self._action == "dist-upgrade"
        return self.fail_on_autoremove is False or (self.fail_on_autoremove is None and asked)

    def _transaction(self) -> AptTransaction:
        specs = tuple(str(spec) if self.state != "absent" else spec.name for spec in self.specs)
        return AptTransaction(self._action or "", " ".join(self._options), specs)

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the packages, what apt would do with them, and the lists where they may be updated."""
        del ctx
        yield from (Package(spec.name) for spec in self.specs)
        if self._action:
            yield self._transaction()
        if self._updates:
            yield AptCache()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan nothing, an update, or one transaction."""
        del ctx
        if self._action is None:
            return self._only_update(view)
        self._told_apart(view)
        if self._settled(view):
            return Plan(result=self._cache_result(view))
        if self._must_update(view):
            return self._blind(view, AFTER_UPDATE)
        transaction = view.get(self._transaction())
        if isinstance(transaction.error, Unknown):
            if self._action != "install":
                raise NotYetKnown(transaction.error.reason)
            return self._blind(view, transaction.error)
        return self._refusal(transaction) or self._exact(view, transaction)

    def _told_apart(self, view: View) -> None:
        """Raise NotYetKnown where an earlier task changes a package under another of its names."""
        planned = [one.name for one in view.planned if isinstance(one, Package)]
        for spec in self.specs:
            others = [name for name in planned if _base(name) == _base(spec.name)]
            if others and spec.name not in others:
                raise NotYetKnown(known_after(view, others).reason)

    def _settled(self, view: View) -> bool:
        """Tell whether every package is as it is asked for already."""
        states = [(spec, view.get(Package(spec.name))) for spec in self.specs]
        if self._action == "install" and not self.autoremove:
            return all(spec.met_by(state) for spec, state in states)
        if self._action == "remove" and not self.autoremove:
            return all(state.version is None for _, state in states)
        return self._action == "purge" and all(state.status == "absent" for _, state in states)

    def _must_update(self, view: View) -> bool:
        if not self._updates or self.state == "absent" or self._action == "autoremove":
            return False
        if AptCache() in view.planned:
            return _sources_planned(view)
        default = 0 if self._action == "install" else HOUR
        return view.peek(AptCache()).older_than(self.cache_valid_time or default) or _sources_planned(view)

    def _only_update(self, view: View) -> Plan:
        if not self._updates:
            return Plan()
        cache = view.peek(AptCache())
        if not cache.older_than(self.cache_valid_time or HOUR) and not _sources_planned(view):
            return Plan(result=self._cache_result(view))
        return self._plan((Line("apt-get update"),), {AptCache(): _updated(cache)}, update=True)

    def _blind(self, view: View, why: Unknown) -> Plan:
        """Plan an update and what follows from it in one; the versions are known afterwards."""
        leaves: dict[Observable[Any], State] = {}
        shows: list[Line] = []
        update = self._must_update(view)
        if update:
            shows.append(Line("apt-get update"))
            leaves[AptCache()] = _updated(view.peek(AptCache()))
        if self._action in ("upgrade", "dist-upgrade"):
            shows.append(Line(f"apt-get {self._action} ({why.reason})"))
        real = self._real_names(view)
        for spec in self.specs:
            before = view.peek(Package(spec.name))
            if self.state == "latest" and before.installed:
                shows.append(Line(f"upgrade {spec} if there is a newer version ({why.reason})"))
            elif not spec.met_by(before):
                shows.append(Line(f"install {spec} (version {why.reason})"))
            if (before.installed or not self.only_upgrade) and (real is None or spec.name in real):
                leaves[Package(spec.name)] = spec.after(before, why)
        return self._plan(tuple(shows), leaves, update=update, specs=self.specs)

    def _real_names(self, view: View) -> set[str] | None:
        """Return which packages are no virtual ones, going by the lists that are there; None where they do not tell."""
        transaction = view.peek(self._transaction())
        if transaction.error is not None:
            return None
        touched = {_base(name) for name, _, _ in transaction.items(*CHANGES)}
        there = {spec.name for spec in self.specs if view.peek(Package(spec.name)).version is not None}
        return there | {spec.name for spec in self.specs if _base(spec.name) in touched}

    def _refusal(self, transaction: AptTransactionState) -> Plan | None:
        """Return why a transaction must not run, if it must not."""
        if transaction.error:
            return self._impossible(str(transaction.error))
        removed = _names(transaction, "removes")
        if removed and not self._may_remove:
            return Plan(failed=f"apt would remove {removed}", hint="fail_on_autoremove: no allows it")
        downgraded = _names(transaction, "downgrades")
        if downgraded and not self.allow_downgrade:
            return Plan(failed=f"apt would downgrade {downgraded}", hint="allow_downgrade: yes allows it")
        if transaction.held and not self.allow_change_held_packages:
            held = ", ".join(known_items(transaction.held))
            return Plan(failed=f"apt would change {held}, held", hint="allow_change_held_packages: yes allows it")
        return None

    def _impossible(self, error: str) -> Plan:
        lost = re.search(r"Unable to locate package (\S+)", error)
        if not lost:
            return Plan(failed=error, hint="`apt-get check` on the device tells more")
        hint = None if self._updates else "update_cache: yes reads the lists anew; is its source enabled?"
        return Plan(failed=f"No package matching '{lost[1]}' is available", hint=hint)

    def _exact(self, view: View, transaction: AptTransactionState) -> Plan:
        """Plan a transaction that is wholly known."""
        leaves = dict(self._leaves(transaction))
        if not leaves:
            return Plan(result=self._cache_result(view))
        return self._plan(tuple(self._lines(transaction)), leaves, specs=self.specs)

    def _leaves(self, transaction: AptTransactionState) -> Iterator[tuple[Observable[Any], State]]:
        held = known_items(transaction.held)
        reached = {}
        for name, _, version in transaction.items(*CHANGES):
            selection = LATER if name in held else "install"
            reached[name] = PackageState(status="installed", version=version, selection=selection)
        for name, _, _ in transaction.items("reinstalls"):
            reached[name] = PackageState(status="installed", version=LATER, selection=LATER)
        for name, _, _ in transaction.items("removes"):
            gone = PackageState(status=LATER, selection=LATER)
            reached[name] = PackageState() if self.purge else gone
        yield from ((Package(name), state) for name, state in reached.items())
        for spec in self.specs:
            # Apt names a package of the native architecture without it.
            if spec.name not in reached and _base(spec.name) in reached and ":" in spec.name:
                yield Package(spec.name), reached[_base(spec.name)]

    def _lines(self, transaction: AptTransactionState) -> Iterator[Line]:
        asked = {_base(spec.name) for spec in self.specs}
        words = {
            "installs": "install",
            "upgrades": "upgrade",
            "downgrades": "downgrade",
            "removes": "purge" if self.purge else "remove",
            "configures": "configure",
            "reinstalls": "finish installing",
        }
        for kind, word in words.items():
            found = transaction.items(kind)
            own = [item for item in found if _base(item[0]) in asked or not asked or kind in ("downgrades", "removes")]
            rest = [item for item in found if item not in own]
            yield from (Line(f"{word} {_shown(item)}") for item in own)
            if rest:
                yield Line(f"{word} {len(rest)} more: {', '.join(_shown(item) for item in rest)}")

    def _plan(
        self,
        shows: tuple[Line, ...],
        leaves: dict[Observable[Any], State],
        *,
        update: bool = False,
        specs: tuple[Spec, ...] = (),
    ) -> Plan:
        action = "install" if self._action == "latest" else self._action
        names = [spec.name if self.state == "absent" else str(spec) for spec in specs]
        arguments = [*self._switches(), action, "--", *names] if action else []
        effect = Effect(
            script=APT_RUN,
            values=(str(self.lock_timeout), "update" if update else "", *arguments),
            shows=shows,
            leaves=leaves,
            disturbs=(ANYTHING,) if action else (Pattern("apt_transaction"),),
        )
        return Plan(effects=(effect,), result={"cache_updated": update}, finish=_finish)

    def _switches(self) -> list[str]:
        """Return the options of the real run; the last word on what it may do is the device's."""
        options = [option.strip().lstrip("-") for option in self.dpkg_options.split(",") if option.strip()]
        chosen = [f"-oDpkg::Options::=--{option}" for option in options]
        chosen += list(self._options)
        chosen += [] if self._may_remove else ["--no-remove"]
        chosen += ["--allow-downgrades"] * self.allow_downgrade
        chosen += ["--allow-change-held-packages"] * self.allow_change_held_packages
        return chosen

    def _cache_result(self, view: View) -> dict[str, Any]:
        if not self._updates:
            return {}
        return {"cache_updated": False, "cache_update_time": view.peek(AptCache()).stamp or 0}


def known_items(items: tuple[str, ...] | Unknown | None) -> tuple[str, ...]:
    """Return items of a transaction that is known."""
    return items if isinstance(items, tuple) else ()


def _finish(ran: Ran) -> dict[str, Any]:
    return {"stdout": ran.stdout, "stderr": ran.stderr}


def _base(name: str) -> str:
    return name.partition(":")[0]


def _names(transaction: AptTransactionState, kind: str) -> str:
    return ", ".join(_shown(item) for item in transaction.items(kind))


def _shown(item: tuple[str, str, str]) -> str:
    name, old, new = item
    return f"{name} {old} -> {new}" if old and new else f"{name} {old or new}"


def _updated(cache: AptCacheState) -> AptCacheState:
    """Return the lists as an update leaves them."""
    return AptCacheState(lists=True, stamp=cache.now, sources=min(cache.sources or 0, cache.now or 0), now=cache.now)


def _sources_planned(view: View) -> bool:
    """Tell whether apt's sources are written earlier in the play, after the last update that is planned."""
    since = view.laid.get(AptCache(), -1)
    places = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/", "/etc/apt/trusted.gpg", "/etc/apt/keyrings/")
    return any(
        thing.kind == "file" and str(getattr(thing, "path", "")).startswith(places) and view.laid.get(thing, 0) >= since
        for thing in view.planned
    )
