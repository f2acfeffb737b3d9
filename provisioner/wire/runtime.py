"""The shell functions that every batch stands on: markers, the lock, the journal, guards, effects, checks."""

from provisioner.shell import SETTLE, Script

MARK = Script(
    "mark",
    r"""
# Tells the controller, and the journal, something in one line behind the batch's nonce.
{
  printf '\n%s %s\n' "$nonce" "$*" >&3
  printf '\n%s %s\n' "$nonce" "$*" >&4
} 2>/dev/null
""",
)

SAY = Script(
    "say",
    r"""
# Tells the controller how far a running effect is.
printf '\n%s progress %s %s\n' "$nonce" "$step" "$*" 2>/dev/null >&3
""",
)

POUR = Script(
    "pour",
    r"""
# Hands on a file's first MiB; what is secret does not reach the journal.
[ -s "$1" ] || return 0
{
  head -c 1048576 -- "$1" >&3
  [ -n "$secret" ] || head -c 1048576 -- "$1" >&4
} 2>/dev/null
""",
)

NEXT = Script(
    "next",
    r"""
# Called by a probe before the text of each observable.
count=$((count + 1))
case $guarding in
  '') printf '\n%s obs %s\n' "$nonce" "$count" ;;
  many) echo -- ;;
esac
""",
)

NEXT_ALL = Script(
    "next_all",
    r"""
# number: called by a probe that tells of its next observables together; see Observable.surveyed.
printf '\n%s all %s %s\n' "$nonce" "$((count + 1))" "$1"
count=$((count + $1))
""",
)

PLACES = Script(
    "places",
    r"""
# Sets run_dir (gone at a reboot) and state_dir (kept), and makes them, for their owner alone.
if [ "$uid" -eq 0 ]; then
  run_dir=/run/provision state_dir=/var/lib/provision
else
  run_dir=${XDG_RUNTIME_DIR:-/tmp}/provision-$uid state_dir=${XDG_STATE_HOME:-$HOME/.local/state}/provision
fi
(umask 077; mkdir -p -- "$run_dir" "$state_dir") && [ -O "$run_dir" ] && [ ! -L "$run_dir" ]
""",
)

TAKE_LOCK = Script(
    "take_lock",
    r"""
# seconds: takes the device's lock, which the kernel frees when this shell dies, or tells who holds it. Who has nobody
# to tell it any more, or is asked to stop, does not wait.
exec 9>>"$run_dir/lock" || return 1
waited=0
until flock -n 9; do
  holder=$(cat "$run_dir/owner" 2>/dev/null)
  if [ "$waited" -ge "$1" ]; then mark busy "$holder"; exec 9>&-; return 1; fi
  printf '\n%s waiting %s\n' "$nonce" "$holder" 2>/dev/null >&3 || { exec 9>&-; return 1; }
  if [ -e "$run_dir/stop-$batch" ]; then refusal=stopped; exec 9>&-; return 1; fi
  waited=$((waited + 1))
  sleep 1
done
printf '%s pid %s since %s\n' "$batch" "$$" "$(date '+%H:%M:%S')" >"$run_dir/owner"
""",
    (MARK,),
)

BEGIN = Script(
    "begin",
    r"""
# batch wait: the lock, the journal and a work folder.
batch=$1 refusal=unwritable work=
places || return 1
refusal=busy
take_lock "$2" || return 1
refusal=unwritable
find "$run_dir" \( -name 'journal-*' -o -name 'stop-*' \) -mmin +10 -exec rm -f -- {} + 2>/dev/null
work=$run_dir/work
rm -rf -- "$work"
(umask 077; mkdir -- "$work" && : >"$run_dir/journal-$batch") || return 1
exec 4>>"$run_dir/journal-$batch"
""",
    (PLACES, TAKE_LOCK, MARK),
)

CONCLUDE = Script(
    "conclude",
    r"""
# status: ends the batch.
[ -z "$work" ] || rm -rf -- "$work"
work=
mark end "$1"
exec 4>/dev/null 9>&-
""",
    (MARK,),
)

STEP = Script(
    "step",
    r"""
# number secret: turns to a step, unless the controller asked to stop.
step=$1 secret=$2 rc=0 unmoved=
: >"$work/out"
: >"$work/err"
: >"$work/differs"
if [ -e "$run_dir/stop-$batch" ]; then
  rm -f -- "$run_dir/stop-$batch"
  mark stopped "$step"
  ended=stopped
  return 1
fi
""",
    (MARK,),
)

CURRENT = Script(
    "current",
    r"""
# kind filter arguments: the canonical text of one observable, by sed's filter.
guarding=${guarding_many:-1}
current_kind=$1 current_filter=$2
shift 2
current_text=$("probe_$current_kind" "$@" </dev/null 2>/dev/null)
case $current_filter$current_text in
  '/^\./d'.* | '/^\./d'*"
".*) ;;
  '/^\./d'*) [ -z "$current_text" ] || printf '%s\n' "$current_text"; return ;;
esac
printf '%s\n' "$current_text" | sed -e "$current_filter"
""",
)

GUARD = Script(
    "guard",
    r"""
# index kind filter expected arguments: is it still what the plan assumed?
index=$1 kind=$2 filter=$3 expected=$4
shift 4
got=$(current "$kind" "$filter" "$@")
[ "$got" = "$expected" ] && return
mark stale "$step" "$index"
printf '%s\n' "$got" >&3 2>/dev/null
ended=stale
return 1
""",
    (CURRENT, MARK),
)

