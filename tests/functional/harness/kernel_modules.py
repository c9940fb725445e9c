# SPDX-License-Identifier: Apache-2.0
"""Modules that Debian's kernels lack, built from the source package of the same version, and one of
our own."""

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
    ours: tuple[Path, ...] = ()  # Files of our own, for the same folder.

    def digest(self) -> str:
        texts = [repr(self[:3]), *(path.read_text() for path in self.ours)]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()


_NETDEVSIM = _Recipe(("drivers/net/netdevsim/*",), "", ("CONFIG_NETDEVSIM=m",))
# vringh is told to export its functions for the IOTLB, as CONFIG_VHOST_RING would have it.
_VDPA = _Recipe(
    ("drivers/vhost/vringh.c", "drivers/vdpa/vdpa_sim/*.[ch]", "drivers/vdpa/virtio_pci/*.c"),
    "obj-m := vringh.o vdpa_sim.o vdpa_sim_net.o vp_vdpa.o\n"
    "ccflags-y := -DCONFIG_VHOST_RING_MODULE=1\n", ())
_ESWITCH = _Recipe((), "obj-m := ovda_eswitch.o\n", (), (
    Path(__file__).resolve().parents[2] / "system/eswitch/ovda_eswitch.c",))

# Before 6.12 Debian's kernels have no vDPA at all.
_RECIPES = {"6.12": {"netdevsim": _NETDEVSIM, "vdpa": _VDPA, "eswitch": _ESWITCH},
            "6.1": {"netdevsim": _NETDEVSIM, "eswitch": _ESWITCH}}


def add_modules(kernel: Kernel) -> None:
    """Puts the modules beside the kernel's own, as modprobe finds them, if they are not there yet.
    KernelUnavailable if they cannot be fetched or built."""
    extra = kernel.modules / "extra"
    with cache_lock() as cache:
        recipes = {name: recipe for name, recipe in _RECIPES[kernel.series].items()
                   if not _is_built(extra / f"{name}.built", recipe)}
        if not recipes:
            return
        with tempfile.TemporaryDirectory(dir=cache, prefix="modules.") as folder:
            built = _build(kernel, recipes, Path(folder))
            extra.mkdir(exist_ok=True)
            for module in built:
                # Not over one that a guest may be reading.
                shutil.copy2(module, extra / f"{module.name}.new")
                (extra / f"{module.name}.new").replace(extra / module.name)
        tool("depmod", "-b", str(kernel.root), kernel.release)
        for name, recipe in recipes.items():
            (extra / f"{name}.built").write_text(recipe.digest())


def _is_built(mark: Path, recipe: _Recipe) -> bool:
    return mark.exists() and mark.read_text() == recipe.digest()


def _build(kernel: Kernel, recipes: dict[str, _Recipe], folder: Path) -> list[Path]:
    print(f"building modules for Linux {kernel.release}: {' '.join(recipes)}", flush=True)
    tree = _headers(kernel, folder)
    sources = [source for recipe in recipes.values() for source in recipe.sources]
    if sources:
        _unpack_sources(kernel, sources, folder)
    built: list[Path] = []
    for name, recipe in recipes.items():
        place = folder / "build" / name
        place.mkdir(parents=True)
        for source in recipe.sources:
            for path in (folder / "source").glob(source):
                shutil.copy2(path, place / path.name)
        for path in recipe.ours:
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
