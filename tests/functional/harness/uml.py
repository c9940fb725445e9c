# SPDX-License-Identifier: Apache-2.0
"""A User-mode Linux guest: a real Linux virtio-net driver on a vhost-user socket, up in two seconds
and near native speed. It is always the side that connects, and speaks split rings only."""

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

from .daemons import die_with_parent
from .guest import Guest, build_root
from .wait import wait_for

KERNEL = "/usr/bin/linux.uml"
MODULES = Path("/usr/lib/uml/modules")
_WANTED = ("net/core/failover.ko", "drivers/net/net_failover.ko", "drivers/net/virtio_net.ko")


def guest_root(folder: Path) -> Path:
    """The root folder of User-mode Linux guests, made on the first call. Guests mount it
    read-only, so one serves all."""
    root = folder / "uml-root"
    if not root.exists():
        versions = sorted(MODULES.iterdir())
        assert versions, f"no modules in {MODULES}: is user-mode-linux installed?"
        build_root(root, [versions[-1] / "kernel" / name for name in _WANTED], "/dev/ttyS0")
    return root


class UmlGuest(Guest):
    """Boots at construction; the guest's eth0 is the virtio-net device on `vhost_socket`."""

    def __init__(self, name: str, vhost_socket: Path, folder: Path, *, memory_mib: int = 128,
                 bound: float = 40, linger: bool = False) -> None:
        super().__init__(name, folder / f"{name}.console")
        root = guest_root(folder)
        ours, theirs = socket.socketpair()
        # Two descriptors: the kernel's epoll takes each but once.
        ends = [theirs.fileno(), os.dup(theirs.fileno())]
        argv = ["setarch", "-R", KERNEL, f"mem={memory_mib}M", f"umid={name}",
                f"uml_dir={folder}/uml", "rootfstype=hostfs", f"rootflags={root}", "ro",
                "init=/init", "con=null", "con0=fd:0,fd:1", "ssl=null",
                f"ssl0=fd:{ends[0]},fd:{ends[1]}",
                f"virtio_uml.device={vhost_socket}:1", "quiet"]
        with self.log.open("ab") as console:
            # A process group of its own: User-mode Linux ignores SIGTERM, and after a panic its
            # further processes live on.
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                pass_fds=ends, start_new_session=True,
                preexec_fn=None if linger else die_with_parent)
        theirs.close()
        os.close(ends[1])
        try:
            self.attach(ours, bound)
        except BaseException:
            self.kill()
            raise

    def alive(self) -> bool:
        return self._process.poll() is None

    def poweroff(self, bound: float = 10) -> None:
        """Ends the guest in an orderly way, which resets its virtio device."""
        if self.alive():
            self.spawn("poweroff -f")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(bound)
        self.kill()

    def kill(self) -> None:
        """Ends it as a crash would."""
        def gone() -> bool:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
                # Its orphans became ours and stay in the group until they are waited for.
                os.waitpid(-self._process.pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                return True
            return False
        wait_for(gone, 10, f"guest {self.name} to end")
        self._process.poll()
        self.detach()
