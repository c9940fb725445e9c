# SPDX-License-Identifier: Apache-2.0
"""A machine that belongs to one test, in the place of namespaces of its own."""

import contextlib
import os
from pathlib import Path

from harness.namespaces import Namespaces, netdevs

_KERNEL_THREAD = 0x00200000


def _user_processes() -> set[tuple[int, int]]:
    """Number and time of start of each process with a program; a number alone may come again."""
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything.
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            if not int(fields[6]) & _KERNEL_THREAD:
                found.add((int(entry), int(fields[19])))
    return found


class WholeMachine(Namespaces):
    """vDPA's netlink family and devices are not there in a network namespace, and in production
    nothing is in one either. What was there when it was entered is not ours."""

    def __init__(self) -> None:
        super().__init__()
        self._processes: set[tuple[int, int]] = set()
        self.netdevs: set[str] = set()

    def enter(self) -> None:
        self._processes = _user_processes()
        self.netdevs = set(netdevs())

    def join(self, pid: int) -> None:
        raise AssertionError(f"{pid} is in no sandbox that another program could enter")

    def leave(self) -> None:
        pass

    def processes(self) -> list[int]:
        return [pid for pid, start in _user_processes() - self._processes if pid != os.getpid()]
