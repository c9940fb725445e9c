# SPDX-License-Identifier: Apache-2.0
# Sourced by check.sh and refresh.sh: the packaged source of Open vSwitch as a git tree.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root
readonly patches=$root/ovs-patches
readonly tarball=/usr/src/openvswitch/openvswitch.tar.gz
readonly python=/usr/bin/python3

say() { printf '%s\n' "ovs-patches: $*"; }
die() { say "$*" >&2; exit 1; }

series() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$patches/series"; }

base_version() {
    dpkg-query -W -f='${Version}' openvswitch-source 2>/dev/null ||
        die "package openvswitch-source is missing: apt-get install openvswitch-source"
}

need_tools() {
    local tool missing=()
    for tool in autoconf automake libtoolize git make gcc groff; do
        command -v "$tool" > /dev/null || missing+=("$tool")
    done
    [[ ${#missing[@]} -eq 0 ]] || die "missing: ${missing[*]};" \
        "apt-get install autoconf automake libtool git make gcc groff-base"
}

# To be raised when unpack() or the configuration in check.sh changes, so that what was built before
# is not used again.
readonly base_recipe=1

# unpack DIR: the packaged source in DIR, as the only commit of a git repository.
#
# Open vSwitch's build runs style checks over the files that git knows of. Those that the release
# brings ready-made, and the packaging, are not for them.
unpack() {
    local dir=$1
    mkdir -p "$dir"
    tar -C "$dir" --strip-components=1 --no-same-owner -xzf "$tarball"
    git -C "$dir" init -q -b main
    git -C "$dir" config user.name "$(author Author)"
    git -C "$dir" config user.email "$(author Email)"
    git -C "$dir" config gc.auto 0
    cat > "$dir/.git/info/exclude" <<'LIST'
*.o
*.lo
*.la
*.a
.deps/
.libs/
/debian/
/rhel/
/Makefile.in
/aclocal.m4
/build-aux/compile
/build-aux/config.guess
/build-aux/config.sub
/build-aux/depcomp
/build-aux/install-sh
/build-aux/ltmain.sh
/build-aux/missing
/config.h.in
/configure
/include/openvswitch/version.h
/m4/l*.m4
/ofproto/ipfix-entities.def
/package.m4
/python/ovs/dirs.py
/python/ovs/flow/ofp_fields.py
/python/ovs/version.py
/tests/*testsuite
LIST
    git -C "$dir" add .
    git -C "$dir" commit -q -m "openvswitch-source $(base_version)"
    git -C "$dir" tag base
}

# author Author|Email: what the first patch says of whom it is from.
author() { git mailinfo /dev/null /dev/null < "$patches/$(series | sed -n 1p)" |
    sed -n "s/^$1: //p"; }

# bring_back TREE: the commits since `base` in TREE become the series.
bring_back() {
    local out=$1/../out patch
    git -C "$1" format-patch -q --no-signature --zero-commit -o "$out" base
    # git folds a long author; checkpatch.py wants it on one line.
    sed -i '/^From: .*[^>]$/{N;s/\n */ /}' "$out"/*.patch
    for patch in $(series); do rm -f "$patches/$patch"; done
    cp "$out"/*.patch "$patches/"
    (cd "$out" && printf '%s\n' *.patch) > "$patches/series"
}
