# SPDX-License-Identifier: Apache-2.0
# Sourced by check.sh: the steps of the check.

readonly cache=${XDG_CACHE_HOME:-/var/cache}/ovs-vdpa-agent/ovs-patches
readonly tree=$cache/tree results=$cache/logs/results
readonly recorded=$patches/checked
jobs=${OVDA_JOBS:-$(nproc)}
readonly jobs
compiler=${CC:-gcc}
[[ -n ${CC:-} ]] || ! command -v ccache > /dev/null || compiler="ccache gcc"
readonly compiler

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
# Files of the unprivileged and of the system suite whose tests the series could break.
readonly touched_suites='bridge|ovs-vsctl|ovs-vswitchd|completion|netdev-type|dpif-netdev|'\
'ofproto|ofproto-dpif'
readonly touched_system_suites='system-interface|system-tap'
# What Autotest says of a test, at the end of a line.
readonly outcomes='ok|FAILED|skipped|expected failure|UNEXPECTED PASS'
# A test that did not pass, in a line of $results.
readonly bad_result='^([0-9]+) (FAILED|did not run|UNEXPECTED PASS)$'

# digest PATH...: of the content of all files.
digest() { find "$@" -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum |
    sed 's,/.*/,,' | sha256sum | cut -c 1-16; }

# make_tree LOG TARGET...: appends to logs/LOG.
make_tree() {
    local log=$cache/logs/$1
    shift
    make -C "$tree" -s -j"$jobs" LIBTOOLFLAGS=--silent "$@" >> "$log" 2>&1 ||
        { tail -n 30 "$log" >&2; die "the build failed: $log"; }
}