DIFFERING = Script(
    "differing",
    r"""
# indices expected got head: of texts behind lines of --, each that differs, behind a line with head and its index.
printf '%s\n' "$2" >"$work/expected"
printf '%s\n' "$3" | awk -v indices="$1" -v head="$4" '
  FNR == 1 { side++; number = 0 }
  $0 == "--" { number++; next }
  { text[side, number] = text[side, number] $0 "\n" }
  END {
    ORS = ""
    count = split(indices, index_of, " ")
    for (number = 1; number <= count; number++)
      if (text[1, number] != text[2, number]) print head index_of[number] "\n" text[2, number]
  }' "$work/expected" -
""",
)

GUARDS = Script(
    "guards",
    r"""
# indices kind filter expected arguments: guard, for many at once.
indices=$1 kind=$2 filter=$3 expected=$4
shift 4
got=$(guarding_many=many; current "$kind" "$filter" "$@")
[ "$got" = "$expected" ] && return
got=$(differing "$indices" "$expected" "$got" '')
mark stale "$step" "${got%%"
"*}"
printf '%s\n' "$got" | awk 'NR > 1 && /^[0-9]+$/ { exit } NR > 1' >&3 2>/dev/null
ended=stale
return 1
""",
    (CURRENT, MARK, DIFFERING),
)

CHECKS = Script(
    "checks",
    r"""
# indices kind filter expected arguments: check, for many at once.
indices=$1 kind=$2 filter=$3 expected=$4
shift 4
got=$(guarding_many=many; current "$kind" "$filter" "$@")
[ "$got" = "$expected" ] && return
differing "$indices" "$expected" "$got" "$nonce differs $step " >>"$work/differs"
""",
    (CURRENT, DIFFERING),
)

OWE = Script(
    "owe",
    r"""
# handlers: writes down, before the change that owes them, what is still to be run.
[ -s "$state_dir/owed" ] || { printf '%s\n' "$@" >"$state_dir/owed" && settle_file "$state_dir/owed"; return; }
for handler in "$@"; do
  grep -qxF -- "$handler" "$state_dir/owed" && continue
  { printf '%s\n' "$handler" >>"$state_dir/owed" && settle_file "$state_dir/owed"; } || return 1
done
""",
    (SETTLE,),
)

SETTLED = Script(
    "settled",
    r"""
# handlers: strikes out what has been run.
for handler in "$@"; do
  [ -e "$state_dir/owed" ] || return 0
  grep -vxF -- "$handler" "$state_dir/owed" >"$state_dir/owed.new"
  mv -f -- "$state_dir/owed.new" "$state_dir/owed"
done
[ -s "$state_dir/owed" ] || rm -f -- "$state_dir/owed"
""",
)

RUN = Script(
    "run",
    r"""
# function values: one effect, in a shell of its own, with no input; what it prints is kept for the reply.
( "$@" ) </dev/null >>"$work/out" 2>>"$work/err" 4>&- 9>&-
rc=$?
return $rc
""",
)

RUN_AS = Script(
    "run_as",
    r"""
# user: the script on stdin, by another user's shell.
su -s /bin/sh "$1" >>"$work/out" 2>>"$work/err" 4>&- 9>&-
rc=$?
return $rc
""",
)

CHECK = Script(
    "check",
    r"""
# index kind filter expected arguments: did the effects leave what was predicted?
index=$1 kind=$2 filter=$3 expected=$4
shift 4
got=$(current "$kind" "$filter" "$@")
[ "$got" = "$expected" ] && return
printf '%s differs %s %s\n%s\n' "$nonce" "$step" "$index" "$got" >>"$work/differs"
""",
    (CURRENT,),
)

FINISH = Script(
    "finish",
    r"""
# goes_on: tells how the step ended; fails where the batch has to stop.
mark out "$step"
pour "$work/out"
mark err "$step"
pour "$work/err"
if [ -s "$work/differs" ]; then
  { printf '\n' >&3; cat "$work/differs" >&3; printf '\n' >&4; cat "$work/differs" >&4; } 2>/dev/null
fi
mark finished "$step" "$rc" "${unmoved:-no}"
[ "$rc" -eq 0 ] && [ ! -s "$work/differs" ] && [ -z "$unmoved" ] && return
[ "$1" = yes ] && return
ended=failed
return 1
""",
    (MARK, POUR),
)

ATTACH = Script(
    "attach",
    r"""
# batch: waits until that batch is over, and hands out its journal.
places || return 1
exec 9>>"$run_dir/lock"
until flock -n 9; do
  holder=$(cat "$run_dir/owner" 2>/dev/null)
  case $holder in "$1 "*) ;; *) break ;; esac
  mark waiting "$holder"
  sleep 1
done
exec 9>&-
if [ -e "$run_dir/journal-$1" ]; then cat "$run_dir/journal-$1" >&3; else mark end lost; fi
mark end attached
""",
    (PLACES, MARK),
)

LOOKING = (MARK, NEXT, NEXT_ALL)
"""What a batch that only looks stands on."""

RUNTIME = (
    MARK,
    SAY,
    POUR,
    NEXT,
    NEXT_ALL,
    PLACES,
    TAKE_LOCK,
    BEGIN,
    CONCLUDE,
    STEP,
    CURRENT,
    DIFFERING,
    GUARD,
    GUARDS,
    CHECKS,
    OWE,
    SETTLED,
    RUN,
    RUN_AS,
    CHECK,
    FINISH,
)

PRELUDE = r"""
LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
unset CDPATH ENV BASH_ENV
umask 022
cd /
trap '' HUP PIPE
exec 3>&1 4>/dev/null
uid=${PROVISION_UID:-$(id -u)}
unset PROVISION_UID
work= secret= guarding= guarding_many= step=
"""
