#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets the machine up, builds, and runs the unit tests, the functional tests and the system tests.
# The last line is the sum: N passed, N failed, N skipped. The status is 0 if something ran and
# nothing failed.
#
#   sudo ./tests/run.sh [OPTION...] [PYTEST-ARGUMENT...]
#
#   --asan         test the build with AddressSanitizer and UBSan (preset asan); in an emulated
#                  guest that takes too long, so the system tests are left out
#   --tsan         test the build with ThreadSanitizer (preset tsan), without system tests likewise
#   --preset=NAME  test another preset than release
#   --unit         the unit tests alone
#   --functional   the functional tests alone
#   --system       the system tests alone, which boot guests (tests/system/run.sh runs some of them)
#   --no-build     install and build nothing first
#
# What follows goes to pytest for the functional tests, for example: -k engine -x
set -euo pipefail

tests_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly tests_dir

preset=release
setup=yes
parts=(unit functional system)
while [[ $# -gt 0 ]]; do
    case $1 in
    --asan) preset=asan; parts=(unit functional) ;;
    --tsan) preset=tsan; parts=(unit functional) ;;
    --preset=*) preset=${1#*=} ;;
    --unit) parts=(unit) ;;
    --functional) parts=(functional) ;;
    --system) parts=(system) ;;
    --no-build) setup= ;;
    -h | --help) sed -n '4,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) break ;;
    esac
    shift
done
if [[ $EUID -ne 0 ]]; then
    echo "run.sh: needs root, for its namespaces: sudo $0" >&2
    exit 2
fi
[[ -z $setup ]] || "$tests_dir/setup.sh" "$preset"

readonly build_dir=$tests_dir/../build/$preset
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export OVDA_BUILD=$build_dir PYTHONDONTWRITEBYTECODE=1

status=0
for part in "${parts[@]}"; do
    case $part in
    unit)
        ctest --test-dir "$build_dir" -j "$(nproc)" --output-on-failure --no-tests=error \
            --timeout 300 --output-junit "$results/unit.xml" | grep -v ' Passed \|Start ' ||
            [[ ${PIPESTATUS[0]} -eq 0 ]] || status=1
        ;;
    functional)
        # Each test has namespaces of its own, so that two of them get along on two processors.
        (cd "$tests_dir/functional" && /usr/bin/python3 -m pytest -n "${OVDA_TEST_JOBS:-2}" \
            --dist=load --junitxml="$results/functional.xml" "$@") || status=1
        ;;
    system)
        "$tests_dir/system/run.sh" --no-build --preset="$preset" \
            --junitxml="$results/system.xml" || status=1
        ;;
    esac
done
/usr/bin/python3 "$tests_dir/functional/harness/junit.py" "$results"/*.xml || status=1
exit "$status"
