#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Usage: sudo tests/bench/run.sh [ports] [rows] [tcp] [vdpa] [vfs]
#
# Builds the release preset and measures; all of it when nothing is named. Figures of one run are
# comparable with each other; those of two runs on a busy machine are not.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root" >&2; exit 1; }
"$here/../setup.sh" release
command -v /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk >/dev/null ||
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        openvswitch-switch-dpdk
exec /usr/bin/python3 "$here/main.py" "$@"
