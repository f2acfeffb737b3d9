"""What stands at many paths, by a handful of processes: what shells do with lists and lines of that length is slow."""

from __future__ import annotations

from provisioner.shell import ESCAPE, Script

HASH_FILES = Script(
    "hash_files",
    r"""
# large path...: the SHA-256 of files, a line each, by a process in place of this one. openssl uses what the processor
# has for it, and sha256sum often does not; it takes longer to start, so it is for large files.
large=$1
shift
if [ -n "$large" ] && command -v openssl >/dev/null; then exec openssl dgst -sha256 -r "$@"; fi
exec sha256sum -- "$@"
""",
)

REAL_PATH = Script(
    "real_path",
    r"""
# Sets real to the canonical form of $1: links in its folders followed, dangling ones too, the last part left as it is.
# Where those lead in a circle there is none. The working folder is then any: probes run in a shell of their own.
case $1 in /?*/*) dir=${1%/*} ;; *) dir=/ ;; esac
if [ "$dir" != "$last_dir" ]; then
  last_dir=$dir
  rest='' up=0 hops=0
  while [ ! -d "$dir" ] && [ $hops -lt 40 ]; do
    if [ -L "$dir" ]; then
      hops=$((hops + 1))
      target=$(readlink -- "$dir")
      case $target in /*) dir=$target ;; *) dir=${dir%/*}/$target ;; esac
    else
      part=${dir##*/}
      case $dir in /?*/*) dir=${dir%/*} ;; *) dir=/ ;; esac
      case $part in
        '' | .) ;;
        ..) up=$((up + 1)) ;;
        *) if [ $up -gt 0 ]; then up=$((up - 1)); else rest=/$part$rest; fi ;;
      esac
    fi
  done
  while [ $up -gt 0 ]; do dir=$dir/.. up=$((up - 1)); done
  if [ $hops -lt 40 ]; then
    last_real=$dir
    if cd -P -- "$dir" 2>/dev/null; then last_real=$PWD; fi
    last_real=${last_real%/}$rest
  else
    last_real=.
  fi
fi
case $last_real in .) real= ;; *) real=${last_real%/}/${1##*/} ;; esac
case $real in *%* | *"
"*) real=$(escape "$real") ;; esac
""",
    (ESCAPE,),
)

FILE_NAMES = Script(
    "file_names",
    r"""
# path want ...: the folders of the paths, a line of //, and the paths; nothing where lines cannot hold a path.
printf '%s\n' "$@" | awk -v lines=$# '
  NR % 2 == 0 { next }
  /[|\\]/ || !/^\// { odd = 1; exit }
  {
    path[++count] = folder = $0
    sub("/[^/]*$", "", folder)
    if (!(folder in seen)) { seen[folder] = 1; print folder "/" }
  }
  END {
    if (odd || NR != lines) exit 1
    print "//"
    for (number = 1; number <= count; number++) print path[number]
  }'
""",
)

FILE_REALS = Script(
    "file_reals",
    r"""
# names: where the folders are once links are followed, a line each; . where those lead in a circle.
set -f
IFS='
'
last_dir=
for folder in $1; do
  [ "$folder" != // ] || return 0
  real_path "${folder}x"
  if [ -n "$real" ]; then printf '%s\n' "${real%/x}"; else echo .; fi
done
""",
    (REAL_PATH,),
)

FILE_FACTS = Script(
    "file_facts",
    r"""
# names: a line of facts for each path that is there, and one for the root, which shows that all were asked for.
set -f
IFS='
'
# shellcheck disable=SC2086 # words on purpose
set -- $1
while [ "$1" != // ]; do shift; done
shift
exec stat -c '%F|%u|%g|%a|%Y|%X|%Z|%i|%h|%d|%s|%y|%n' -- "$@" / 2>/dev/null
""",
)

