#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks ovs-patches/: the series applies to the packaged source of Open vSwitch without fuzz; says
# what schema/ says; is clean by upstream's own checker; builds patch by patch without a new
# warning; its tests pass, and fail without the code they test; the existing tests that it could
# touch pass; the man page shows every option. Then it runs the project's functional tests against
# the patched Open vSwitch.
#
#   sudo ./tests/ovs-patches/check.sh [OPTION...]
#
#   --force          also when nothing changed since it passed
#   --no-functional  without the project's functional tests
#   --preset=NAME    run those with the daemons in build/NAME; without it, with release, which is
#                    built first
#   --print-bin      build what is not built, print the folder with the patched programs, end
#
# The build stays in ${XDG_CACHE_HOME:-/var/cache}/ovs-vdpa-agent; with it, a run after a change
# takes some minutes, and one without a change takes a second.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly cache=${XDG_CACHE_HOME:-/var/cache}/ovs-vdpa-agent/ovs-patches
jobs=${OVDA_JOBS:-$(nproc)}
readonly jobs

# What each patch brings, by number: the titles of its tests in Open vSwitch's unprivileged suite
# and in its system suite, as regular expressions.
readonly -A unit_tests=(
    [1]='vDPA options - '
    [2]='bridge - mistakes in options of vDPA ports are logged once$'
    [3]='bridge - vDPA port waits for its network device$'
    [4]='vsctl-bashcomp - argument completion$'
)
readonly -A system_tests=(
    [1]='interface - options of a vDPA port$'
    [2]='interface - options of a vDPA port$'
    [3]='interface - vDPA port is added when its network device comes$'
)
# Files of the unprivileged suite whose tests the series could break.
readonly touched_suites='bridge|ovs-vsctl|ovs-vswitchd|completion|netdev-type|dpif-netdev|'\
'ofproto|ofproto-dpif|checkpatch'

# digest PATH...: of the content of all files.
digest() { find "$@" -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum | sha256sum |
    cut -c 1-16; }

# build STEP: builds the tree as it is; the output goes to logs/STEP.
build() {
    local log=$cache/logs/$1
    nice -n 10 make -C "$tree" -s -j"$jobs" LIBTOOLFLAGS=--silent > "$log" 2>&1 ||
        { tail -n 30 "$log" >&2; die "$1: the build failed: $log"; }
    nice -n 10 make -C "$tree" -s -j"$jobs" LIBTOOLFLAGS=--silent check \
        TESTSUITEFLAGS=--version >> "$log" 2>&1 || { tail -n 30 "$log" >&2; die "$log"; }
}

warnings() { sed -n 's/^\([^ :]*\):[0-9:]* \(warning: .*\)/\1: \2/p' "$cache/logs/$1" | sort -u; }

# numbers SUITE PATTERN: the numbers of the tests in tests/SUITE whose titles match.
numbers() {
    (cd "$tree/tests" && "./$1" --list) |
        awk -v pattern="$2" '$1 ~ /^[0-9]+:$/ {
            number = $1; sub(":", "", number)
            title = $0; sub(/^ *[0-9]+: [^ ]+ +/, "", title)
            if (title ~ "^" pattern) print number
        }'
}

