"""Packages of dpkg, what apt would do with them, the age of its lists, and who holds its locks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from provisioner.model import ANYTHING, Observable, State, Unknown, attached, observable
from provisioner.records import dataclass
from provisioner.shell import ESCAPE, Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provisioner.model import View

AFTER_UPDATE = Unknown("known after 'apt-get update'")

PACKAGE_ROWS = Script(
    "package_rows",
    r"""
# name ...: one row for each package that dpkg knows, under its name and under name:architecture.
for name do
  shift
  # dpkg-query reads patterns, and gives up on all names where one cannot be a name.
  case $name in '' | [!a-z0-9]* | *[!a-z0-9+.:-]*) ;; *) set -- "$@" "$name" ;; esac
done
[ $# -gt 0 ] || return 0
# shellcheck disable=SC2016 # dpkg-query's own
row='|${db:Status-Want} ${db:Status-Status} ${Version}\n'
dpkg-query -W -f='${Package}'"$row"'${Package}:${Architecture}'"$row" -- "$@" 2>/dev/null
""",
)

PACKAGE_FIND = Script(
    "package_find",
    r"""
# rows native name: sets status, version and selection; the native architecture wins where a name has several.
status=absent version='' selection=''
lf='
'
for key in "$3:$2" "$3"; do
  case $lf$1 in
  *"$lf$key|"*)
    selection=${1#"$key|"}
    [ "$selection" != "$1" ] || selection=${1#*"$lf$key|"}
    selection=${selection%%"$lf"*}
    version=${selection##* } selection=${selection% *}
    status=${selection##* } selection=${selection% *}
    break ;;
  esac
done
case $status in not-installed) status=absent ;; triggers-*) status=installed ;; esac
case $status in absent | config-files) version= ;; esac
[ "$selection" != unknown ] || selection=
""",
)

PROBE_PACKAGE = Script(
    "probe_package",
    r"""
# name ...
rows=$(package_rows "$@")
native=$(dpkg --print-architecture 2>/dev/null)
while [ $# -gt 0 ]; do
  next
  package_find "$rows" "$native" "$1"
  printf 'status=%s\n' "$status"
  [ -z "$version" ] || printf 'version=%s\n' "$version"
  [ -z "$selection" ] || printf 'selection=%s\n' "$selection"
  shift
done
""",
    (PACKAGE_ROWS, PACKAGE_FIND),
)


@dataclass(frozen=True, kw_only=True)
class PackageState(State):
    """What dpkg has of a package.

    `status` is dpkg's word (installed, half-configured, unpacked, config-files, ...) or absent; waiting triggers count
    as installed. `version` is None where nothing of it is unpacked. `selection` is what dpkg is to do with it.
    """

    status: str | Unknown = "absent"
    version: str | Unknown | None = None
    selection: str | Unknown | None = None

    @property
    def installed(self) -> bool:
        """Tell whether it is there, whole and configured."""
        return self.status == "installed"

    @property
    def held(self) -> bool:
        """Tell whether dpkg is to keep it as it is."""
        return self.selection == "hold"


@observable
@dataclass(frozen=True)
class Package(Observable[PackageState]):
    """A package of dpkg by name, or name:architecture; one that others only provide is absent."""

    name: str

    kind: ClassVar[str] = "package"
    state: ClassVar[type[State]] = PackageState
    probe: ClassVar[Script] = PROBE_PACKAGE

    def is_absent(self, state: State) -> bool:
        """Tell whether nothing of it is unpacked."""
        return isinstance(state, PackageState) and state.version is None


APT_RIGHT = Script(
    "apt_right",
    r"""
# action spec ...: whether every package is as the action leaves it, as far as dpkg alone can tell.
action=$1
shift
case $action in install | remove | purge) ;; *) return 1 ;; esac
rows=$(for spec do package_rows "${spec%%=*}"; done)
native=$(dpkg --print-architecture 2>/dev/null)
for spec do
  package_find "$rows" "$native" "${spec%%=*}"
  case $spec in *=*) pin=${spec#*=} ;; *) pin='*' ;; esac
  case $action,$status in
  install,installed)
    # shellcheck disable=SC2254 # a pin is a glob
    case $version in $pin) ;; *) return 1 ;; esac ;;
  remove,absent | remove,config-files | purge,absent) ;;
  *) return 1 ;;
  esac
