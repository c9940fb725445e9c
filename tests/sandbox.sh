#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A running ovs-vdpa-agent to play with: ovsdb-server, ovs-vswitchd, engine and agent in one folder,
# in network and mount namespaces of their own, with a bridge br0. Gives a shell in it, or runs the
# command, whose exit status it returns; ends and removes everything on leaving.
#
#   sudo ./tests/sandbox.sh [OPTION...] [-- COMMAND [ARGUMENT...]]
#
#   --asan          use the build with AddressSanitizer and UBSan
#   --tsan          use the build with ThreadSanitizer
#   --agent-only    start no engine
#   --tso           set other_config:userspace-tso-enable=true
#   --rundir=DIR    put everything into DIR, and keep database and logs there
#   --no-build      install and build nothing first
#   --enter=DIR     a shell or the command in a sandbox that runs already (see demo.sh --keep)
#   --end=DIR       end such a sandbox
set -euo pipefail

tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly tests_dir

preset=release
setup=yes
arguments=()
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
    --asan) preset=asan ;;
    --tsan) preset=tsan ;;
    --no-build) setup= ;;
    --agent-only | --tso | --rundir=*) arguments+=("$1") ;;
    --enter=* | --end=*) arguments+=("$1") setup= ;;
    -h | --help) sed -n '4,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "sandbox.sh: unknown option $1; see --help" >&2; exit 2 ;;
    esac
    shift
done
if [[ $EUID -ne 0 ]]; then
    echo "sandbox.sh: needs root, for its namespaces: sudo $0" >&2
    exit 2
fi
[[ -z $setup ]] || "$tests_dir/setup.sh" "$preset"
export OVDA_BUILD=${OVDA_BUILD:-$tests_dir/../build/$preset}
export PYTHONPATH=$tests_dir/functional PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -m harness.sandbox_command "${arguments[@]}" "$@"
