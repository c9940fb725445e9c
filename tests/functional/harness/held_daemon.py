# SPDX-License-Identifier: Apache-2.0
"""A daemon that stands still in the middle of what it does."""

import contextlib
import signal
import subprocess
from pathlib import Path
from typing import Iterator

from .daemons import Daemon, die_with_parent
from .wait import wait_for


@contextlib.contextmanager
def held_at_ioctl(daemon: Daemon, path: str) -> Iterator[None]:
    """The daemon stops, as by SIGSTOP, when it has made the next ioctl(2) on the file `path`: see
    wait_held(). It goes on at the end."""
    process = Path(f"/proc/{daemon.pid}")
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "trace=ioctl",
         "-e", "inject=ioctl:signal=STOP:when=1", "-p", str(daemon.pid)],
        stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def is_traced() -> bool:
        return all(f"\nTracerPid:\t{tracer.pid}\n" in (thread / "status").read_text()
                   for thread in (process / "task").iterdir())
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
        states = [(thread / "status").read_text().split("\nState:\t")[1][0]
                  for thread in Path(f"/proc/{daemon.pid}/task").iterdir()]
        return set(states) <= {"T", "t"}
    wait_for(is_held, 10, f"{daemon.name} to stand still")
