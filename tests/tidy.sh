#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs clang-tidy with the checks of .clang-tidy over the sources and headers of the daemons and the
# tests that differ from BASE. A finding is a failure.
#
#   ./tests/tidy.sh [--all] [--preset=NAME] [BASE]
#
#   --all          over all of them: some ten seconds of a processor for each
#   --preset=NAME  the build folder that tells how each is compiled (default: release)
#   BASE           a commit (default: where this branch left main; on main itself, the last commit)
set -euo pipefail

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly source_dir
cd "$source_dir"

preset=release
all=
base=
for argument; do
    case $argument in
    --all) all=yes ;;
    --preset=*) preset=${argument#*=} ;;
    -h | --help) sed -n '4,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "tidy.sh: unknown option $argument" >&2; exit 2 ;;
    *) base=$argument ;;
    esac
done
readonly build_dir=build/$preset
if [[ ! -e $build_dir/compile_commands.json ]]; then
    echo "tidy.sh: $build_dir is not configured: tests/setup.sh $preset" >&2
    exit 2
fi

default_base() {
    local main fork head
    head=$(git rev-parse HEAD)
    for main in origin/main main; do
        if fork=$(git merge-base HEAD "$main" 2>/dev/null) && [[ $fork != "$head" ]]; then
            echo "$fork"
            return
        fi
    done
    git rev-parse HEAD~1
}

# What is compiled there, of what git knows. clang reads no precompiled header of g++.
readonly database=$build_dir/tidy
mkdir -p "$database"
sed 's/ -Winvalid-pch -include [^ ]*cmake_pch\.hxx//' "$build_dir/compile_commands.json" \
    > "$database/compile_commands.json"
mapfile -t sources < <(comm -12 \
    <(git ls-files 'engine/*.cpp' 'ovs-vdpa-agent/*.cpp' 'schema/*.cpp' 'tests/*.cpp' | sort) \
    <(sed -n "s|^ *\"file\": \"$source_dir/\(.*\)\".*|\1|p" "$database/compile_commands.json" |
        sort))
if [[ -z $all ]]; then
    [[ -n $base ]] || base=$(default_base)
    mapfile -t changed < <(git diff --name-only "$base" -- '*.cpp' '*.hpp')
    declare -A wanted=()
    for file in "${changed[@]}"; do
        # A header is looked at with its source, or else with the first that includes it. None may,
        # which is no error: then nothing here is compiled with it. (grep says 1 then.)
        source=${file%.*}.cpp
        if [[ ! -e $source ]]; then
            source=$(grep -l -F -e "\"$file\"" -e "\"${file##*/}\"" "${sources[@]}" |
                head -n 1 || true)
        fi
        [[ -z $source ]] || wanted[$source]=yes
    done
    # A change may touch no source at all; below that is said, and is success.
    mapfile -t sources < <(printf '%s\n' "${sources[@]}" |
        grep -x -F -f <(printf '%s\n' "${!wanted[@]}") || true)
fi
echo "tidy.sh: ${#sources[@]} files"
[[ ${#sources[@]} -gt 0 ]] || exit 0
# Some warnings that are turned off are g++'s alone. The status is xargs', which is clang-tidy's. The
# filter of its chatter may have nothing to show.
printf '%s\n' "${sources[@]}" |
    xargs -P "$(nproc)" -n 1 clang-tidy -p "$database" --quiet \
        --extra-arg=-Wno-unknown-warning-option 2> >(
        grep -v 'warnings\? generated\|warnings\? treated as errors' >&2 || true)
