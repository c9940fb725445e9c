# SPDX-License-Identifier: Apache-2.0
"""Network and mount namespaces, and the processes that live in them.

The calling thread itself enters the namespaces: what it starts afterwards is born in them, and
sockets that a test opens are inside as well.
"""

import contextlib
import ctypes
import os
import signal
import socket
import struct
from pathlib import Path
from typing import Iterator

from .wait import wait_for

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
PR_SET_CHILD_SUBREAPER = 36
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, fstype: str | None, flags: int = 0) -> None:
    kind = fstype.encode() if fstype else None
    _check(_libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), None),
           f"mount {target}")


def put_in_place_of(source: Path, target: Path) -> None:
    """Has whoever opens `target` in the present mount namespace get `source`."""
    _mount(str(source), str(target), None, MS_BIND)


def become_subreaper(on: bool = True) -> None:
    """Orphans among our descendants become our children, so that none escapes unseen."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0), "prctl(CHILD_SUBREAPER)")


def link_up(name: str) -> None:
    """Sets IFF_UP of a netdev in the present network namespace."""
    import fcntl
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        request = struct.pack("16sH14x", name.encode(), 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | IFF_UP))


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


class Namespaces:
    """A network and a mount namespace of our own, entered by enter() and left by leave().

    /sys shows the new network namespace, /run/netns is empty, so that `ip netns add` makes
    namespaces that nobody outside sees and that vanish with this one.
    """

    def __init__(self) -> None:
        self._origin: list[tuple[int, int]] = []
        self._cwd = ""
        self.net_id = (0, 0)
        self.mnt_id = (0, 0)

    def enter(self) -> None:
        assert not self._origin, "entered twice"
        self._cwd = os.getcwd()
        for name, kind in (("mnt", CLONE_NEWNS), ("net", CLONE_NEWNET)):
            handle = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            self._origin.append((handle, kind))
        try:
            # CLONE_FS: leave() joins the old mount namespace, which the kernel refuses to a
            # thread that shares its root and working directory with another.
            _check(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_FS), "unshare")
            _mount("none", "/", None, MS_REC | MS_PRIVATE)
            _mount("sysfs", "/sys", "sysfs")
            os.makedirs("/run/netns", exist_ok=True)
            _mount("tmpfs", "/run/netns", "tmpfs")
            link_up("lo")
        except OSError:
            self.leave()
            raise
        self.net_id = _identity("/proc/thread-self/ns/net")
        self.mnt_id = _identity("/proc/thread-self/ns/mnt")

    def join(self, pid: int) -> None:
        """Enters the namespaces that a process is in."""
        assert not self._origin, "entered twice"
        self._cwd = os.getcwd()
        _check(_libc.unshare(CLONE_FS), "unshare")
        kinds = (("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS))
        targets = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind)
                   for name, kind in kinds]
        for name, kind in kinds:
            handle = os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            self._origin.append((handle, kind))
        for handle, kind in targets:
            _check(_libc.setns(handle, kind), "setns")
            os.close(handle)
        self.net_id = _identity("/proc/thread-self/ns/net")
        self.mnt_id = _identity("/proc/thread-self/ns/mnt")

    def leave(self) -> None:
        for handle, kind in self._origin:
            _check(_libc.setns(handle, kind), "setns")
            os.close(handle)
        self._origin.clear()
        os.chdir(self._cwd)

    def processes(self) -> list[int]:
        """Processes other than this one whose mount namespace is ours, those inside of further
        network namespaces among them; call it before or after leave()."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if (_identity(f"/proc/{entry}/ns/mnt") == self.mnt_id
                        or _identity(f"/proc/{entry}/ns/net") == self.net_id):
                    found.append(int(entry))
        return found

    def kill_all(self, bound: float = 10) -> None:
        """Ends every process inside and reaps it."""
        def gone() -> bool:
            remaining = self.processes()
            for pid in remaining:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap_orphans(remaining)
            return not remaining
        wait_for(gone, bound, "the namespace's processes to end")


def reap_orphans(pids: list[int]) -> None:
    """Collects those of `pids` that are dead children of ours. Named one by one: a wait for any
    child would take away the exit status that a Popen object waits for."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def program_name(pid: int) -> str:
    """The file name of a process's program; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().split("/")[-1]
    except OSError:
        return ""


def describe_process(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        command = " ".join(word.decode(errors="replace") for word in words).strip()
        return f"{pid} ({command or Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"{pid} (gone)"


@contextlib.contextmanager
def network_namespace(name: str) -> Iterator[None]:
    """Runs the body in the network namespace that `ip netns add NAME` made."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        inside = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(inside, CLONE_NEWNET), f"setns {name}")
        finally:
            os.close(inside)
        try:
            yield
        finally:
            _check(_libc.setns(before, CLONE_NEWNET), "setns")
    finally:
        os.close(before)


def netdevs() -> list[str]:
    """Names of the netdevs in the present network namespace."""
    return [name for _, name in socket.if_nameindex()]
