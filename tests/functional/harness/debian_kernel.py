# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels for QEMU guests, fetched once and kept outside of the source tree, in the folder
ovs-vdpa-agent of $XDG_CACHE_HOME, by default of /var/cache. A newer package replaces an older one;
where the archive cannot be reached, the one that is there is used."""

import contextlib
import fcntl
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator, NamedTuple

# What the archive of Debian 12 calls the newest kernel of each series.
META_PACKAGES = {"6.12": "linux-image-6.12-amd64", "6.1": "linux-image-amd64"}
DEFAULT_SERIES = "6.12"
# A kernel that was not used for so long goes when another comes; one in use is looked up again and
# again, and a guest reads its modules as long as it runs.
_KEPT_UNUSED = 24 * 3600


class KernelUnavailable(Exception):
    """There is none in the cache and it cannot be fetched."""


class Kernel(NamedTuple):
    series: str  # A key of META_PACKAGES.
    release: str  # As `uname -r` says it.
    package_version: str
    root: Path  # Where the package's files are, as if this were /.

    @property
    def image(self) -> Path:
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        """What is /lib/modules/RELEASE; the modules are compressed as Debian ships them."""
        return self.root / "lib/modules" / self.release


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "/var/cache"
    return Path(base) / "ovs-vdpa-agent"


@contextlib.contextmanager
def cache_lock() -> Iterator[Path]:
    """Holds the cache against other processes; its folder."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield cache


def debian_kernel(series: str = DEFAULT_SERIES) -> Kernel:
    """The kernel, from the cache or else from Debian's archive. KernelUnavailable if neither."""
    with cache_lock() as cache:
        folder = cache / "kernels" / series
        folder.mkdir(parents=True, exist_ok=True)
        try:
            package, version = _wanted(series)
            if not (folder / version).is_dir():
                _fetch(series, package, version, folder)
                _remove_unused(folder, version)
        except KernelUnavailable as error:
            cached = sorted(folder.glob("[0-9]*"), key=lambda path: path.stat().st_mtime)
            if not cached:
                raise
            version = cached[-1].name
            print(f"kernel {series}: using {version} from the cache: {error}", flush=True)
        os.utime(folder / version)
        return _look(series, folder / version)


def tool(*argv: str, folder: Path | None = None) -> str:
    """What a tool printed; KernelUnavailable if it failed."""
    try:
        return subprocess.run(argv, cwd=folder, check=True, capture_output=True, text=True,
                              errors="replace").stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise KernelUnavailable(f"{' '.join(argv)}: {said}") from None


def download(package: str, version: str, folder: Path) -> Path:
    """The package's file, fetched into `folder`."""
    tool("apt-get", "-q", "download", f"{package}={version}", folder=folder)
    # In the file's name a colon or a tilde of the version is written otherwise.
    found = list(folder.glob(f"{package}_*.deb"))
    if len(found) != 1:
        raise KernelUnavailable(f"apt-get download {package}={version} brought {found}")
    return found[0]


def _wanted(series: str) -> tuple[str, str]:
    """The package that apt would install now, and its version."""
    meta = META_PACKAGES[series]
    text = tool("apt-cache", "show", "--no-all-versions", meta)
    version = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
    depends = re.search(r"^Depends: (linux-image-\S+)", text, re.MULTILINE)
    if version is None or depends is None:
        raise KernelUnavailable(f"{meta} names no kernel package: apt-get update")
    return depends[1], version[1]


def _fetch(series: str, package: str, version: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix="new.") as name:
        new = Path(name) / "root"
        tool("dpkg-deb", "-x", str(download(package, version, Path(name))), str(new))
        kernel = _look(series, new)
        tool("depmod", "-b", str(new), kernel.release)
        # Last, so that a broken fetch leaves nothing that looks whole.
        new.rename(folder / version)


def _look(series: str, root: Path) -> Kernel:
    images = list(root.glob("boot/vmlinuz-*"))
    if len(images) != 1:
        raise KernelUnavailable(f"{root} holds {len(images)} kernels")
    return Kernel(series, images[0].name.removeprefix("vmlinuz-"), root.name, root)


def _remove_unused(folder: Path, but: str) -> None:
    for path in folder.iterdir():
        if path.name != but and time.time() - path.stat().st_mtime > _KEPT_UNUSED:
            shutil.rmtree(path, ignore_errors=True)


def modules_to_load(kernel: Kernel, names: list[str]) -> list[Path]:
    """The files of the modules `names` and of those they need, in the order to load them. What is
    built into the kernel is left out."""
    found: list[Path] = []
    for name in names:
        text = tool("modprobe", "-d", str(kernel.root), "-S", kernel.release, "--show-depends",
                    name)
        for line in text.splitlines():
            word = line.split()
            if word[0] == "insmod" and Path(word[1]) not in found:
                found.append(Path(word[1]))
    return found


def unpack_module(packed: Path, folder: Path, name: str = "") -> Path:
    """Copies the file of a module into `folder`, decompressed, as `name` or as it is called."""
    target = folder / (name or packed.name.removesuffix(".xz"))
    if packed.suffix == ".xz":
        target.write_bytes(lzma.decompress(packed.read_bytes()))
    else:
        shutil.copy2(packed, target)
    return target