# run_tests SUITE NUMBER...: runs them, and leaves "NUMBER ok", "NUMBER FAILED" or the like, one a
# line, in $results.
run_tests() {
    local suite=$1 target=check
    shift
    local command=(nice -n 10 make -C "$tree" -s LIBTOOLFLAGS=--silent)
    if [[ $suite != testsuite ]]; then
        target=check-system-userspace
        # Its bridges and ports must not meet those of the host.
        command=(unshare --net --mount sh -c 'ip link set lo up && mount -t sysfs none /sys &&
            exec "$@"' sh "${command[@]}")
    fi
    "${command[@]}" "$target" TESTSUITEFLAGS="-j$jobs $*" > "$cache/logs/tests" 2>&1 || true
    sed -nE 's/^ *([0-9]+): .* (ok|FAILED|skipped|expected failure|UNEXPECTED PASS)( .*)?$/\1 \2/p' \
        "$cache/logs/tests" > "$results"
    local number
    for number in "$@"; do
        grep -q "^$number " "$results" || echo "$number did not run" >> "$results"
    done
}

# all_are RESULT WHAT: dies unless each test just run had that result.
all_are() {
    if grep -v " $1\$" "$results" >&2; then
        die "$2: not all tests gave \"$1\": $cache/logs/tests"
    fi
    say "$2: $(wc -l < "$results") test(s) $1"
}

# The tests of patch $1 have result $2.
own_tests() {
    local n=$1 wanted=$2 what=$3 chosen
    mapfile -t chosen < <(numbers testsuite "${unit_tests[$n]}")
    [[ ${#chosen[@]} -gt 0 ]] || die "patch $n brings no test ${unit_tests[$n]}"
    run_tests testsuite "${chosen[@]}"
    all_are "$wanted" "$what"
    [[ -n ${system_tests[$n]:-} ]] || return 0
    if [[ $EUID -ne 0 ]]; then
        say "$what: system tests SKIPPED, they need root"
        return 0
    fi
    mapfile -t chosen < <(numbers system-userspace-testsuite "${system_tests[$n]}")
    [[ ${#chosen[@]} -gt 0 ]] || die "patch $n brings no test ${system_tests[$n]}"
    run_tests system-userspace-testsuite "${chosen[@]}"
    all_are "$wanted" "$what, system"
}

prepare_base() {
    if [[ ! -e $cache/base-built || $(< "$cache/base-built") != "$base_key" ]]; then
        say "building $(base_version) without patches, once"
        rm -rf "$tree" "$cache/base-built"
        unpack "$tree"
        (cd "$tree" && ./configure -q --prefix=/usr --localstatedir=/var --sysconfdir=/etc \
            --enable-ssl PYTHON3="$python") > "$cache/logs/configure" 2>&1 ||
            die "configure failed: $cache/logs/configure"
        build base
        echo "$base_key" > "$cache/base-built"
    fi
}

# Applies the series beside the build tree, so that only files that differ get a new time.
apply_series() {
    rm -rf "$cache/apply"
    git -C "$tree" worktree prune
    git -C "$tree" worktree add -q --detach "$cache/apply" base
    local patch n=0
    for patch in $(series); do
        n=$((n + 1))
        git -C "$cache/apply" am -q "$patches/$patch" || die "$patch does not apply"
        git -C "$tree" tag -f "patch-$n" "$(git -C "$cache/apply" rev-parse HEAD)" > /dev/null
    done
    count=$n
    git -C "$tree" worktree remove --force "$cache/apply"
    say "$count patches apply to $(base_version)"
}

check_form() {
    local patch n=0 files
    (cd "$patches" && printf '%s\n' *.patch) | diff - <(series | sort) ||
        die "the series and the patches in the folder differ"
    (cd "$tree" && "$python" utilities/checkpatch.py -q "$patches"/*.patch) ||
        die "checkpatch.py objects"
    for patch in $(series); do
        n=$((n + 1))
        files=$(git -C "$tree" diff --name-only "patch-$n~" "patch-$n")
        grep -qx NEWS <<< "$files" || die "$patch has no entry in NEWS"
        grep -q '^tests/.*\.at$' <<< "$files" || die "$patch has no test"
        [[ -n ${unit_tests[$n]:-} ]] || die "check.sh does not know the tests of $patch"
    done
    say "checkpatch.py is content; each patch has NEWS and tests"
}

# Code is what is neither test nor documentation.
code_files() {
    git -C "$tree" diff --name-only "$@" | grep -vE '^(tests/|NEWS$|Documentation/)|\.xml$'
}

# Patch $1: builds and tests it, first with its tests and documentation alone.
check_patch() {
    local n=$1 file
    git -C "$tree" checkout -q -f "patch-$n"
    for file in $(code_files --diff-filter=A "patch-$n~" "patch-$n"); do
        # From the index, too: the build compares that with the distribution.
        git -C "$tree" rm -q -f "$file"
    done
    for file in $(code_files --diff-filter=a "patch-$n~" "patch-$n"); do
        git -C "$tree" show "patch-$n~:$file" > "$tree/$file"
    done
    build "patch-$n-without-code"
    own_tests "$n" FAILED "patch $n without its code"

    git -C "$tree" checkout -q -f "patch-$n"
    # For their warnings: nothing else makes the build compile its tests again.
    git -C "$tree" diff --name-only -z "patch-$n~" "patch-$n" -- '*.c' |
        (cd "$tree" && xargs -0 -r touch)
    build "patch-$n"
    warnings "patch-$n" | comm -23 - <(warnings base) > "$cache/logs/new-warnings"
    [[ ! -s $cache/logs/new-warnings ]] ||
        { cat "$cache/logs/new-warnings" >&2; die "patch $n brings warnings"; }
    own_tests "$n" ok "patch $n"
}

check_touched_suites() {
    local chosen
    mapfile -t chosen < <(cd "$tree/tests" && ./testsuite --list |
        sed -nE "s/^ *([0-9]+): ($touched_suites)\.at:.*/\1/p")
    run_tests testsuite "${chosen[@]}"
    say "existing tests: $(sort -k 2 "$results" | cut -d ' ' -f 2- | uniq -c | paste -s -d ,)"
    # Some of upstream's depend on time: those that fail on a busy machine get a second try.
    mapfile -t chosen < <(sed -nE 's/^([0-9]+) (FAILED|did not run)$/\1/p' "$results")
    [[ ${#chosen[@]} -gt 0 ]] || return 0
    run_tests testsuite "${chosen[@]}"
    all_are ok "existing tests, once more"
}

# The system tests again, on the kernel's datapath, which this machine need not have.
check_kernel_datapath() {
    local status=0
    if [[ $EUID -ne 0 ]]; then
        say "kernel datapath SKIPPED, it needs root"
        return 0
    fi
    "$python" "$root/tests/ovs-patches/kernel_datapath.py" "$tree" "${system_tests[@]}" \
        > "$cache/logs/kernel-datapath" 2>&1 || status=$?
    case $status in
    0) sed 's/^/ovs-patches: kernel datapath: /' "$cache/logs/kernel-datapath" ;;
    77) say "kernel datapath SKIPPED: $(tail -n 1 "$cache/logs/kernel-datapath")" ;;
    *) tail -n 60 "$cache/logs/kernel-datapath" >&2
       die "the kernel datapath's tests failed: $cache/logs/kernel-datapath" ;;
    esac
}

link_programs() {
    rm -rf "${cache:?}/bin"
    mkdir "$cache/bin"
    local program
    for program in vswitchd/ovs-vswitchd ovsdb/ovsdb-{server,client,tool} \
        utilities/ovs-{vsctl,appctl,ofctl,dpctl}; do
        ln -s "$tree/$program" "$cache/bin/"
    done
    echo "$key" > "$cache/bin/built-from"
}

functional_tests() {
    if [[ $EUID -ne 0 ]]; then
        say "functional tests SKIPPED, they need root"
        return 0
    fi
    say "the project's functional tests with the patched Open vSwitch"
    export OVDA_OVS_BIN=$cache/bin
    if [[ -n $preset ]]; then
        export OVDA_BUILD=$root/build/$preset
        "$root/tests/run.sh" --functional --no-build --preset="$preset"
    else
        "$root/tests/run.sh" --functional
    fi
    (cd "$root/tests/functional" && "$python" -m pytest -c pytest.ini -p conftest \
        "$root/tests/ovs-patches/test_patched_ovs.py")
}

force="" functional=yes preset="" print_bin=""
while [[ $# -gt 0 ]]; do
    case $1 in
    --force) force=yes ;;
    --no-functional) functional= ;;
    --preset=*) preset=${1#*=} ;;
    --print-bin) print_bin=yes ;;
    -h | --help) sed -n '4,20s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown option $1" ;;
    esac
    shift
done

need_tools
mkdir -p "$cache/logs"
exec 9> "$cache/lock"
flock 9
readonly tree=$cache/tree results=$cache/logs/results
base_key=$(digest "$tarball")-$base_recipe
key=$base_key-$(digest "$patches"/{series,*.patch} "$root/schema"/*.{py,json} "$root/tests/ovs-patches")
readonly base_key key

if [[ -n $print_bin ]]; then
    if [[ ! -e $cache/bin/built-from || $(< "$cache/bin/built-from") != "$key" ]]; then
        { prepare_base; apply_series; git -C "$tree" checkout -q -f "patch-$count"
          build final; link_programs; } >&2
    fi
    echo "$cache/bin"
    exit 0
fi

if [[ -z $force && -e $cache/passed && $(< "$cache/passed") == "$key" ]]; then
    say "nothing changed since the series passed"
else
    rm -f "$cache/passed"
    prepare_base
    apply_series
    check_form
    git -C "$tree" checkout -q -f "patch-$count"
    "$python" "$root/schema/generate.py" ovs-check "$tree" ||
        die "run tests/ovs-patches/refresh.sh"
    for ((n = 1; n <= count; n++)); do
        check_patch "$n"
    done
    check_touched_suites
    "$python" "$root/tests/ovs-patches/man_page.py" "$tree/vswitchd/ovs-vswitchd.conf.db.5" |
        sed 's/^/ovs-patches: man page: /'
    check_kernel_datapath
    link_programs
    if [[ $EUID -eq 0 ]]; then
        echo "$key" > "$cache/passed"
    fi
    say "the series is good"
fi
[[ -z $functional ]] || functional_tests
