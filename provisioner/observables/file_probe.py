"""What stands at paths, as a shell tells it: one after the other, or with `file_many` in few processes."""

from __future__ import annotations

from provisioner.observables.file_many import FILE_CONTENTS, HASH_FILES, REAL_PATH
from provisioner.shell import ESCAPE, Script

FILE_FLAGS = Script(
    "file_flags",
    r"""
# path want ...: sets flags, one letter each: - absent, f a file to hash, e anything else; linked, where one is a link;
# how many are there and how many of them are to be hashed, and as what eval finds those among the arguments.
flags='' linked='' there=0 hashed=0 present='' files='' at=1
while [ $# -gt 0 ]; do
  if [ -L "$1" ]; then flag=e linked=yes
  elif [ -f "$1" ] && [ "$2" != . ]; then flag=f hashed=$((hashed + 1)) files="$files \"\${$at}\""
  elif [ -e "$1" ]; then flag=e
  else flag=-
  fi
  [ "$flag" = - ] || there=$((there + 1)) present="$present \"\${$at}\""
  flags=$flags$flag at=$((at + 2))
  shift 2
done
""",
)

FILE_STATS = Script(
    "file_stats",
    r"""
# path ...: one line of facts for each, from one process; where one is a link, from one that tells where it leads, too.
[ -z "$linked" ] || exec find "$@" -maxdepth 0 -printf '%y|%u|%U|%g|%G|%m|%Ts|%As|%Cs|%i|%n|%D|%l|%s\n' 2>/dev/null
exec stat -c '%F|%U|%u|%G|%g|%a|%Y|%X|%Z|%i|%h|%d|%s' -- "$@" 2>/dev/null
""",
)

CUT_LINE = Script(
    "cut_line",
    r"""
# text: sets cut to its first line, and rest to what follows.
cut=${1%%"
"*}
case $1 in *"
"*) rest=${1#*"
"} ;; *) rest= ;; esac
""",
)

ANY_LARGE = Script(
    "any_large",
    r"""
# lines of facts: sets large where one of the files has 10 MB, which is told last.
large=
case "$1
" in *[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]"
"*) large=yes ;; esac
""",
)

COUNT_LINES = Script(
    "count_lines",
    r"""
# text: sets lines; a process for that would take longer than all the rest.
set -f
IFS='
'
# shellcheck disable=SC2086 # words on purpose
set -- $1
unset IFS
set +f
lines=$#
""",
)

FILE_LINES = Script(
    "file_lines",
    r"""
# facts sum path want: the text of one path that is there, as FileState renders it.
line=$1
kind=${line%%|*} line=${line#*|}
owner=${line%%|*} line=${line#*|}
uid=${line%%|*} line=${line#*|}
group=${line%%|*} line=${line#*|}
gid=${line%%|*} line=${line#*|}
mode=${line%%|*}
[ "$owner" != UNKNOWN ] || owner=$uid
[ "$group" != UNKNOWN ] || group=$gid
case $mode in ?) mode=000$mode ;; ??) mode=00$mode ;; ???) mode=0$mode ;; esac
case $kind in
  reg* | f) kind='file' ;;
  dir* | d) kind='directory' ;;
  sym* | l) kind='link' mode= ;;
  *) kind='other' ;;
esac
printf 'type=%s\nreal=%s\nowner=%s\ngroup=%s\n' "$kind" "$real" "$owner" "$group"
[ -z "$mode" ] || printf 'mode=%s\n' "$mode"
[ "$kind" != file ] || [ "$4" = . ] || printf 'sha256=%s\n' "${2:-unreadable}"
[ "$kind" = link ] || return 0
if [ -n "$linked" ]; then line=${line#*|*|*|*|*|*|*|} line=${line%|*}; else line=$(readlink -- "$3"); fi
printf 'target=%s\n' "$(escape "$line")"
""",
    (ESCAPE,),
)

FILE_TEXTS = Script(
    "file_texts",
    r"""
# path want ...: the text of each path, out of flags, stats and sums.
while [ $# -gt 0 ]; do
  next
  real_path "$1"
  flag=${flags%"${flags#?}"}
  flags=${flags#?}
  if [ "$flag" = - ]; then printf 'type=absent\nreal=%s\n' "$real"
  else
    cut_line "$stats"
    line=$cut stats=$rest cut=
    [ "$flag" != f ] || { cut_line "$sums"; sums=$rest cut=${cut#\\}; }
    file_lines "$line" "${cut%% *}" "$1" "$2"
  fi
  shift 2
done
""",
    (REAL_PATH, CUT_LINE, FILE_LINES),
)