FILE_CHOICE = Script(
    "file_choice",
    r"""
# Out of paths and wants, //, hashes that are known already, // and facts: the links, //, the hashes of what is as when
# it was hashed, //, a path for each owner and group, //, the size of all that has to be hashed, and its paths.
awk '
  $0 == "//" { part++; next }
  part == 0 { if (NR % 2) path = $0; else want[path] = $0; next }
  part == 1 { known[substr($0, 66)] = substr($0, 1, 64); next }
  {
    split($0, fact, "|")
    name = fact[13]
    if (name == "/") rooted = 1
    if (!(name in want)) next
    if (!((fact[2], fact[3]) in owned)) { owned[fact[2], fact[3]] = 1; of[++owners] = name }
    if (fact[1] ~ /^sym/) link[++links] = name
    if (fact[1] !~ /^reg/ || want[name] == ".") next
    same = fact[10] "|" fact[8] "|" fact[11] "|" fact[12]
    if (same in known) sum[++sums] = known[same] "  " name
    else { todo[++todos] = name; size += fact[11] }
  }
  END {
    if (!rooted) exit 1
    for (number = 1; number <= links; number++) print link[number]
    print "//"
    for (number = 1; number <= sums; number++) print sum[number]
    print "//"
    for (number = 1; number <= owners; number++) print of[number]
    print "//"
    printf "%.0f\n", size
    for (number = 1; number <= todos; number++) print todo[number]
  }'
""",
)

FILE_HASHES = Script(
    "file_hashes",
    r"""
# choice: the hashes of what has to be hashed.
set -f
IFS='
'
# shellcheck disable=SC2086 # words on purpose
set -- $1
unset IFS
for part in links sums owners; do
  while [ "$1" != // ]; do shift; done
  [ "$part" = owners ] || shift
done
large=
[ ${#2} -lt 7 ] || large=yes
shift 2
[ $# -eq 0 ] || hash_files "$large" "$@" 2>/dev/null
""",
    (HASH_FILES,),
)

FILE_OWNERS = Script(
    "file_owners",
    r"""
# choice: number and name of each owner and group; asked for each file, they would take longer than all the rest.
set -f
IFS='
'
owners='' part=0
for line in $1; do
  if [ "$line" = // ]; then part=$((part + 1))
  elif [ $part -eq 2 ]; then owners=$owners$line$IFS
  elif [ $part -gt 2 ]; then break
  fi
done
# shellcheck disable=SC2086 # words on purpose
set -- $owners
[ $# -eq 0 ] || exec stat -c '%u|%U|%g|%G' -- "$@" 2>/dev/null
""",
)

FILE_LEADS = Script(
    "file_leads",
    r"""
# choice: where the links lead, a line each.
case $1 in //*) return ;; esac
set -f
IFS='
'
links=
for link in $1; do
  [ "$link" != // ] || break
  links=$links$link$IFS
done
# shellcheck disable=SC2086 # words on purpose
set -- $links
exec readlink -- "$@" 2>/dev/null
""",
)

FILE_REPORT = Script(
    "file_report",
    r"""
# between: out of paths and wants, //, real folders, //, the choice, //, owners, //, facts, //, hashes, // and targets:
# how many bytes of content are wanted, and then what file_survey tells; or texts, each behind a line of between.
awk -v guarding="$guarding" -v between="$1" '
  function text(name, kind) {
    kind = substr(fact[name], 1, 3)
    kind = kind == "reg" ? "file" : kind == "dir" ? "directory" : kind == "sym" ? "link" : "other"
    split(fact[name], f, "|")
    print "type=" kind "\nreal=" real
    print "owner=" (f[2] == "UNKNOWN" ? f[3] : f[2]) "\ngroup=" (f[4] == "UNKNOWN" ? f[5] : f[4])
    if (kind != "link") print "mode=" substr("000", length(f[6])) f[6]
    if (flag == "f") print "sha256=" sum[name]
    if (kind == "link") print "target=" target[++led]
  }
  function survey(name) {
    told_real[number] = real == name ? "=" : real
    letter = flag == "e" && fact[name] ~ /^sym/ ? "l" : "-"
    if (flag == "f") {
      told_sum[number] = sum[name] == want[number] ? "=" : sum[name]
      split(fact[name], f, "|")
      if (want[number] != "-" && want[number] != sum[name] && f[13] <= 4194304) { letter = "y"; wanted += f[13] }
    }
    flags = flags flag
    letters = letters letter
  }
  $0 == "//" { part++; next }
  part == 0 && NR % 2 == 0 { want[count] = $0; next }
  part == 0 {
    path[++count] = folder = $0
    sub("/[^/]*$", "", folder)
    if (!(folder in order)) order[folder] = ++folders
    above[count] = folder
    next
  }
  part == 1 { within[++reals] = $0; next }
  part == 2 { links++; next }
  part == 3 || part == 8 { sum[substr($0, 67)] = substr($0, 1, 64); next }
  part == 6 { split($0, f, "|"); owner[f[1]] = f[2]; group[f[3]] = f[4]; next }
  part == 7 {
    split($0, f, "|")
    rest = length(f[1] f[2] f[3]) + 3
    rest = substr($0, rest, length($0) - rest - length(f[12] f[13]) - 1)
    fact[f[13]] = f[1] "|" owner[f[2]] "|" f[2] "|" group[f[3]] "|" f[3] rest
    if (owner[f[2]] == "" || group[f[3]] == "") unowned[f[13]] = 1
    next
  }
  part == 9 { gsub(/%/, "%25"); target[++targets] = $0 }
  END {
    for (number = 1; number <= count; number++) {
      name = path[number]
      if (name in fact && fact[name] ~ /^reg/ && want[number] != "." && !(name in sum)) exit 1
      if (name in unowned) exit 1
    }
    if (links != targets) exit 1
    if (guarding != "") print 0
    for (number = 1; number <= count; number++) {
      name = path[number]
      flag = !(name in fact) ? "-" : fact[name] ~ /^reg/ && want[number] != "." ? "f" : "e"
      real = within[order[above[number]]]
      base = substr(name, length(above[number]) + 2)
      gsub(/%/, "%25", base)
      real = real == "." ? "" : real "/" base
      if (guarding == "") { survey(name); continue }
      if (between != "") print between
      if (flag == "-") print "type=absent\nreal=" real
      else text(name)
    }
    if (guarding != "") exit
    print wanted + 0
    print flags "\n" letters
    for (number = 1; number <= count; number++) print told_real[number]
    for (number = 1; number <= count; number++) if (path[number] in fact) print fact[path[number]]
    for (number = 1; number <= count; number++) if (number in told_sum) print told_sum[number]
    for (number = 1; number <= targets; number++) print target[number]
  }'
""",
)

