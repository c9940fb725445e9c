# SPDX-License-Identifier: Apache-2.0
"""A QEMU guest with a Debian kernel: the front-end that production uses, with multi-queue and
reconnection. It needs no KVM, and is slow for that."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from . import initramfs
from .daemons import die_with_parent
from .debian_kernel import Kernel, debian_kernel, modules_to_load, unpack_module
from .guest import Guest, build_root
from .qmp import Qmp

MEMORY_MIB = 256


def _initramfs(kernel: Kernel, folder: Path) -> Path:
    """The guests' file system as an initramfs, made on the first call."""
    target = folder / "initramfs.cpio"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=folder) as name:
        modules = Path(name) / "modules"
        modules.mkdir()
        root = Path(name) / "root"
        build_root(root, [unpack_module(module, modules)
                          for module in modules_to_load(kernel, ["virtio_net"])], "/dev/hvc0")
        # Process 1 of an initramfs gets no open console.
        shutil.copy2(root / "init", root / "guest-init")
        (root / "init").write_text(
            "#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs dev /dev\n"
            "while [ ! -c /dev/hvc0 ]; do /bin/busybox usleep 10000; done\n"
            "exec /bin/busybox sh /guest-init </dev/null >/dev/ttyS0 2>&1\n")
        initramfs.pack(root, target)
    return target


class QemuGuest(Guest):
    """Boots at construction.

    `queues` are queue pairs; `reconnect` seconds between attempts to connect anew (0: never);
    with `listen` QEMU listens on `vhost_socket` and the back-end connects. With `incoming`, a
    socket, it does not boot, but waits there for a guest that migrates, and then for its monitor's
    `cont`.
    """

    def __init__(self, name: str, vhost_socket: Path, folder: Path, *, queues: int = 1,
                 reconnect: int = 0, listen: bool = False, packed: bool = False,
                 mac: str | None = None, cpus: int | None = None, incoming: Path | None = None,
                 bound: float = 90, linger: bool = False) -> None:
        super().__init__(name, folder / f"{name}.console")
        self.monitor: Qmp | None = None
        self._monitor_path = folder / f"{name}.qmp"
        kernel = debian_kernel()
        ours, theirs = socket.socketpair()
        chardev = f"socket,id=vhost,path={vhost_socket}"
        if listen:
            chardev += ",server=on"
        elif reconnect:
            chardev += f",reconnect={reconnect}"
        # Without vectors=0 QEMU 7.2 crashes: it sets up notifiers for MSI-X that only KVM has.
        device = "virtio-net-pci,netdev=net0,vectors=0" + (f",mac={mac}" if mac else "")
        netdev = "vhost-user,id=net0,chardev=vhost"
        if queues > 1:
            device += ",mq=on"
            netdev += f",queues={queues}"
        if packed:
            device += ",packed=on"
        # With thread=multi QEMU 7.2 may run a kernel function half patched, which panics. The second
        # serial port loses characters; a virtio console does not.
        argv = ["qemu-system-x86_64", "-name", name, "-nodefaults", "-display", "none",
                "-no-user-config", "-no-reboot", "-accel", "tcg,thread=single", "-cpu", "max",
                "-smp", str(cpus or min(queues, 4)), "-m", str(MEMORY_MIB),
                "-machine", "q35,memory-backend=mem",
                "-object", f"memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on",
                "-kernel", str(kernel.image), "-initrd", str(_initramfs(kernel, folder)),
                "-append", "console=ttyS0 panic=-1 quiet",
                "-chardev", chardev, "-netdev", netdev, "-device", device,
                "-serial", f"file:{self.log}",
                "-chardev", f"socket,id=channel,fd={theirs.fileno()}",
                "-device", "virtio-serial-pci,vectors=0",
                "-device", "virtconsole,chardev=channel",
                "-qmp", f"unix:{self._monitor_path},server=on,wait=off"]
        if incoming:
            argv += ["-S", "-incoming", f"unix:{incoming}"]
        self.output = folder / f"{name}.qemu"
        with self.output.open("ab") as out:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                pass_fds=[theirs.fileno()], start_new_session=True,
                preexec_fn=None if linger else die_with_parent)
        theirs.close()
        try:
            self.monitor = Qmp(self._monitor_path)
            if incoming:
                self.attach_running(ours)
            else:
                self.attach(ours, bound)
        except BaseException:
            self.kill()
            raise

    def memory(self, folder: Path) -> bytes:
        """The guest's memory while it stands still."""
        image = folder / f"{self.name}.memory"
        assert self.monitor
        self.monitor.execute("pmemsave", val=0, size=MEMORY_MIB << 20, filename=str(image))
        try:
            return image.read_bytes()
        finally:
            image.unlink()

    def alive(self) -> bool:
        return self._process.poll() is None

    def describe(self) -> str:
        return f"{super().describe()}\n--- QEMU\n{self.output.read_text(errors='replace')}"

    def poweroff(self, bound: float = 20) -> None:
        if self.alive():
            self.spawn("poweroff -f")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(bound)
        self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        if self.monitor:
            self.monitor.close()
        self._monitor_path.unlink(missing_ok=True)
        self.detach()
