#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Boots QEMU guests with Debian's kernels, real switchdev and vDPA device models and kernel Open
# vSwitch, and runs in them the tests of this folder, or those whose file or name begins with NAME
# (as in: run.sh switchdev). The last line is the sum: N passed, N failed, N skipped.
#
#   sudo ./tests/system/run.sh [OPTION...] [NAME...] [-- PYTEST-ARGUMENT...]
#   sudo ./tests/system/run.sh [OPTION...] --shell [-- COMMAND...]
#
#   --kernel=SERIES  on Linux 6.1 or 6.12 alone; by default on each that a test names
#   --jobs=N         so many guests at a time (default ${OVDA_TEST_JOBS:-2})
#   --list           name the tests, where each runs, and run nothing
#   --shell          run a command in a guest instead, or a shell; its status is returned
#   --stack          with --shell: in a stack of Open vSwitch, engine and agent that runs
#   --machine=NAME   with --shell: in which guest, standard, viommu or systemd
#   --bound=SECONDS  with --shell: how long the command may take (default 600)
#   --junitxml=FILE  write the results into a file, for tests/run.sh to add up, not the last line
#   --asan           test the build with AddressSanitizer and UBSan (preset asan)
#   --preset=NAME    test another preset than release
#   --no-build       install and build nothing first
#
# Kernels and modules are fetched and built once; they stay in
# ${XDG_CACHE_HOME:-/var/cache}/ovs-vdpa-agent.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here

preset=release
setup=yes
rest=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --asan) preset=asan ;;
    --preset=*) preset=${1#*=} ;;
    --no-build) setup= ;;
    -h | --help) sed -n '4,26s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --) break ;;
    *) rest+=("$1") ;;
    esac
    shift
done
if [[ $EUID -ne 0 ]]; then
    echo "run.sh: needs root, for what the guest sees of this machine: sudo $0" >&2
    exit 2
fi
[[ -z $setup ]] || "$here/../setup.sh" "$preset"

export OVDA_BUILD=${OVDA_BUILD:-$here/../../build/$preset} PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$here/main.py" "${rest[@]}" "$@"