done
""",
    (PACKAGE_ROWS, PACKAGE_FIND),
)

APT_SOURCE_CACHE = Script(
    "apt_source_cache",
    r"""
# Prints the option that keeps apt from writing its cache of the lists, where it would have to.
cache=/var/cache/apt/srcpkgcache.bin
[ -e "$cache" ] && [ -z "$(find -L /etc/apt/sources.list /etc/apt/sources.list.d /var/lib/apt/lists \
  -maxdepth 1 -newer "$cache" 2>/dev/null | head -n 1)" ] || printf '%s\n' '-oDir::Cache::srcpkgcache='
""",
)

APT_HOLDS = Script(
    "apt_holds",
    r"""
# simulation: prints a line for each package that it replaces or removes and that dpkg is to hold; a simulation need not
# tell of them.
touched=$(printf '%s\n' "$1" | awk '
  (/^Inst / && $3 ~ /^\[/) || /^Remv / || /^Purg / { sub(/:.*/, "", $2); if (!seen[$2]++) print $2 }')
[ -n "$touched" ] || return 0
# shellcheck disable=SC2016,SC2086 # dpkg-query's own; names are words
dpkg-query -W -f='provision-${db:Status-Want}:${Package}\n' -- $touched 2>/dev/null | grep '^provision-hold:' | sort -u
""",
)

DPKG_TORN = Script(
    "dpkg_torn",
    r"""
# Prints each package that dpkg was interrupted in unpacking, as name=version. Apt takes one for installed.
# shellcheck disable=SC2016 # dpkg-query's own
dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}=${Version}\n' 2>/dev/null |
  sed -n -e 's/=$//' -e 's/^..R //p' -e 's/^.H  //p'
""",
)

APT_READ = Script(
    "apt_read",
    r"""
# Reads a simulation, what is torn, the holds and the rc on stdin, and prints the fields, each sorted.
awk '
  /^The following packages will be DOWNGRADED:/ { section = "down"; next }
  /^The following held packages will be changed:/ { section = "held"; next }
  /^The following packages have unmet dependencies:/ { section = "unmet"; next }
  /^ / && section == "unmet" { print "8 " $0; next }
  /^ / && section != "" { for (i = 1; i <= NF; i++) if (section == "held") print "7 " $i; else down[$i] = 1; next }
  { section = "" }
  /^Inst / {
    old = ""; new = $3
    if ($3 ~ /^\[/) { old = substr($3, 2, length($3) - 2) ">"; new = $4 }
    sub(/^\(/, "", new)
    if (old == new ">") { kind = "6 "; old = "" } else kind = old == "" ? "1 " : ($2 in down) ? "3 " : "2 "
    print kind $2 "=" old new
    unpacked[$2] = 1
  }
  /^Remv |^Purg / { version = $3; gsub(/[][]/, "", version); print "4 " $2 "=" version; unpacked[$2] = 1 }
  /^provision-hold:/ { print "7 " substr($0, 16) }
  /^provision-torn:/ {
    torn = name = substr($0, 16)
    sub(/[:=].*/, "", name)
    if (!(name in unpacked)) print "6 " torn
  }
  /^Conf / && !($2 in unpacked) { version = $3; sub(/^\(/, "", version); print "5 " $2 "=" version }
  /^E: / { print "9 " $0; failed = 1 }
  /^provision-rc:/ && $0 != "provision-rc:0" && !failed { print "9 apt-get ended with rc " substr($0, 14) }
' | sort -u | awk '
  BEGIN { split("installs upgrades downgrades removes configures reinstalls held error error", names, " "); last = "" }
  {
    name = names[substr($0, 1, 1)]; value = substr($0, 3)
    gsub(/%/, "%25", value)
    if (name != "error") gsub(/ /, "%20", value)
    if (name != last) printf "%s%s=%s", (last == "" ? "" : "\n"), name, value
    else printf "%s%s", (name == "error" ? "%0A" : " "), value
    last = name
  }
  END { print (last == "" ? "nothing=yes" : "") }'
""",
)

APT_SIMULATE = Script(
    "apt_simulate",
    r"""
# action options spec ...: the fields of what apt-get would do now.
action=$1 options=$2
shift 2
command -v apt-get >/dev/null 2>&1 || { printf 'error=E: this device has no apt-get\n'; return; }
# shellcheck disable=SC2046,SC2086 # options are words
simulated=$(timeout 120 apt-get -s -q -oAPT::Get::Show-User-Simulation-Note=no -oDir::Cache::pkgcache= \
  $(apt_source_cache) $options "$action" -- "$@" </dev/null 2>&1)
rc=$?
{
  printf '%s\n' "$simulated"
  dpkg_torn | sed 's/^/provision-torn:/'
  apt_holds "$simulated"
  printf 'provision-rc:%s\n' "$rc"
} | apt_read
""",
    (APT_SOURCE_CACHE, APT_HOLDS, APT_READ, DPKG_TORN),
)

APT_TRANSACTION_LINES = Script(
    "apt_transaction_lines",
    r"""
# action options specs
action=$1 options=$2
set -f
# shellcheck disable=SC2086 # specs are words
set -- $3
set +f
if apt_right "$action" "$@"; then
  printf 'nothing=yes\n'
else
  [ "$action" != latest ] || action=install
  apt_simulate "$action" "$options" "$@"
fi
""",
    (APT_RIGHT, APT_SIMULATE),
)

PROBE_APT_TRANSACTION = Script(
    "probe_apt_transaction",
    r"""
# action options specs ...: options and specs are words.
while [ $# -gt 0 ]; do
  next
  apt_transaction_lines "$1" "$2" "$3"
  shift 3
done
""",
    (APT_TRANSACTION_LINES,),
)

Items = tuple[str, ...] | Unknown | None

CHANGES = ("installs", "upgrades", "downgrades", "configures", "reinstalls")
"""The fields of a transaction whose packages are installed after it."""


@dataclass(frozen=True, kw_only=True)
class AptTransactionState(State):
    """What apt-get would do: items are name=version, with old>new where one is replaced; None where there are none.

    `configures` are those that only have to be configured, `reinstalls` those that dpkg was interrupted in unpacking,
    of which the version is a guess; `held` those that would change in spite of their hold.
    """

    nothing: bool | Unknown | None = None
    installs: Items = None
    upgrades: Items = None
    downgrades: Items = None
    removes: Items = None
    configures: Items = None
    reinstalls: Items = None
    held: Items = None
    error: str | Unknown | None = None

    def items(self, *fields: str) -> tuple[tuple[str, str, str], ...]:
        """Return name, old version and new version of the items of some fields; an absent version is empty."""
        found = []
        for field in fields:
            for item in getattr(self, field) or ():
                name, _, version = item.partition("=")
                old, _, new = version.rpartition(">")
                found.append((name, version, "") if field == "removes" else (name, old, new))
        return tuple(found)

    def without(self, done: Iterable[tuple[str, str]]) -> AptTransactionState:
        """Return what is left once some packages have reached their versions."""
        reached = set(done)
        fields = {}
        for field in (*CHANGES, "removes"):
            rest = (f"{n}={f'{old}>' * bool(old)}{new}" for n, old, new in self.items(field) if (n, new) not in reached)
            fields[field] = tuple(getattr(self, field) or () if field == "removes" else rest) or None
        nothing = True if self.error is None and not any(fields.values()) else None
        return replace(self, **fields, nothing=nothing)  # type: ignore[arg-type]

    @classmethod
    def unknown(cls, why: Unknown) -> AptTransactionState:
        """Return a transaction of which nothing is known yet."""
        return cls(**dict.fromkeys((*CHANGES, "nothing", "removes", "held", "error"), why))


@observable
@dataclass(frozen=True)
class AptTransaction(Observable[AptTransactionState]):
    """What `apt-get OPTIONS ACTION SPECS` would do now, simulated only where dpkg does not show it to be nothing.

    The actions are apt-get's, and `latest`, an install that may find something to do where all is installed.
    """

    action: str
    options: str = ""
    specs: tuple[str, ...] = ()

    kind: ClassVar[str] = "apt_transaction"
    state: ClassVar[type[State]] = AptTransactionState
    probe: ClassVar[Script] = PROBE_APT_TRANSACTION
    arity: ClassVar[int] = 3

    def arguments(self) -> tuple[str, ...]:
        """Return the specs as one word list."""
        return (self.action, self.options, " ".join(self.specs))

    def __str__(self) -> str:
        """Return the kind and the command."""
        return " ".join(filter(None, (self.kind, self.action, self.options, *self.specs)))

    def implied(self, view: View) -> AptTransactionState | None:
        """Leave out what packages planned before will have done.

        What was probed tells of the packages as they are now: it holds on where only packages come along that it would
        have brought itself. A removal of what an earlier task brings is derived, where nothing else came with it.
        Anything else is open, and so is all that rests on lists which are yet to come.
        """
        if AptCache() in view.planned:
            return AptTransactionState.unknown(AFTER_UPDATE)
        changed = {o.name: s for o, s in view.planned.items() if isinstance(o, Package) and view.probed.get(o) != s}
        if not changed:
            return None
        found: AptTransactionState | None = None
        if self.action in ("remove", "purge"):
            found = self._removal(view, changed)
        elif self.action in ("install", "latest") and "--auto-remove" not in self.options.split():
            found = self._installation(view, changed)
        return found or AptTransactionState.unknown(known_after(view, changed))

    def _installation(self, view: View, changed: Mapping[str, State]) -> AptTransactionState | None:
        """Return what is left to install; None where that is open."""
        planned = {name: state for name, state in changed.items() if isinstance(state, PackageState)}
        if any(_upsets(view.probed.get(Package(name)), after) for name, after in planned.items()):
            return None
        state: AptTransactionState = view.raw(self)
        brought = {name: new for name, _, new in _all_items(state)}
        touched = brought.keys() | {spec.partition("=")[0] for spec in self.specs}
        concerned = {name: planned[name] for name in touched & planned.keys()}
        for name, after in concerned.items():
            if after.version is None or isinstance(after.version, Unknown):
                return None
            if brought.get(name, _version(view.probed.get(Package(name)))) != after.version:
                return None
        return state.without((name, str(after.version)) for name, after in concerned.items())

    def _removal(self, view: View, changed: Mapping[str, State]) -> AptTransactionState | None:
        """Return the removal of what was not there before the play; None where more may go with it."""
        if "--auto-remove" in self.options.split() or not changed.keys() <= set(self.specs):
            return None
        gone, held = [], []
        for name in self.specs:
            before, after = view.probed.get(Package(name)), view.planned.get(Package(name))
            after = before if after is None else after
            if after == PackageState():
                continue
            if name not in changed or not isinstance(after, PackageState) or not isinstance(after.version, str):
                return None
            # what was there before may be needed by anything
            if not isinstance(before, PackageState) or before.version is not None or after.status != "installed":
                return None
            gone.append(f"{name}={after.version}")
            held += [name] * after.held
        return AptTransactionState(
            nothing=None if gone else True, removes=tuple(sorted(gone)) or None, held=tuple(sorted(held)) or None
        )


def known_after(view: View, names: Iterable[str]) -> Unknown:
    """Return that something is known once packages are what an earlier task makes of them, by the task's label."""
    since = max((view.laid.get(Package(name), 0) for name in names), default=0)
    labels = [label for pattern, label in view.disturbances[:since] if pattern == ANYTHING]
    return Unknown(f"known after '{labels[-1]}'" if labels else "known after the package changes before it")


def _version(state: State | None) -> str | Unknown | None:
    return state.version if isinstance(state, PackageState) else None


def _upsets(before: State | None, after: PackageState) -> bool:
    """Tell whether a planned change is a removal, which may turn any transaction into another one."""
    was_there = before.version is not None if isinstance(before, PackageState) else True
    return was_there and after.version is None


def _all_items(state: AptTransactionState) -> tuple[tuple[str, str, str], ...]:
    return state.items(*CHANGES, "removes")


PROBE_APT_CACHE = Script(
    "probe_apt_cache",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  lists=no
  for list in /var/lib/apt/lists/*_*; do [ ! -e "$list" ] || lists=yes; done
  printf 'lists=%s\n' "$lists"
  stamp=$(stat -c %Y /var/lib/apt/periodic/update-success-stamp 2>/dev/null) ||
    stamp=$(stat -c %Y /var/lib/apt/lists 2>/dev/null)
  sources=$(stat -c %Y /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/sources.list.d/* 2>/dev/null |
    sort -n | tail -n 1)
  now=$(date +%s)
  printf '.stamp=%s\n.sources=%s\n.now=%s\n' "${stamp:-0}" "${sources:-0}" "${now:-0}"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class AptCacheState(State):
    """Whether apt has lists; when they were updated, when its sources changed, and the device's clock, in seconds."""

    lists: bool = False
    stamp: int | None = attached()
    sources: int | None = attached()
    now: int | None = attached()

    def older_than(self, seconds: int) -> bool:
        """Tell whether the lists are absent, older than that, or older than the sources."""
        stamp, now = self.stamp or 0, self.now or 0
        return not self.lists or now - stamp >= seconds or (self.sources or 0) > stamp


@observable
@dataclass(frozen=True)
class AptCache(Observable[AptCacheState]):
    """The package lists of apt."""

    kind: ClassVar[str] = "apt_cache"
    state: ClassVar[type[State]] = AptCacheState
    probe: ClassVar[Script] = PROBE_APT_CACHE

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("lists",)

    def is_absent(self, state: State) -> bool:
        """Tell whether there are no lists."""
        return isinstance(state, AptCacheState) and not state.lists


DPKG_LOCK_HOLDER = Script(
    "dpkg_lock_holder",
    r"""
# Prints who holds one of dpkg's and apt's locks, if anybody does.
wanted=' '
for id in $(stat -c %d:%i /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock \
  /var/cache/apt/archives/lock 2>/dev/null); do
  dev=${id%:*}
  wanted="$wanted$(printf '%02x:%02x:%s' $((dev >> 8 & 4095)) $((dev & 255 | dev >> 12 & 1048320)) "${id#*:}") "
done
[ -r /proc/locks ] || return 0
while read -r _ _ _ _ pid place _; do
  case $wanted in *" $place "*)
    comm=
    [ ! -r "/proc/$pid/comm" ] || read -r comm <"/proc/$pid/comm"
    printf '%s\n' "process $pid${comm:+ ($comm)}"
    return ;;
  esac
done </proc/locks
""",
)

PROBE_DPKG_LOCK = Script(
    "probe_dpkg_lock",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  holder=$(dpkg_lock_holder)
  [ -z "$holder" ] || printf '.holder=%s\n' "$(escape "$holder")"
  shift
done
""",
    (DPKG_LOCK_HOLDER, ESCAPE),
)


@dataclass(frozen=True, kw_only=True)
class DpkgLockState(State):
    """Who holds dpkg's lock at the moment, for a preflight to tell."""

    holder: str | None = attached()


@observable
@dataclass(frozen=True)
class DpkgLock(Observable[DpkgLockState]):
    """The locks of dpkg and apt; nothing of them is ever compared."""

    kind: ClassVar[str] = "dpkg_lock"
    state: ClassVar[type[State]] = DpkgLockState
    probe: ClassVar[Script] = PROBE_DPKG_LOCK
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("lock",)
