# SPDX-License-Identifier: Apache-2.0
"""A daemon that stands still in the middle of what it does."""

import contextlib
import signal
import subprocess
from pathlib import Path
from typing import Iterator

from .daemons import Daemon, die_with_parent
from .wait import wait_for


def _threads(daemon: Daemon) -> list[str]:
    """The status of each thread, as in proc(5)."""
    found = []
    for thread in Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            found.append((thread / "status").read_text())
    return found


@contextlib.contextmanager
def held_at_ioctl(daemon: Daemon, path: str) -> Iterator[None]:
    """The daemon stops, as by SIGSTOP, when it has made the next ioctl(2) on the file `path`: see
    wait_held(). It goes on at the end."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=ioctl",
         "-e", "inject=ioctl:signal=STOP:when=1", "-p", str(daemon.pid)],
        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def is_traced() -> bool:
        return all(f"\nTracerPid:\t{tracer.pid}\n" in status for status in _threads(daemon))
    try:
        wait_for(is_traced, 10, f"strace to be attached to {daemon.name}")
        yield
    finally:
        tracer.terminate()
        tracer.wait(10)
        if daemon.running:
            daemon.signal(signal.SIGCONT)


def wait_held(daemon: Daemon) -> None:
    """Waits until each of its threads stands still. A thread that strace looks at does so, too, for
    a moment."""
    def is_held() -> bool:
        return all(status.split("\nState:\t")[1][0] in "Tt" for status in _threads(daemon))
    wait_for(is_held, 10, f"{daemon.name} to stand still")
