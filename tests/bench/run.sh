#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the release preset and measures; all of it when nothing is named. Figures of one run are
# comparable with each other; those of two runs on a busy machine are not.
#
#   sudo ./tests/bench/run.sh [ports] [rows] [tcp] [vdpa] [vfs]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
for part in "$@"; do
    case $part in
    ports | rows | tcp | vdpa | vfs) ;;
    -h | --help) sed -n '4,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: there is no part $part to measure; see --help" >&2; exit 2 ;;
    esac
done
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root" >&2; exit 1; }
"$here/../setup.sh" release
command -v /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        openvswitch-switch-dpdk
exec /usr/bin/python3 "$here/main.py" "$@"