FILE_LETTERS = Script(
    "file_letters",
    r"""
# path want ...: sets reals, a line each, and letters: y where the content is wanted, l for a link, else -; and how many
# bytes are wanted. Lines are taken one after the other: to cut each off a text copies all that is left of it.
reals='' letters='' wanted=0
set -f
IFS='
'
for line in $stats ''; do
  while [ "${flags#-}" != "$flags" ]; do
    real_path "$1"
    reals=$reals$real$IFS letters=$letters- flags=${flags#?}
    shift 2
  done
  [ -n "$line" ] || break
  real_path "$1"
  reals=$reals$real$IFS letter=-
  case $flags:$line in
    e*:sym* | e*:l\|*) letter=l ;;
    f*)
      size=${line##*|}
      # A line begins with a backslash where the name has one; the name is then written otherwise.
      case $2:$IFS$sums$IFS in -:* | "$2:"*"$IFS$2 "?"$1$IFS"* | "$2:"*"$IFS\\$2 "*) ;; *)
        [ "$size" -gt 4194304 ] || letter=y wanted=$((wanted + size)) ;;
      esac ;;
  esac
  letters=$letters$letter flags=${flags#?}
  shift 2
done
unset IFS
set +f
""",
    (REAL_PATH,),
)

FILE_TARGETS = Script(
    "file_targets",
    r"""
# letters path want ...: where the links lead, a line each, from one process where their names allow that.
todo=$1
shift
while [ -n "$todo" ]; do
  case $todo in l*) set -- "$@" "$1" ;; esac
  todo=${todo#?}
  shift 2
done
targets=$(readlink -- "$@" 2>/dev/null)
count_lines "$targets"
case $targets in *%* | "
"* | *"

"*) lines= ;; esac
if [ "$lines" = $# ]; then printf '%s\n' "$targets"; return; fi
for path do escape "$(readlink -- "$path" 2>/dev/null)"; done
""",
    (COUNT_LINES, ESCAPE),
)

FILE_SURVEY = Script(
    "file_survey",
    r"""
# path want ...: what is there to tell of all paths, for File.surveyed; making texts of it takes longer here than there.
next_all $(($# / 2))
seen=$flags facts=$stats hashes=$sums
file_letters "$@"
printf '%s\n%s\n%s' "$seen" "$letters" "$reals"
[ -z "$facts" ] || printf '%s\n' "$facts"
[ -z "$hashes" ] || printf '%s\n' "$hashes"
case $linked$letters in yes*) ;; *l*) file_targets "$letters" "$@" ;; esac
case $letters in *y*) file_contents "$letters" "$wanted" "$@" ;; esac
""",
    (FILE_LETTERS, FILE_TARGETS, FILE_CONTENTS),
)

PROBE_FILE = Script(
    "probe_file",
    r"""
# path want ...: want is . (no hash), - (hash), + (hash and content), or a hash (content unless it is that one).
if command -v file_many >/dev/null; then
  if [ -n "$guarding" ] && [ -n "$work" ] && [ -s "$work/hashed" ] && file_many "$@"; then return; fi
  if [ $# -ge 64 ]; then
    file_many "$@" || file_pieces "$@"
    return
  fi
fi
last_dir=
file_flags "$@"
[ $# -gt 2 ] || linked=
stats='' sums='' torn=
[ -z "$present" ] || eval "stats=\$(file_stats $present)"
if [ -n "$linked" ] && [ -z "$stats" ]; then
  linked= # busybox's find tells nothing
  eval "stats=\$(file_stats $present)"
fi
any_large "$stats"
[ -z "$files" ] || eval "sums=\$(hash_files '$large' $files 2>/dev/null)"
count_lines "$stats"
[ "$lines" -eq "$there" ] || torn=yes
count_lines "$sums"
[ "$lines" -eq "$hashed" ] || torn=yes
case $torn$# in
  yes2) if [ -n "$stats" ]; then flags=u; else flags=- sums=; fi ;;
  yes*)
    # Something came or went between two processes, or cannot be read: one by one, then.
    while [ $# -gt 0 ]; do probe_file "$1" "$2"; shift 2; done
    return ;;
esac
if [ -n "$guarding" ]; then file_texts "$@"; else file_survey "$@"; fi
""",
    (FILE_FLAGS, FILE_STATS, ANY_LARGE, HASH_FILES, COUNT_LINES, FILE_TEXTS, FILE_SURVEY),
)
