"""What is asked of every host in every run: one POSIX sh body, without Python on the device.

The body prints `field=value` lines. It starts few processes (files are read by the shell itself) and every one of them
may be missing; a field that could not be read is empty.
"""

from __future__ import annotations

FIELDS: tuple[str, ...] = (
    "hostname", "kernel_arch", "userland_arch", "kernel", "os_id", "os_version", "os_codename", "model", "compatible",
    "release_line", "l4t_core", "l4t_kernel", "soc_family", "memory_kb", "first_boot_pending", "page_size",
    "apt_sources", "machine_id", "init", "login_user", "login_uid", "login_home", "clock", "nvidia_smi",
)  # fmt: skip
"""Everything that the body prints, in its order; each field once, empty where it could not be read."""

VOLATILE: frozenset[str] = frozenset({"clock"})
"""Fields that differ between two looks; they never enter a guard or a comparison."""

FACTS_BODY = r"""
facts_line() {
    facts_read=
    if [ -r "$1" ]; then IFS= read -r facts_read <"$1" || :; fi 2>/dev/null
}
facts_tree() {
    facts_read=
    for facts_root in /proc/device-tree /sys/firmware/devicetree/base; do
        [ -r "$facts_root/$1" ] || continue
        facts_read=$(tr '\000\n' '||' <"$facts_root/$1" 2>/dev/null) || facts_read=
        facts_read=${facts_read%|}
        return 0
    done
}
facts_os() {
    os_id='' os_version='' os_codename=''
    [ -r /etc/os-release ] || return 0
    while IFS='=' read -r facts_key facts_read || [ -n "$facts_key" ]; do
        facts_read=${facts_read#[\"\']}
        facts_read=${facts_read%[\"\']}
        case $facts_key in
        ID) os_id=$facts_read ;;
        VERSION_ID) os_version=$facts_read ;;
        VERSION_CODENAME) os_codename=$facts_read ;;
        esac
    done </etc/os-release
}
facts_packages() {
    l4t_core='' l4t_kernel=''
    # dpkg-query reads the state of all packages, which takes longer than all else here.
    case $kernel_arch in x86_64 | amd64) return 0 ;; esac
    while read -r facts_state facts_name facts_version; do
        case $facts_state in ?[nc]*) continue ;; esac
        case $facts_name in
        nvidia-l4t-core) l4t_core=$facts_version ;;
        nvidia-l4t-kernel) l4t_kernel=$facts_version ;;
        esac
    done <<FACTS_PACKAGES
$(dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' nvidia-l4t-core nvidia-l4t-kernel 2>/dev/null)
FACTS_PACKAGES
}
facts_gpu() {
    nvidia_smi=
    case "$compatible|$soc_family|$release_line" in
    *nvidia,tegra* | *'|tegra'* | *'|Tegra'* | *'|# R'*) return 0 ;;
    esac
    if command -v nvidia-smi >/dev/null 2>&1; then
        facts_query='--query-gpu=name,driver_version --format=csv,noheader'
        facts_wait=
        command -v timeout >/dev/null 2>&1 && facts_wait='timeout 10'
        # shellcheck disable=SC2086 # words on purpose
        nvidia_smi=$($facts_wait nvidia-smi $facts_query 2>/dev/null) || nvidia_smi=
    fi
    [ -z "$nvidia_smi" ] || return 0
    # A GPU whose driver is missing, or does not answer, is there all the same.
    for facts_device in /sys/bus/pci/devices/*; do
        facts_line "$facts_device/vendor"
        [ "$facts_read" = 0x10de ] || continue
        facts_line "$facts_device/class"
        case $facts_read in 0x03*) nvidia_smi='NVIDIA GPU'; break ;; esac
    done
}
facts_apt() {
    apt_sources=missing
    facts_list=/etc/apt/sources.list.d/nvidia-l4t-apt-source.list
    [ -r "$facts_list" ] || return 0
    while read -r facts_read || [ -n "$facts_read" ]; do
        case $facts_read in
        deb*'<SOC>'*) apt_sources=placeholder ;;
        deb*) [ "$apt_sources" = placeholder ] || apt_sources=sane ;;
        '#deb '* | '# deb '*) [ "$apt_sources" != missing ] || apt_sources=commented ;;
        esac
    done <"$facts_list"
}
facts_memory() {
    memory_kb=
    [ -r /proc/meminfo ] || return 0
    while read -r facts_key facts_read _; do
        [ "$facts_key" = MemTotal: ] || continue
        memory_kb=$facts_read
        break
    done </proc/meminfo
}
facts_page() {
    page_size=
    if [ -r /proc/self/smaps ]; then
        while read -r facts_key facts_read _; do
            [ "$facts_key" = KernelPageSize: ] || continue
            page_size=$((facts_read * 1024))
            break
        done </proc/self/smaps
    fi 2>/dev/null
    [ -n "$page_size" ] || page_size=$(getconf PAGESIZE 2>/dev/null) || page_size=
}
facts_login() {
    login_user=${SUDO_USER:-}
    [ -n "$login_user" ] || login_user=${LOGNAME:-}
    [ -n "$login_user" ] || login_user=$(id -un 2>/dev/null) || login_user=
    login_uid='' login_home=''
    [ ! -r /etc/passwd ] || while IFS=: read -r facts_name _ facts_uid _ _ facts_home _; do
        [ "$facts_name" = "$login_user" ] || continue
        login_uid=$facts_uid login_home=$facts_home
        break
    done </etc/passwd
    [ -n "$login_uid" ] || login_uid=$(id -u "$login_user" 2>/dev/null) || login_uid=
}
facts_all() {
    hostname='' kernel='' kernel_arch=''
    read -r hostname kernel kernel_arch _ <<FACTS_UNAME
$(uname -nrm 2>/dev/null)
FACTS_UNAME
    userland_arch=$(dpkg --print-architecture 2>/dev/null) || userland_arch=
    [ -n "$userland_arch" ] || userland_arch=$(getconf LONG_BIT 2>/dev/null) || userland_arch=
    facts_os
    facts_tree model; model=$facts_read
    facts_tree compatible; compatible=$facts_read
    facts_line /etc/nv_tegra_release; release_line=$facts_read
    facts_line /sys/devices/soc0/family; soc_family=$facts_read
    facts_line /etc/machine-id; machine_id=$facts_read
    facts_packages
    facts_gpu
    facts_apt
    facts_memory
    facts_login
    first_boot_pending=no
    [ -e /etc/nv/nvfirstboot ] && first_boot_pending=yes
    init=other
    [ -d /run/systemd/system ] && init=systemd
    facts_page
    printf '%s\n' "hostname=$hostname" "kernel_arch=$kernel_arch" "userland_arch=$userland_arch" "kernel=$kernel" \
        "os_id=$os_id" "os_version=$os_version" "os_codename=$os_codename" "model=$model" "compatible=$compatible" \
        "release_line=$release_line" "l4t_core=$l4t_core" "l4t_kernel=$l4t_kernel" "soc_family=$soc_family" \
        "memory_kb=$memory_kb" "first_boot_pending=$first_boot_pending" "page_size=$page_size" \
        "apt_sources=$apt_sources" "machine_id=$machine_id" "init=$init" "login_user=$login_user" \
        "login_uid=$login_uid" "login_home=$login_home" "${facts_attached-}clock=$(date +%s 2>/dev/null)"
    facts_sep=
    printf 'nvidia_smi='
    while IFS= read -r facts_read; do
        printf '%s%s' "$facts_sep" "$facts_read"
        facts_sep='|'
    done <<FACTS_GPUS
$nvidia_smi
FACTS_GPUS
    printf '\n'
}
facts_all
"""
"""Prints one `field=value` line per fact; to be run with LC_ALL=C, sbin in PATH and /dev/null as stdin.

The clock's name has `facts_attached` before it, a dot where the text is that of a look.
"""
