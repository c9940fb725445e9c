#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Brings those parts of the patches up to date that are generated from schema/, and refreshes their
# line numbers. Run it after a change of schema/options.json.
#
#   ./tests/ovs-patches/refresh.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need_tools
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT
unpack "$work/tree"
cd "$work/tree"
for patch in $(series); do
    git am -q "$patches/$patch" || die "$patch does not apply to $(base_version)"
    # Parts that a later patch brings are missing as yet.
    "$python" "$root/schema/generate.py" ovs . 2> "$work/missing" || true
    if ! git diff --quiet; then
        say "$patch changes"
        git commit -q --all --amend --no-edit
    fi
done
[[ ! -s $work/missing ]] || die "the patches bring no place for what is $(< "$work/missing")"
bring_back "$work/tree"
say "done"
