#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Shows ovs-vdpa-agent at work on any Debian 12 machine, no special hardware needed: installs what
# is missing, builds, starts an isolated Open vSwitch with agent and engine, makes a port with
# ovs-vsctl, boots a virtual machine on it, measures, removes the port, and cleans up.
#
#   sudo ./tests/demo.sh [--qemu] [--keep] [--no-build]
#
#   --qemu       boot QEMU with a Debian kernel (fetched once) and not User-mode Linux
#   --keep       leave everything running before the port is removed, and say how to enter it
#   --no-build   install and build nothing first
set -euo pipefail

tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly tests_dir

setup=yes
arguments=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --qemu | --keep) arguments+=("$1") ;;
    --no-build) setup= ;;
    -h | --help) sed -n '4,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "demo.sh: unknown option $1; see --help" >&2; exit 2 ;;
    esac
    shift
done
if [[ $EUID -ne 0 ]]; then
    echo "demo.sh: needs root, for its namespaces: sudo $0" >&2
    exit 2
fi
[[ -z $setup ]] || "$tests_dir/setup.sh" release
export OVDA_BUILD=${OVDA_BUILD:-$tests_dir/../build/release}
export PYTHONPATH=$tests_dir/functional PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
exec /usr/bin/python3 -m harness.demo "${arguments[@]}"
