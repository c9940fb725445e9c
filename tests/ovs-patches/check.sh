#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks ovs-patches/: the series applies to the packaged source of Open vSwitch without fuzz; says
# what schema/ says; is clean by upstream's own checker; builds patch by patch without a new
# warning; its tests pass, and fail without the code they test; the existing tests that it could
# touch pass; the man page shows every option. Then it runs the system tests on the kernel's
# datapath in a guest, and the project's functional tests against the patched Open vSwitch.
#
#   sudo ./tests/ovs-patches/check.sh [OPTION...]
#
#   --if-changed     what needs no build always; the rest only if ovs-patches/checked does not name
#                    this state of the series, its base and its tests
#   --no-build       what needs no build, and no more
#   --record         write that file when all has passed
#   --no-functional  without the project's functional tests
#   --preset=NAME    run those with the daemons in build/NAME; without it, with release, which is
#                    built first
#   --print-bin      build what is not built, print the folder with the patched programs, end
#
# The build stays in ${XDG_CACHE_HOME:-/var/cache}/ovs-vdpa-agent and makes the next run quicker.
# ccache is used if it is there.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
source "$here/common.sh"
source "$here/steps.sh"

arguments=("$@")
functional=yes preset="" print_bin="" if_changed="" record="" no_build=""
while [[ $# -gt 0 ]]; do
    case $1 in
    --if-changed) if_changed=yes ;;
    --record) record=yes ;;
    --no-build) no_build=yes ;;
    --no-functional) functional= ;;
    --preset=*) preset=${1#*=} ;;
    --print-bin) print_bin=yes ;;
    -h | --help) sed -n '4,23s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown option $1" ;;
    esac
    shift
done
[[ -z $record || (-n $functional && $EUID -eq 0) ]] ||
    die "--record is for a run of everything, as root"

need_tools
mkdir -p "$cache/logs"
# One at a time. The lock is with flock alone: a daemon that outlives a check that was killed must not
# keep the next one out.
if [[ ${OVDA_PATCHES_LOCKED:-} != "$$" ]]; then
    exec flock --close "$cache/lock" \
        bash -c 'OVDA_PATCHES_LOCKED=$$ exec "$0" "$@"' "$0" "${arguments[@]}"
fi
base_key=$(digest "$tarball")-$base_recipe
# The schema is not part of it: what follows from that is compared with the patches each time.
key=$base_key-$(digest "$patches"/{series,*.patch} "$root/tests/ovs-patches")
readonly base_key key

if [[ -n $print_bin ]]; then
    if [[ ! -e $cache/bin/built-from || $(< "$cache/bin/built-from") != "$key" ]]; then
        { prepare_tree; apply_series; prepare_base
          git -C "$tree" checkout -q -f "patch-$count"; build final; link_programs; } >&2
    fi
    echo "$cache/bin"
    exit 0
fi

prepare_tree
apply_series
check_form
[[ -z $no_build ]] || exit 0
if [[ -n $if_changed && -e $recorded && $(sed -n 1p "$recorded") == "$key" ]]; then
    say "the rest has passed for this state of the series, says ovs-patches/checked"
    exit 0
fi
prepare_base
for ((n = 1; n <= count; n++)); do
    check_patch "$n"
done
check_touched_suites
check_man_page
link_programs
check_kernel_datapath
if [[ -n $functional ]]; then
    functional_tests
fi
if [[ -n $record ]]; then
    printf '%s\n' "$key" > "$recorded"
    say "recorded in ovs-patches/checked"
elif [[ ! -e $recorded || $(sed -n 1p "$recorded") != "$key" ]]; then
    say "ovs-patches/checked names another state; to have this one recorded: --record"
fi
say "the series is good"
