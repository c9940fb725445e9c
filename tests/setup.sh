#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes a Debian 12 machine ready and builds: installs the packages that are missing, prepares
# hugepages and /dev/net/tun, and configures and builds the presets named (default: release).
# Running it again is quick and changes nothing.
#
#   sudo ./tests/setup.sh [--no-build] [PRESET...]
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly source_dir

# The one list of what the project needs, by purpose.
readonly packages=(
    # Building.
    cmake ninja-build g++ clang clang-format clang-tidy pkg-config python3
    openvswitch-source libssl-dev libunbound-dev libcap-ng-dev libnuma-dev libxdp-dev libbpf-dev
    libdpdk-dev libnl-3-dev libnl-genl-3-dev libnl-route-3-dev libboost-dev libboost-system-dev
    nlohmann-json3-dev libexpected-dev libsystemd-dev libgtest-dev libgmock-dev
    # Building and testing Open vSwitch with ovs-patches/.
    autoconf automake libtool make git groff-base
    # Running and testing.
    openvswitch-switch openvswitch-common dpdk dpdk-dev libcap2-bin iproute2 iputils-ping ethtool
    iperf3 user-mode-linux busybox-static qemu-system-x86 python3-pytest python3-pytest-xdist
    strace util-linux systemd udev
    # Kernels for guests, and the modules that they lack.
    kmod make gcc-12 libelf1 xz-utils
)
# 2 MiB pages: DPDK takes a few for each engine, and several tests run side by side.
readonly hugepages=512
readonly hugepages_file=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages

say() { printf '%s\n' "setup: $*" >&2; }
die() { say "$*"; exit 1; }

need_root() {
    [[ $EUID -eq 0 ]] || die "$1: run this as root"
}

missing_packages() {
    # dpkg-query names nothing for a package that it has never heard of.
    comm -23 <(printf '%s\n' "${packages[@]}" | sort -u) \
        <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
            sed -n 's/^installed //p' | sort -u)
}

install_packages() {
    local missing policy=/usr/sbin/policy-rc.d made_policy=
    mapfile -t missing < <(missing_packages)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    need_root "packages are missing (${missing[*]})"
    say "installing ${missing[*]}"
    # The tests bring their own Open vSwitch up: installing the package must not start one on
    # the host. A policy that is there already stays as it is.
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        made_policy=yes
    fi
    local status=0
    { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y \
        --no-install-recommends install "${missing[@]}"; } >&2 || status=$?
    [[ -z $made_policy ]] || rm -f "$policy"
    [[ $status -eq 0 ]] || die "the packages could not be installed"
}

prepare_machine() {
    if [[ $(< "$hugepages_file") -lt $hugepages ]]; then
        need_root "too few hugepages"
        echo "$hugepages" > "$hugepages_file"
        [[ $(< "$hugepages_file") -ge $hugepages ]] ||
            die "the kernel gives $(< "$hugepages_file") hugepages of 2 MiB, $hugepages are needed"
    fi
    if [[ ! -c /dev/net/tun ]]; then
        need_root "/dev/net/tun is missing"
        modprobe tun 2>/dev/null || true
        if [[ ! -c /dev/net/tun ]]; then
            mkdir -p /dev/net
            mknod /dev/net/tun c 10 200
            chmod 666 /dev/net/tun
        fi
    fi
}

# The build belongs to whom the source belongs to, also when root started it.
as_owner() {
    local owner
    owner=$(stat -c %U "$source_dir")
    if [[ $EUID -eq 0 && $owner != root && $owner != UNKNOWN ]]; then
        runuser -u "$owner" -- "$@"
    else
        "$@"
    fi
}

build() {
    local preset=$1
    cd "$source_dir"
    if [[ ! -e build/$preset/build.ninja ]]; then
        say "configuring build/$preset"
        as_owner cmake --preset "$preset" >&2
    fi
    say "building build/$preset"
    as_owner cmake --build --preset "$preset" -j "${OVDA_JOBS:-$(nproc)}" >&2
}

main() {
    local presets=() no_build=
    while [[ $# -gt 0 ]]; do
        case $1 in
        --no-build) no_build=yes ;;
        -h | --help) sed -n '4,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
        -*) die "unknown option $1" ;;
        *) presets+=("$1") ;;
        esac
        shift
    done
    install_packages
    prepare_machine
    [[ -z $no_build ]] || return 0
    [[ ${#presets[@]} -gt 0 ]] || presets=(release)
    local preset
    for preset in "${presets[@]}"; do
        build "$preset"
    done
}

main "$@"
