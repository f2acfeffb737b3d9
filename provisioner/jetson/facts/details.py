"""What only `provision facts` asks: software, Docker, disks and what changes from moment to moment.

It takes a second on a small device (a package database, a daemon, a sensor's first line), so no other command asks.
Like the body of every run it prints `field=value` lines, writes nothing, and goes without whatever is missing.
"""

from __future__ import annotations

from provisioner.observables.docker import DOCKER_LINES
from provisioner.shell import Script

from .sensors import DETAILS_FREE, DETAILS_READINGS

DETAILS_TEXT = Script(
    "details_text",
    r"""
details_packages() {
  command -v dpkg-query >/dev/null 2>&1 || return 0
  dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n' 2>/dev/null | awk -F '|' '
    substr($1, 2, 1) == "n" || substr($1, 2, 1) == "c" { next }
    substr($1, 1, 1) == "h" { held = held " " $2 }
    $2 ~ /^(cuda-cudart-[0-9]+-[0-9]+|libcudnn[0-9]+(-cuda-[0-9]+)?|libnvinfer[0-9]+|tensorrt|nvidia-jetpack)$/ ||
      $2 ~ /^(nvidia-container-toolkit|nvidia-container-runtime|nvidia-docker2)$/ ||
      $2 ~ /^(docker[.]io|docker-ce|docker-ee|moby-engine)$/ { told = told " " $2 "=" $3 }
    END { print "held=" substr(held, 2); print "packages=" substr(told, 2) }' || :
}
details_docker() {
  details_said=$(docker_lines)
  while IFS= read -r details_read; do printf 'docker_%s\n' "$details_read"; done <<DETAILS_DOCKER
$details_said
DETAILS_DOCKER
  details_root=/var/lib/docker
  case $details_said in
  *answers=yes*)
    details_root=${details_said#*data_root=}
    details_root=${details_root%%
*} ;;
  *present=yes*)
    case $(details_within 10 docker ps -q 2>&1 >/dev/null) in
    *'permission denied'*) printf 'docker_denied=yes\n' ;;
    esac ;;
  esac
  details_free "$details_root"
}
details_power() {
  if command -v nvpmodel >/dev/null 2>&1; then
    printf 'power=%s\n' "$(details_within 5 nvpmodel -q 2>/dev/null | tr '\n' '|')"
  fi
  if [ -r /etc/nvpmodel.conf ]; then
    printf 'power_modes=%s\n' \
      "$(sed -n 's/^.*POWER_MODEL:* *ID=\([0-9]*\) *NAME=\([^ >]*\).*$/\1:\2/p' /etc/nvpmodel.conf | tr '\n' ' ')"
  fi
}
details_root_disk() {
  details_numbers='' details_disk=''
  [ -r /proc/self/mountinfo ] || return 0
  while read -r _ _ details_read _ details_key _; do
    [ "$details_key" != / ] || details_numbers=$details_read
  done </proc/self/mountinfo
  details_disk=$(cd -P "/sys/dev/block/$details_numbers" 2>/dev/null && pwd) || details_disk=
  # behind encryption or logical volumes the disk is the first one below
  for details_key in 1 2 3; do
    for details_zone in "$details_disk"/slaves/*; do
      [ -d "$details_zone" ] || continue
      details_disk=$(cd -P "$details_zone" 2>/dev/null && pwd) || details_disk=
      break
    done
  done
  [ ! -e "$details_disk/partition" ] || details_disk=${details_disk%/*}
  printf 'root_disk=%s\n' "${details_disk##*/}"
}
details_disks() {
  details_told=
  for details_disk in /sys/block/*; do
    details_type=disk
    case ${details_disk##*/} in
    mmcblk*boot* | mmcblk*rpmb* | mmcblk*gp[0-9]*) continue ;;
    mmcblk*)
      details_line "$details_disk/device/type"
      details_type=mmc
      case $details_read in MMC) details_type=emmc ;; SD*) details_type=sd ;; esac ;;
    nvme*) details_type=nvme ;;
    sd* | vd* | hd* | xvd*)
      case $(cd -P "$details_disk" 2>/dev/null && pwd) in */usb[0-9]*) details_type=usb ;; esac ;;
    *) continue ;;
    esac
    details_line "$details_disk/size"
    case $details_read in '' | 0 | *[!0-9]*) continue ;; esac
    details_told="$details_told${details_told:+ }${details_disk##*/}:$details_type:$details_read"
  done
  printf 'disks=%s\n' "$details_told"
}
details_all() {
  details_packages
  details_docker
  details_power
  details_readings
  details_root_disk
  details_disks
  details_read=no
  [ ! -e /var/run/reboot-required ] || details_read=yes
  printf 'reboot_required=%s\n' "$details_read"
  printf 'clock=%s\n' "$(date +%s 2>/dev/null)"
}
if command -v tr >/dev/null 2>&1; then
  details_all 2>/dev/null | tr -d '\000-\011\013-\037\177'
else
  details_all 2>/dev/null
fi
""",
    (DOCKER_LINES, DETAILS_READINGS, DETAILS_FREE),
)
"""Prints one `field=value` line for each thing that could be told; the clock comes last, as the rest takes its time."""

ASKED = (
    "held", "packages", "docker_present", "docker_answers", "docker_version", "docker_default_runtime",
    "docker_data_root", "docker_driver", "docker_live_restore", "docker_runtimes", "docker_denied", "root_free_kb",
    "root_size_kb", "data_root_free_kb", "data_root_size_kb", "power", "power_modes", "tegrastats", "zones", "gpu_load",
    "nvidia_smi", "load_average", "memory_available_kb", "root_disk", "disks", "reboot_required", "clock",
)  # fmt: skip
"""Every field that the body may print."""
