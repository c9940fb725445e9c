# SPDX-License-Identifier: Apache-2.0
"""Modules that Debian's kernels lack, built from the source package of the same version."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from .debian_kernel import Kernel, KernelUnavailable, cache_lock, download, tool


class _Recipe(NamedTuple):
    sources: tuple[str, ...]  # Files of the kernel's source, patterns, which go into one folder.
    kbuild: str  # What stands in that folder's Kbuild; empty: as in the kernel's source.
    settings: tuple[str, ...]  # For make.


_NETDEVSIM = _Recipe(("drivers/net/netdevsim/*",), "", ("CONFIG_NETDEVSIM=m",))
# vringh is told to export its functions for the IOTLB, as CONFIG_VHOST_RING would have it.
_VDPA = _Recipe(
    ("drivers/vhost/vringh.c", "drivers/vdpa/vdpa_sim/*.[ch]", "drivers/vdpa/virtio_pci/*.c"),
    "obj-m := vringh.o vdpa_sim.o vdpa_sim_net.o vp_vdpa.o\n"
    "ccflags-y := -DCONFIG_VHOST_RING_MODULE=1\n", ())

# Before 6.12 Debian's kernels have no vDPA at all.
_RECIPES = {"6.12": {"netdevsim": _NETDEVSIM, "vdpa": _VDPA}, "6.1": {"netdevsim": _NETDEVSIM}}


def add_modules(kernel: Kernel) -> None:
    """Puts the modules beside the kernel's own, as modprobe finds them, if they are not there yet.
    KernelUnavailable if they cannot be fetched or built."""
    recipes = _RECIPES[kernel.series]
    digest = hashlib.sha256(repr(recipes).encode()).hexdigest()
    extra = kernel.modules / "extra"
    with cache_lock() as cache:
        done = extra / "built"
        if done.exists() and done.read_text() == digest:
            return
        with tempfile.TemporaryDirectory(dir=cache, prefix="modules.") as name:
            built = _build(kernel, recipes, Path(name))
            shutil.rmtree(extra, ignore_errors=True)
            extra.mkdir()
            for module in built:
                shutil.copy2(module, extra / module.name)
        tool("depmod", "-b", str(kernel.root), kernel.release)
        done.write_text(digest)


def _build(kernel: Kernel, recipes: dict[str, _Recipe], folder: Path) -> list[Path]:
    print(f"building modules for Linux {kernel.release}: {' '.join(recipes)}", flush=True)
    tree = _headers(kernel, folder)
    _unpack_sources(kernel, [source for recipe in recipes.values() for source in recipe.sources],
                    folder)
    built: list[Path] = []
    for name, recipe in recipes.items():
        place = folder / "build" / name
        place.mkdir(parents=True)
        for source in recipe.sources:
            for path in (folder / "source").glob(source):
                shutil.copy2(path, place / path.name)
        if recipe.kbuild:
            (place / "Kbuild").write_text(recipe.kbuild)
        # Type information would need pahole, and no test wants it.
        done = subprocess.run(
            ["make", "-C", str(tree), f"M={place}", *recipe.settings,
             "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise KernelUnavailable(f"modules {name} for {kernel.release}:\n{done.stdout[-3000:]}")
        built += place.glob("*.ko")
    return built


def _headers(kernel: Kernel, folder: Path) -> Path:
    """What builds modules for the kernel; not installed, because it is for this one purpose."""
    release, version = kernel.release, kernel.package_version
    flavour = f"linux-headers-{release}"
    depends = tool("apt-cache", "show", f"{flavour}={version}")
    wanted = [flavour]
    for word in depends.replace(",", " ").split():
        if word.startswith(("linux-headers-", "linux-kbuild-")) and word not in wanted:
            wanted.append(word)
    for package in wanted:
        tool("dpkg-deb", "-x", str(download(package, version, folder)), str(folder / "headers"))
    tree = folder / "headers/usr/src" / flavour
    # It names its other half by the path where that would be installed.
    makefile = tree / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{folder}/headers/usr/src/"))
    return tree


def _unpack_sources(kernel: Kernel, sources: list[str], folder: Path) -> None:
    package = f"linux-source-{kernel.series}"
    archive = download(package, kernel.package_version, folder)
    (folder / "source").mkdir()
    tool("bash", "-c", 'set -o pipefail; dpkg-deb --fsys-tarfile "$1" | '
         'tar -xO "./usr/src/$2.tar.xz" | tar -xJ -C source --strip-components=1 --wildcards '
         '"${@:3}"', "unpack", str(archive), package,
         *sorted({f"*/{source.rsplit('/', 1)[0]}/*" for source in sources}), folder=folder)