# build STEP: builds the tree as it is and what its tests need; the output goes to logs/STEP.
build() {
    rm -f "$cache/logs/$1"
    make_tree "$1"
    make_tree "$1" check TESTSUITEFLAGS=--version
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

# numbers_of_files SUITE PATTERN: the same by the files that the tests stand in, without ".at".
numbers_of_files() {
    (cd "$tree/tests" && "./$1" --list) | sed -nE "s/^ *([0-9]+): ($2)\.at:.*/\1/p"
}

# run_tests SUITE NUMBER...: runs them, and leaves "NUMBER ok", "NUMBER FAILED" or the like, one a
# line, in $results.
run_tests() {
    local suite=$1 target=check number
    shift
    local command=(make -C "$tree" -s LIBTOOLFLAGS=--silent)
    [[ $suite == testsuite ]] || target=check-system-userspace
    if [[ $EUID -eq 0 ]]; then
        # Bridges and ports must not meet those of the host, and nothing may answer at addresses
        # that a test takes for nobody's.
        command=(unshare --net --mount sh -c 'ip link set lo up && mount -t sysfs none /sys &&
            exec "$@"' sh "${command[@]}")
    fi
    # Its status says only that not all passed; what each did is read from its output.
    "${command[@]}" "$target" TESTSUITEFLAGS="-j${at_once:-$jobs} $*" \
        > "$cache/logs/tests" 2>&1 || true
    sed -nE "s/^ *([0-9]+): .* ($outcomes)( .*)?\$/\1 \2/p" "$cache/logs/tests" > "$results"
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

# own_tests N RESULT WHAT: the tests of patch N have that result.
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

# The packaged source as a git tree, new if the package or the recipe is.
prepare_tree() {
    if [[ ! -e $cache/unpacked || $(< "$cache/unpacked") != "$base_key" ]]; then
        rm -rf "$tree" "$cache/unpacked" "$cache/base-built"
        unpack "$tree"
        echo "$base_key" > "$cache/unpacked"
    fi
}

# Builds it without patches: what follows compiles only what differs, and is compared with it.
prepare_base() {
    local built="$base_key $compiler"
    if [[ ! -e $cache/base-built || $(< "$cache/base-built") != "$built" ]]; then
        say "building $(base_version) without patches, once"
        git -C "$tree" checkout -q -f base
        (cd "$tree" && ./configure -q --prefix=/usr --localstatedir=/var --sysconfdir=/etc \
            --enable-ssl CC="$compiler" PYTHON3="$python") > "$cache/logs/configure" 2>&1 ||
            die "configure failed: $cache/logs/configure"
        build base
        echo "$built" > "$cache/base-built"
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
    "$python" "$root/schema/generate.py" ovs-check "$cache/apply" ||
        die "run tests/ovs-patches/refresh.sh"
    git -C "$tree" worktree remove --force "$cache/apply"
    say "$count patches apply to $(base_version) and say what schema/ says"
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
        grep -q "^Signed-off-by: $(author Author) <$(author Email)>\$" "$patches/$patch" ||
            die "$patch is not signed off by its author"
        [[ -n ${unit_tests[$n]:-} ]] || die "steps.sh does not know the tests of $patch"
    done
    say "checkpatch.py is content; each patch has NEWS, tests and Signed-off-by"
}

# Patch $1: builds and tests it, first with its tests and documentation alone.
check_patch() {
    local n=$1
    # From the state before it, so that nothing is compiled but what the tests bring.
    git -C "$tree" checkout -q -f "patch-$n~"
    git -C "$tree" diff --name-only -z "patch-$n~" "patch-$n" |
        grep -zE '^(tests/|NEWS$|Documentation/)|\.xml$' |
        xargs -0 git -C "$tree" checkout -q "patch-$n" --
    build "patch-$n-without-code"
    own_tests "$n" FAILED "patch $n without its code"

    git -C "$tree" checkout -q -f "patch-$n"
    # For their warnings: nothing else makes the build compile its tests again.
    git -C "$tree" diff --name-only -z "patch-$n~" "patch-$n" -- 'tests/*.c' |
        (cd "$tree" && xargs -0 -r touch)
    build "patch-$n"
    warnings "patch-$n" | comm -23 - <(warnings base) > "$cache/logs/new-warnings"
    [[ ! -s $cache/logs/new-warnings ]] ||
        { cat "$cache/logs/new-warnings" >&2; die "patch $n brings warnings"; }
    say "patch $n: no new warning"
    own_tests "$n" ok "patch $n"
}

# touched SUITE FILES WHAT: all tests of these files pass, some perhaps at the second try, alone: a
# few of upstream's depend on time, and fail on a busy machine.
touched() {
    local suite=$1 what=$3 chosen
    mapfile -t chosen < <(numbers_of_files "$suite" "$2")
    [[ ${#chosen[@]} -gt 0 ]] || die "$what: there are none in $2"
    run_tests "$suite" "${chosen[@]}"
    say "$what: $(sort -k 2 "$results" | cut -d ' ' -f 2- | uniq -c | paste -s -d ,)"
    mapfile -t chosen < <(sed -nE "s/$bad_result/\1/p" "$results")
    [[ ${#chosen[@]} -gt 0 ]] || return 0
    at_once=1 run_tests "$suite" "${chosen[@]}"
    all_are ok "$what, once more"
}

check_touched_suites() {
    touched testsuite "$touched_suites" "existing tests"
    [[ $EUID -ne 0 ]] ||
        touched system-userspace-testsuite "$touched_system_suites" "existing system tests"
}

check_man_page() {
    "$python" "$root/tests/ovs-patches/man_page.py" "$tree/vswitchd/ovs-vswitchd.conf.db.5" |
        sed 's/^/ovs-patches: man page: /'
}

# The system tests again, on the kernel's datapath, which this machine need not have.
check_kernel_datapath() {
    local status=0 log=$cache/logs/kernel-datapath
    if [[ $EUID -ne 0 ]]; then
        say "kernel datapath SKIPPED, it needs root"
        return 0
    fi
    make_tree "kernel-suite" tests/system-kmod-testsuite
    "$python" "$root/tests/ovs-patches/kernel_datapath.py" "$tree" "${system_tests[@]}" \
        > "$log" 2>&1 || status=$?
    case $status in
    0) sed 's/^/ovs-patches: kernel datapath: /' "$log" ;;
    77) say "kernel datapath SKIPPED: $(tail -n 1 "$log")"; no_guest=yes ;;
    *) tail -n 60 "$log" >&2; die "the kernel datapath's tests failed: $log" ;;
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
    export OVDA_OVS_BIN=$cache/bin
    [[ -n $preset ]] || { preset=release; "$root/tests/setup.sh" release; }
    local own=$root/tests/ovs-patches/test_patched_ovs.py
    local pytest="pytest -c $root/tests/functional/pytest.ini -p conftest -p no:cacheprovider"
    say "the project's functional tests with the patched Open vSwitch"
    "$root/tests/run.sh" --functional --no-build --preset="$preset"
    say "its own beside the agent's"
    "$root/tests/run.sh" --functional --no-build --preset="$preset" -c pytest.ini -p conftest "$own"
    [[ -z ${no_guest:-} ]] || return 0
    say "the same on the kernel's datapath"
    OVDA_DATAPATH=system "$root/tests/system/run.sh" --no-build --preset="$preset" --shell -- \
        bash -c "cd '$root/tests/functional' && exec '$python' -m $pytest '$own'"
}
