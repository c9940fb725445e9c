#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Usage: build-libopenvswitch.sh DEST
#
# Builds Open vSwitch's static library from the source that Debian's package openvswitch-source
# installs, once, in DEST. Debian ships no libopenvswitch-dev because the library's ABI is not
# stable, so linking it statically from the packaged source is the supported way to use it.
#
# The file DEST/built marks success. DEST is shared by all build types, hence the lock.
set -eu

dest=$1
tarball=/usr/src/openvswitch/openvswitch.tar.gz
[ -f "$tarball" ] || { echo "$tarball: not found; apt-get install openvswitch-source" >&2; exit 1; }
mkdir -p "$dest"
exec 9>"$dest/lock"
flock 9
[ -f "$dest/built" ] && exit 0

rm -rf "$dest/openvswitch"
tar -C "$dest" -xzf "$tarball"
cd "$dest/openvswitch"
jobs=$(getconf _NPROCESSORS_ONLN)
log=$dest/build.log
echo "Building libopenvswitch in $dest (about two minutes, once)"
{
    ./configure --enable-silent-rules --disable-shared --with-pic \
        --prefix=/usr --localstatedir=/var --sysconfdir=/etc CFLAGS='-O2 -g -fPIC'
    # The generated headers have to be there before anything includes them; the library's own
    # target does not depend on them.
    printf 'ovda-built-sources: $(BUILT_SOURCES)\n' >>Makefile
    make -j"$jobs" ovda-built-sources
    make -j"$jobs" lib/libopenvswitch.la
} >"$log" 2>&1 || { tail -n 30 "$log" >&2; echo "libopenvswitch failed to build: $log" >&2; exit 1; }
touch "$dest/built"
