"""Users and groups, as the name service has them: local ones, and those of a directory."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, Unknown, attached, observable
from provisioner.records import dataclass
from provisioner.shell import ESCAPE, Script

NAME_ENTRY = Script(
    "name_entry",
    r"""
# database key: sets entry to what follows the name in the line of that name, and found to the name; 1 if there is none.
# A group may be asked for by its number.
found='' entry=''
case $2 in '' | -* | *[:/]* | *'
'*) return 1 ;; esac
lf='
'
if command -v getent >/dev/null 2>&1; then
  entry=$(timeout 20 getent "$1" "$2" 2>/dev/null)
else
  entry=$(cat "/etc/$1" 2>/dev/null)
fi
case $1,$2,$entry in
group,*[!0-9]*,*) ;;
group,*,*"$lf"*) ;;
group,*,*:*) found=${entry%%:*} entry=${entry#*:}; return 0 ;;
esac
case $lf$entry in
*"$lf$2:"*)
  entry=$lf$entry
  entry=${entry#*"$lf$2:"}
  entry=${entry%%"$lf"*} found=$2 ;;
*) entry=; return 1 ;;
esac
""",
)

NAME_LIST = Script(
    "name_list",
    r"""
# field: prints the names on stdin, one a line, as one sorted field.
sed -e '/^$/d' -e 's/%/%25/g' -e 's/ /%20/g' | sort -u | tr '\n' ' ' | sed -e 's/ $//'
""",
)

USER_GROUPS = Script(
    "user_groups",
    r"""
# name primary: the user's other groups; names of a directory's groups may have spaces.
{ id -Gnz -- "$1" 2>/dev/null | tr '\000' '\n' | grep . || id -Gn "$1" 2>/dev/null | tr ' ' '\n'; } |
  grep -Fxv -e "$2" | name_list
""",
    (NAME_LIST,),
)

USER_DEFAULTS = Script(
    "user_defaults",
    r"""
# What useradd takes where nothing is said.
base=/home shell=
if [ -r /etc/default/useradd ]; then
  while IFS='=' read -r key value; do
    case $key in HOME) base=$value ;; SHELL) shell=$value ;; esac
  done </etc/default/useradd
fi
printf '.base=%s\n' "$(escape "$base")"
[ -z "$shell" ] || printf '.login_shell=%s\n' "$(escape "$shell")"
mode='' mask=022
if [ -r /etc/login.defs ]; then
  while read -r key value _; do
    case $key,$value in HOME_MODE,[0-7]*) mode=$value ;; UMASK,[0-7]*) mask=$value ;; esac
  done </etc/login.defs
fi
[ -n "$mode" ] || mode=$(printf %o $((0777 & ~0$mask)))
printf '.home_mode=%04o\n' "0$mode"
""",
    (ESCAPE,),
)

USER_LINES = Script(
    "user_lines",
    r"""
