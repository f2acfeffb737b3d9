"""What a device measures of itself, in shell: shared by what is asked once and what is asked every few seconds."""

from __future__ import annotations

from provisioner.shell import Script

DETAILS_LINE = Script(
    "details_line",
    r"""
# path: leaves the first line of a file in details_read.
details_read=
if [ -r "$1" ]; then IFS= read -r details_read <"$1" || :; fi 2>/dev/null
""",
)

DETAILS_WITHIN = Script(
    "details_within",
    r"""
# seconds word ...: runs a program for so long at most, where that can be had.
if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi
""",
)

DETAILS_READINGS = Script(
    "details_readings",
    r"""
details_stats=
if command -v tegrastats >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  details_stats=$(timeout 3 tegrastats --interval 200 2>/dev/null | head -n 1) || details_stats=
fi
printf 'tegrastats=%s\n' "$details_stats"
details_zones=
for details_zone in /sys/class/thermal/thermal_zone*; do
  [ -r "$details_zone/temp" ] || continue
  details_line "$details_zone/type"
  details_type=${details_read%% *}
  details_line "$details_zone/temp"
  [ -z "$details_read" ] || details_zones="$details_zones${details_zones:+ }$details_type:$details_read"
done
printf 'zones=%s\n' "$details_zones"
for details_zone in /sys/class/devfreq/*gpu*/device/load /sys/class/devfreq/*g[apv]1*b*/device/load \
  /sys/devices/gpu.0/load /sys/devices/platform/gpu.0/load; do
  [ -r "$details_zone" ] || continue
  details_line "$details_zone"
  printf 'gpu_load=%s\n' "$details_read"
  break
done
if [ -z "$details_stats" ] && command -v nvidia-smi >/dev/null 2>&1; then
  printf 'nvidia_smi=%s\n' "$(details_within 10 nvidia-smi --query-gpu=temperature.gpu,utilization.gpu \
    --format=csv,noheader,nounits 2>/dev/null | head -n 1)"
fi
details_line /proc/loadavg
printf 'load_average=%s\n' "${details_read%% *}"
if [ -r /proc/meminfo ]; then
  while read -r details_key details_read _; do
    [ "$details_key" = MemAvailable: ] || continue
    printf 'memory_available_kb=%s\n' "$details_read"
    break
  done </proc/meminfo
fi
""",
    (DETAILS_LINE, DETAILS_WITHIN),
)
"""Prints what tegrastats, /sys and /proc say of temperature, load, power and memory."""

DETAILS_FREE = Script(
    "details_free",
    r"""
# folder: prints what is free where it lies, or where it would lie, and on the root file system.
details_root=$1
while [ ! -d "$details_root" ] && [ -n "$details_root" ]; do details_root=${details_root%/*}; done
details_within 20 df -Pk / "${details_root:-/}" 2>/dev/null | awk '
  NR > 1 && NR < 4 { for (i = 1; i <= NF; i++) if ($i ~ /%$/)
    printf "%s_free_kb=%.0f\n%s_size_kb=%.0f\n", w[NR], $(i - 1), w[NR], $(i - 3) }
  BEGIN { w[2] = "root"; w[3] = "data_root" }' || :
""",
    (DETAILS_WITHIN,),
)
