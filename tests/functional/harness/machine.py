# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest that runs a Debian kernel on this machine's files: every program that is here is
there, at the same path. What the guest writes goes into a layer of its own in its memory, except
for one folder, which it shares with the host. It needs no KVM, and is slow for that."""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Callable, Mapping, NamedTuple, Sequence

from . import initramfs
from .daemons import die_with_parent
from .debian_kernel import Kernel, modules_to_load, unpack_module

# The guest's name of the folder that it shares with the host.
SHARE = "/run/share"
TOOLS = ("qemu-system-x86_64", "busybox", "depmod", "modprobe")

_BOOT_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
# How long a guest on a busy machine may take until its command runs.
_BOOT_BOUND = 300.0
# An emulated guest that the host gives no time for seconds is not broken: no check of the timer at
# boot, no watchdog of processors.
_APPEND = ("console=ttyS0 panic=-1 quiet no_timer_check nowatchdog "
           "rcupdate.rcu_cpu_stall_timeout=120")

# In the initramfs. /tmp and /run are the guest's own, but for folders below them that are asked
# for.
_INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /host /layer /root
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/null
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
/bin/busybox mount -t tmpfs layer /layer
/bin/busybox mkdir /layer/upper /layer/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work all /root
for system in proc sys dev run tmp; do /bin/busybox mkdir -p /root/$system; done
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sys /root/sys
/bin/busybox mount -t devtmpfs dev /root/dev
/bin/busybox mount -t tmpfs run /root/run
/bin/busybox mount -t tmpfs tmp /root/tmp
/bin/busybox chmod 1777 /root/tmp
number=0
for folder in @HIDDEN@; do
    number=$((number + 1))
    /bin/busybox mkdir -p /root$folder /layer/$number/upper /layer/$number/work
    /bin/busybox mount -t overlay all /root$folder \
        -o lowerdir=/host$folder,upperdir=/layer/$number/upper,workdir=/layer/$number/work
done
/bin/busybox mkdir -p /root/run/lock /root/run/share
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none,access=any \
    share /root/run/share
/bin/busybox mkdir -p /root/usr/lib/modules
/bin/busybox ln -sfn @MODULES@ /root/usr/lib/modules/$(/bin/busybox uname -r)
@SYSTEMD@
# The kernel looks for modprobe in what is the root now.
exec /bin/busybox switch_root /root @FIRST@
"""

# With systemd, before it starts. What this machine's administrator has set up for it is not for the
# guest: services that are enabled or masked, file systems to mount, a database of Open vSwitch. In
# the guest of a container systemd would think that it is in one.
_SYSTEMD = """
for folder in systemd sysctl.d modules-load.d tmpfiles.d udev/rules.d; do
    /bin/busybox mkdir -p /root/etc/$folder
    /bin/busybox mount -t tmpfs none /root/etc/$folder
done
/bin/busybox rm -f /root/.dockerenv /root/etc/fstab /root/etc/crypttab /root/etc/sysctl.conf
/bin/busybox rm -rf /root/var/log/journal /root/var/lib/openvswitch /root/etc/openvswitch
/bin/busybox rm -f /root/etc/default/openvswitch-switch /root/etc/default/ovs-vdpa-agent
/bin/busybox mkdir -p /root/etc/openvswitch /root/var/lib/openvswitch /root/run/systemd/system
/bin/busybox cp /guest.service /root/run/systemd/system
"""

# What systemd starts instead of the services that are for a machine of users.
_UNIT = """[Unit]
Description=The command of this guest
Requires=basic.target
After=basic.target

[Service]
ExecStart=/bin/bash /run/share/start
"""
_SYSTEMD_APPEND = ("systemd.unit=guest.service systemd.firstboot=off "
                   "systemd.condition-needs-update=no apparmor=0")

# What process 1 mounts, where systemd is not.
_MOUNTS = """
mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
"""

# The console of the serial line is for the kernel; the command has one of its own, which loses
# nothing.
_START = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=@TERM@
@MOUNTS@
mkdir -p /run/netns
ip link set lo up
# What a device pins for a process counts against this; systemd would set it for a unit.
ulimit -l unlimited
until [[ -c /dev/hvc0 ]]; do sleep 0.05; done
touch /run/share/began
setsid --ctty --wait bash /run/share/command </dev/hvc0 >/dev/hvc0 2>&1
echo $? > /run/share/status
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
"""


class GuestFailed(AssertionError):
    """The guest died, or had to be ended."""


class NoBoot(GuestFailed):
    """It did so before it ran the command."""


class Result(NamedTuple):
    status: int  # Of the command.
    seconds: float


class Machine(NamedTuple):
    """What a guest is made of."""

    kernel: Kernel
    memory_mib: int = 1536
    cpus: int = 2
    devices: Sequence[str] = ()  # Further arguments of QEMU; @FOLDER@ is one of the guest's own.
    append: str = ""  # Further words of the kernel's command line.
    visible: Sequence[Path] = ()  # Folders that the guest has to see, wherever they are.
    systemd: bool = False  # Whether process 1 is systemd, with udev and the journal, or a script.


def hidden(folders: Sequence[Path]) -> list[str]:
    """Of those, the ones that the guest's own /tmp and /run would hide."""
    paths = {str(folder.resolve()) for folder in folders if folder.exists()}
    return sorted(path for path in paths if path.startswith(("/tmp/", "/run/")))


