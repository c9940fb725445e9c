#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Usage: fetch-headers.sh DEST VERSION
#
# Puts into DEST/include what a vDPA driver includes and libdpdk-dev does not have: three headers of
# DPDK's driver SDK, from the Debian source package dpdk of exactly VERSION, which the installed
# libraries were built from. apt checks the source against the archive's signature. It does so with
# lists of its own, in DEST: the machine's configuration need not name source packages, and stays as
# it is.
#
# DEST/VERSION, an empty file, is written last. DEST is shared by all build types, hence the lock.
set -eu

dest=$1
version=$2
headers='lib/vhost/vdpa_driver.h lib/eal/include/dev_driver.h drivers/bus/vdev/bus_vdev_driver.h'
log=$dest/fetch.log

# The archives that the machine takes packages from, as sources of source packages.
source_archives() {
    find /etc/apt/sources.list.d -name '*.sources' -exec cat {} + |
        sed 's/^Types:.*/Types: deb-src/' >"$1/archives.sources"
    find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -exec cat {} + |
        sed -n 's/^deb[[:space:]]/deb-src /p' >"$1/archives.list"
}

# In a shell of its own, so that the first command that fails ends it.
fetch() (
    set -e
    rm -rf "$dest/apt" "$dest/source" "$dest/include"
    mkdir -p "$dest/apt/archives" "$dest/apt/lists/partial" "$dest/apt/cache/archives/partial" \
        "$dest/source" "$dest/include"
    source_archives "$dest/apt/archives"
    set -- -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$dest/apt/archives" \
        -o Dir::State::lists="$dest/apt/lists" -o Dir::Cache="$dest/apt/cache" \
        -o Debug::NoLocking=1 -o APT::Sandbox::User=
    apt-get "$@" update || true  # Some archive may have no sources; what counts comes next.
    (cd "$dest/source" && apt-get "$@" --only-source --download-only source "dpdk=$version")
    tar -C "$dest/source" -xf "$dest/source"/dpdk_*.orig.tar.*
    for header in $headers; do
        find "$dest/source" -path "*/$header" -exec cp {} "$dest/include/" \;
        [ -f "$dest/include/${header##*/}" ] || { echo "the source has no $header"; exit 1; }
    done
    rm -rf "$dest/apt" "$dest/source"
)

mkdir -p "$dest"
exec 9>"$dest/lock"
flock 9
[ -f "$dest/$version" ] && exit 0

echo "Fetching headers of DPDK's driver SDK, $version, into $dest (25 MB, once)"
# Not "fetch || ...": that would switch the -e in it off.
set +e
fetch >"$log" 2>&1
status=$?
set -e
if [ $status -ne 0 ]; then
    tail -n 20 "$log" >&2
    cat >&2 <<END
The source package dpdk $version could not be had: $log.
If the archive has a newer one by now, install it: apt-get install libdpdk-dev.
Without a network, put
    $headers
into a folder DIR/include, make an empty file DIR/$version, and configure with
-DOVDA_DPDK_SDK_DIR=DIR.
END
    exit 1
fi
touch "$dest/$version"
