# SPDX-License-Identifier: Apache-2.0
"""A Debian kernel for QEMU guests, fetched once and kept outside of the source tree."""

import fcntl
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

_META_PACKAGE = "linux-image-6.12-amd64"


class KernelUnavailable(Exception):
    """There is none in the cache and it cannot be fetched."""


class Kernel(NamedTuple):
    image: Path
    modules: Path  # The folder "kernel" of its modules, compressed as Debian ships them.


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    return Path(base) / "ovs-vdpa-agent"


def debian_kernel() -> Kernel:
    """The kernel, from the cache or else from Debian's archive. KernelUnavailable if neither."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _cached(cache)
        if found is None:
            _fetch(cache)
            found = _cached(cache)
    if found is None:
        raise KernelUnavailable(f"{_META_PACKAGE} holds no kernel image")
    return found


def _cached(cache: Path) -> Kernel | None:
    for image in sorted(cache.glob("linux/boot/vmlinuz-*")):
        version = image.name.removeprefix("vmlinuz-")
        modules = cache / "linux/lib/modules" / version / "kernel"
        if modules.is_dir():
            return Kernel(image, modules)
    return None


def _fetch(cache: Path) -> None:
    def tool(*argv: str, folder: Path = cache) -> str:
        try:
            return subprocess.run(argv, cwd=folder, check=True, capture_output=True,
                                  text=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or error
            raise KernelUnavailable(f"{' '.join(argv)}: {said}") from None

    depends = re.search(r"Depends: (linux-image-\S+)", tool("apt-cache", "depends", _META_PACKAGE))
    if depends is None:
        raise KernelUnavailable(f"{_META_PACKAGE} names no kernel package")
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        packages = list(cache.glob(f"{depends[1]}_*.deb"))
        if not packages:
            tool("apt-get", "-q", "download", depends[1], folder=folder)
            packages = list(folder.glob("*.deb"))
        tool("dpkg-deb", "-x", str(packages[0]), str(folder / "linux"))
        shutil.rmtree(cache / "linux", ignore_errors=True)
        # Last, so that a broken fetch leaves nothing that looks whole.
        (folder / "linux").rename(cache / "linux")


def unpack_module(kernel: Kernel, name: str, folder: Path) -> Path:
    """Copies the module `name` (as drivers/net/virtio_net.ko) into `folder`, decompressed."""
    target = folder / Path(name).name
    packed = kernel.modules / f"{name}.xz"
    if packed.exists():
        target.write_bytes(lzma.decompress(packed.read_bytes()))
    else:
        shutil.copy2(kernel.modules / name, target)
    return target
