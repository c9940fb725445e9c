#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests of Open vSwitch's kernel suite in a QEMU guest with Debian's kernel.

    kernel_datapath.py TREE TITLE...

TREE is a built source tree of Open vSwitch, TITLE a regular expression that the title of a test
matches from its beginning. The guest sees this machine's files, below a layer of its own that
takes all changes. The status is 0 if every test ran and passed, 77 if no guest can be run here.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "functional"))

from harness.debian_kernel import Kernel, KernelUnavailable, debian_kernel  # noqa: E402

SUITE = "system-kmod-testsuite"
# TCG on a busy machine.
BOUND = 600
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
TEST_MODULES = ("openvswitch", "nf_conntrack_netlink", "tun", "veth")

INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host /layer /root
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/null
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
/bin/busybox mount -t tmpfs layer /layer
/bin/busybox mkdir /layer/upper /layer/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work all /root
for system in proc sys dev run; do /bin/busybox mkdir -p /root/$system; done
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sys /root/sys
/bin/busybox mount -t devtmpfs dev /root/dev
/bin/busybox mount -t tmpfs run /root/run
/bin/busybox mkdir -p /root/run/lock /root/etc
/bin/busybox cp /in-guest /root/run/in-guest
# The kernel looks for modprobe in what is the root now.
exec /bin/busybox switch_root /root /bin/bash /run/in-guest
"""

IN_GUEST = r"""
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
ip link set lo up
mkdir -p /lib/modules
ln -sfn {modules} /lib/modules/$(uname -r)
for module in {test_modules}; do modprobe $module || echo "modprobe $module failed"; done
cd {tree}
echo TESTS BEGIN
sh tests/{suite} -C tests --color=never \
    AUTOTEST_PATH=utilities:vswitchd:ovsdb:vtep:tests:ipsec:: {numbers}
echo TESTS END
cat tests/{suite}.dir/*/*.log 2>/dev/null | tail -n 60
echo o > /proc/sysrq-trigger
sleep 60
"""


def chosen_tests(tree: Path, titles: list[str]) -> dict[str, str]:
    """Number and title of the tests meant."""
    listing = subprocess.run(["sh", f"./{SUITE}", "--list"], cwd=tree / "tests", check=True,
                             capture_output=True, text=True).stdout
    tests = dict(re.findall(r"^ *(\d+): \S+ +(.*)$", listing, re.MULTILINE))
    found = {number: title for number, title in tests.items()
             if any(re.match(wanted, title) for wanted in titles)}
    for wanted in titles:
        if not any(re.match(wanted, title) for title in found.values()):
            sys.exit(f"no test of {SUITE} is called {wanted}")
    return found


def boot_modules(kernel: Kernel) -> list[Path]:
    """What the guest loads before it has a file system, in order."""
    version = kernel.modules.parent.name
    base = kernel.modules.parents[3]
    if not (kernel.modules.parent / "modules.dep").exists():
        subprocess.run(["depmod", "-b", str(base), version], check=True)
    modules: list[Path] = []
    for name in BOOT_MODULES:
        text = subprocess.run(["modprobe", "-d", str(base), "-S", version, "--show-depends", name],
                              check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            word = line.split()
            if word[0] == "insmod" and Path(word[1]) not in modules:
                modules.append(Path(word[1]))
    return modules


def initramfs(kernel: Kernel, folder: Path, in_guest: str) -> Path:
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "init").write_text(INIT)
    (root / "in-guest").write_text(in_guest)
    for name in ("bin/busybox", "init"):
        (root / name).chmod(0o755)
    for number, module in enumerate(boot_modules(kernel)):
        data = module.read_bytes()
        if module.suffix == ".xz":
            data = subprocess.run(["xz", "-dc"], input=data, check=True,
                                  capture_output=True).stdout
        (root / f"modules/{number:02}-{module.name.split('.')[0]}.ko").write_bytes(data)
    names = subprocess.run(["find", ".", "-mindepth", "1"], cwd=root, check=True,
                           capture_output=True).stdout
    target = folder / "initramfs.cpio"
    with target.open("wb") as stream:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names,
                       stdout=stream, stderr=subprocess.DEVNULL, check=True)
    return target


def run_guest(kernel: Kernel, ramdisk: Path) -> str:
    """Boots, and returns what the guest wrote to its console until it powered itself off."""
    argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-user-config",
            "-no-reboot", "-accel", "tcg,thread=single", "-cpu", "max", "-machine", "q35",
            "-smp", "2", "-m", "1536", "-kernel", str(kernel.image), "-initrd", str(ramdisk),
            "-append", "console=ttyS0 panic=-1 quiet",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,"
            "multidevs=remap", "-serial", "stdio"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=BOUND)
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        sys.exit(f"{output.decode(errors='replace') if isinstance(output, bytes) else output}\n"
                 f"the guest did not end in {BOUND} s")
    return done.stdout + done.stderr


def cannot_run(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(77)


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tree = Path(sys.argv[1]).resolve()
    tests = chosen_tests(tree, sys.argv[2:])
    for tool in ("qemu-system-x86_64", "busybox", "depmod", "modprobe", "xz"):
        if not shutil.which(tool):
            cannot_run(f"{tool} is not installed")
    try:
        kernel = debian_kernel()
    except KernelUnavailable as error:
        cannot_run(f"no kernel for QEMU: {error}")
    with tempfile.TemporaryDirectory() as name:
        in_guest = IN_GUEST.format(tree=tree, suite=SUITE, numbers=" ".join(tests),
                                   modules=kernel.modules.parent,
                                   test_modules=" ".join(TEST_MODULES))
        output = run_guest(kernel, initramfs(kernel, Path(name), in_guest))
    passed = [number for number in tests
              if re.search(rf"^ *{number}: .* ok\r?$", output, re.MULTILINE)]
    for number, title in tests.items():
        print(f"{title}: {'ok' if number in passed else 'FAILED'}")
    if len(passed) != len(tests):
        sys.exit(output)


if __name__ == "__main__":
    assert os.geteuid() == 0, "needs root"
    main()