def run(machine: Machine, command: str, share: Path, *, output: IO[str] | None = None,
        bound: Callable[[], str | None], terminal: bool = False) -> Result:
    """Boots, runs the shell script `command` in the guest, and powers off.

    The guest's SHARE is the folder `share`. What the command prints goes to `output` as it comes;
    with `terminal` the command has this process's standard input and output instead. `bound` is
    asked again and again while the command runs: what it returns, if anything, is why the guest
    has to be ended now. GuestFailed carries the end of the kernel's console.
    """
    share.mkdir(parents=True, exist_ok=True)
    for name in ("began", "status"):
        (share / name).unlink(missing_ok=True)
    terminal_name = os.environ.get("TERM", "dumb") if terminal else "dumb"
    start = _START.replace("@TERM@", shlex.quote(terminal_name)) \
        .replace("@MOUNTS@", "" if machine.systemd else _MOUNTS)
    (share / "start").write_text(start)
    # Of the terminal, only what the shell itself makes of it: \\r\\n is for people.
    quiet = "" if terminal else "stty -onlcr -echo\n"
    (share / "command").write_text(f"{quiet}{command}\n")
    with tempfile.TemporaryDirectory(prefix="guest.") as name:
        folder = Path(name)
        return _run(machine, share, folder, output, bound, terminal)


def _run(machine: Machine, share: Path, folder: Path, output: IO[str] | None,
         bound: Callable[[], str | None], terminal: bool) -> Result:
    console = folder / "console"
    errors = folder / "qemu"
    argv = _qemu(machine, share, folder, console)
    began = time.monotonic()
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdin=None if terminal else subprocess.DEVNULL,
            stdout=None if terminal else subprocess.PIPE, stderr=stream,
            start_new_session=not terminal, preexec_fn=die_with_parent)
    reader = None
    if process.stdout:
        reader = threading.Thread(target=_copy, args=(process.stdout, output), daemon=True)
        reader.start()

    def booting() -> str | None:
        if (share / "began").exists():
            return bound()
        late = time.monotonic() - began > _BOOT_BOUND
        return f"no boot in {_BOOT_BOUND:g} s" if late else None

    try:
        why = None
        while process.poll() is None and why is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
            why = booting()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        if reader:
            reader.join(10)
    status = share / "status"
    if why is None and status.exists():
        return Result(int(status.read_text()), time.monotonic() - began)
    kind = GuestFailed if (share / "began").exists() else NoBoot
    raise kind(f"the guest {'was ended: ' + why if why else 'died'}\n"
               f"--- QEMU\n{_tail(errors)}\n--- the end of its console\n{_tail(console)}")


def _qemu(machine: Machine, share: Path, folder: Path, console: Path) -> list[str]:
    virtfs = "local,security_model=none,multidevs=remap"
    # With thread=multi QEMU 7.2 may run a kernel function half patched, which panics. A second
    # serial port loses characters; a virtio console does not. Nor does it need a network.
    return ["qemu-system-x86_64", "-name", "system-test", "-nodefaults", "-display", "none",
            "-no-user-config", "-no-reboot", "-accel", "tcg,thread=single",
            # Without pages of 1 GiB: DPDK warns when there are none free.
            "-cpu", "max,-pdpe1gb",
            "-machine", "q35", "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
            "-kernel", str(machine.kernel.image),
            "-initrd", str(_initramfs(machine, folder)),
            "-append", " ".join([_APPEND, *([_SYSTEMD_APPEND] if machine.systemd else []),
                                 machine.append]).rstrip(),
            "-virtfs", f"{virtfs},path=/,mount_tag=host,readonly=on",
            "-virtfs", f"{virtfs},path={share},mount_tag=share",
            "-serial", f"file:{console}",
            "-chardev", "stdio,id=channel,signal=off",
            "-device", "virtio-serial-pci", "-device", "virtconsole,chardev=channel",
            *[word.replace("@FOLDER@", str(folder)) for word in machine.devices]]


def _initramfs(machine: Machine, folder: Path) -> Path:
    root = folder / "root"
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is not installed"
    shutil.copy2(busybox, root / "bin/busybox")
    see = hidden([*machine.visible, machine.kernel.root])
    first = "/lib/systemd/systemd" if machine.systemd else f"/bin/bash {SHARE}/start"
    (root / "init").write_text(_INIT.replace("@HIDDEN@", " ".join(map(shlex.quote, see)))
                               .replace("@MODULES@", shlex.quote(str(machine.kernel.modules)))
                               .replace("@SYSTEMD@", _SYSTEMD if machine.systemd else "")
                               .replace("@FIRST@", first))
    (root / "guest.service").write_text(_UNIT)
    (root / "init").chmod(0o755)
    for number, module in enumerate(modules_to_load(machine.kernel, _BOOT_MODULES)):
        unpack_module(module, root / "modules", f"{number:02}.ko")
    return initramfs.pack(root, folder / "initramfs.cpio")


def _copy(source: IO[bytes], target: IO[str] | None) -> None:
    # Not line by line: a test's progress is dots.
    while data := source.read1(65536):  # type: ignore[attr-defined]
        if target:
            target.write(data.decode(errors="replace"))
            target.flush()


def _tail(path: Path, lines: int = 40) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def elapsed(seconds: float) -> Callable[[], str | None]:
    """A bound for run(): a time, counted from now."""
    end = time.monotonic() + seconds
    return lambda: f"not done in {seconds:g} s" if time.monotonic() > end else None


def environment(variables: Mapping[str, str]) -> str:
    """The lines of a script that set variables."""
    return "".join(f"export {key}={shlex.quote(value)}\n" for key, value in variables.items())