FILE_CONTENTS = Script(
    "file_contents",
    r"""
# letters size path want ...: the contents that are wanted, one behind the other: few bytes by one process, as hex.
todo=$1 size=$2
shift 2
while [ -n "$todo" ]; do
  case $todo in y*) set -- "$@" "$1" ;; esac
  todo=${todo#?}
  shift 2
done
if [ "$size" -lt 16384 ]; then echo hex; od -An -v -tx1 "$@" 2>/dev/null; return; fi
echo base64
cat -- "$@" 2>/dev/null | base64
""",
)

FILE_PIECES = Script(
    "file_pieces",
    r"""
# path want ...: probe_file for 31 paths after the other.
piece='' number=0
while [ "$number" -lt 62 ]; do
  number=$((number + 1))
  piece="$piece \"\${$number}\""
done
while [ $# -ge 62 ]; do
  eval "probe_file $piece"
  shift 62
done
[ $# -eq 0 ] || probe_file "$@"
""",
)

FILE_MANY = Script(
    "file_many",
    r"""
# path want ...: what probe_file tells, by as many processes as for few. It fails, and has told nothing, where lines
# cannot hold a name, where something comes or goes meanwhile or cannot be read, and where there is no awk.
names=$(file_names "$@" 2>/dev/null) || return 1
stats=$(file_facts "$names")
known=
[ -z "$guarding" ] || [ -z "$work" ] || known=$work/hashed
choice=$({ printf '%s\n' "$@" //; cat -- "$known"; printf '%s\n' // "$stats"; } 2>/dev/null | file_choice) || return 1
reals=$(file_reals "$names")
owners=$(file_owners "$choice")
hashes=$(file_hashes "$choice")
leads=$(file_leads "$choice")
told=$(printf '%s\n' "$@" // "$reals" // "$choice" // "$owners" // "$stats" // "$hashes" // ${leads:+"$leads"} |
  file_report "$(next)") || return 1
wanted=${told%%"
"*}
told=${told#*"
"}
if [ -z "$guarding" ]; then next_all $(($# / 2)); fi
printf '%s\n' "$told"
[ "$wanted" != 0 ] || return 0
told=${told#*"
"}
file_contents "${told%%"
"*}" "$wanted" "$@"
""",
    (
        FILE_NAMES,
        FILE_FACTS,
        FILE_CHOICE,
        FILE_REALS,
        FILE_OWNERS,
        FILE_HASHES,
        FILE_LEADS,
        FILE_REPORT,
        FILE_CONTENTS,
        FILE_PIECES,
    ),
)