# name: the text of one user.
name_entry passwd "$1" || { printf 'present=no\n'; user_defaults; return; }
entry=${entry#*:}
uid=${entry%%:*} entry=${entry#*:}
gid=${entry%%:*} entry=${entry#*:}
comment=${entry%%:*} entry=${entry#*:}
home=${entry%%:*} shell=${entry#*:}
group=$(id -gn "$1" 2>/dev/null) || group=$gid
printf 'present=yes\nuid=%s\ngroup=%s\ngroups=%s\n' "$uid" "$(escape "$group")" "$(user_groups "$1" "$group")"
printf 'comment=%s\nhome=%s\nshell=%s\n' "$(escape "$comment")" "$(escape "$home")" "$(escape "$shell")"
if [ -r /etc/shadow ] && name_entry shadow "$1"; then
  case ${entry%%:*} in '') entry=none ;; '!'* | '*'*) entry=locked ;; *) entry='set' ;; esac
  printf 'password=%s\n' "$entry"
fi
if [ -d "$home" ]; then printf '.home_there=yes\n'; else user_defaults; fi
""",
    (NAME_ENTRY, USER_GROUPS, USER_DEFAULTS, ESCAPE),
)

PROBE_USER = Script(
    "probe_user",
    r"""
# name ...
while [ $# -gt 0 ]; do
  next
  user_lines "$1"
  shift
done
""",
    (USER_LINES,),
)


@dataclass(frozen=True, kw_only=True)
class UserState(State):
    """What the name service has of a user.

    `group` is the primary one's name, `groups` are the others, sorted. `password` tells whether one is `set`,
    `locked` or `none`, where the look may read that; never what it is. Of a user who is absent, or whose
    home is, `base`, `login_shell` and `home_mode` are what useradd would take.
    """

    present: bool = False
    uid: int | Unknown | None = None
    group: str | Unknown | None = None
    groups: tuple[str, ...] | Unknown | None = None
    comment: str | Unknown | None = None
    home: str | Unknown | None = None
    shell: str | Unknown | None = None
    password: str | Unknown | None = None
    home_there: bool | None = attached()
    base: str | None = attached()
    login_shell: str | None = attached()
    home_mode: str | None = attached()


@observable
@dataclass(frozen=True)
class User(Observable[UserState]):
    """A user by name."""

    name: str

    kind: ClassVar[str] = "user"
    state: ClassVar[type[State]] = UserState
    probe: ClassVar[Script] = PROBE_USER

    def is_absent(self, state: State) -> bool:
        """Tell whether there is no such user."""
        return isinstance(state, UserState) and not state.present


PROBE_USER_PASSWORD = Script(
    "probe_password",
    r"""
# name sha256 ...: whether the hash of the user's password has that digest; silent where it may not be read.
while [ $# -gt 0 ]; do
  next
  if [ -r /etc/shadow ]; then
    matches=no
    if name_entry shadow "$1"; then
      sum=$(printf %s "${entry%%:*}" | sha256sum)
      [ "${sum%% *}" != "$2" ] || matches=yes
    fi
    printf 'matches=%s\n' "$matches"
  fi
  shift 2
done
""",
    (NAME_ENTRY,),
)


@dataclass(frozen=True, kw_only=True)
class UserPasswordState(State):
    """Whether a user has the password that was asked about; None where that may not be read."""

    matches: bool | None = None


@observable
@dataclass(frozen=True)
class UserPassword(Observable[UserPasswordState]):
    """Whether a user's password hash is the one of a SHA-256; neither is ever printed."""

    name: str
    digest: str

    kind: ClassVar[str] = "password"
    state: ClassVar[type[State]] = UserPasswordState
    probe: ClassVar[Script] = PROBE_USER_PASSWORD
    arity: ClassVar[int] = 2

    def __str__(self) -> str:
        """Return whose it is."""
        return f"{self.kind} {self.name}"


PROBE_GROUP = Script(
    "probe_group",
    r"""
# name ...
while [ $# -gt 0 ]; do
  next
  if name_entry group "$1"; then
    entry=${entry#*:}
    printf 'present=yes\ngid=%s\nmembers=%s\n' "${entry%%:*}" "$(printf '%s\n' "${entry#*:}" | tr , '\n' | name_list)"
    [ "$found" = "$1" ] || printf '.name=%s\n' "$(escape "$found")"
  else
    printf 'present=no\n'
  fi
  shift
done
""",
    (NAME_ENTRY, NAME_LIST, ESCAPE),
)


@dataclass(frozen=True, kw_only=True)
class GroupState(State):
    """What the name service has of a group; `name` is given where it was asked for by its number."""

    present: bool = False
    gid: int | Unknown | None = None
    members: tuple[str, ...] | Unknown | None = None
    name: str | None = attached()


@observable
@dataclass(frozen=True)
class Group(Observable[GroupState]):
    """A group by name, or by its number."""

    name: str

    kind: ClassVar[str] = "group"
    state: ClassVar[type[State]] = GroupState
    probe: ClassVar[Script] = PROBE_GROUP

    def is_absent(self, state: State) -> bool:
        """Tell whether there is no such group."""
        return isinstance(state, GroupState) and not state.present
