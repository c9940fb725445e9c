# SPDX-License-Identifier: Apache-2.0
"""What something takes a process: figures that say more of the process than of the machine."""

import contextlib
import os
from pathlib import Path
from typing import Iterator, NamedTuple

from .netlink import Requests


class Usage(NamedTuple):
    messages: int = 0  # that it sent to the kernel by netlink
    processor: float = 0.0  # seconds, of all its threads
    written: int = 0  # bytes, to whatever


def _written(pid: int) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/io has no wchar")


def _processor(pid: int) -> float:
    # After the name, which may have any character: utime and stime are fields 14 and 15 of proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Meter:
    """`usage` is that of what ran in measuring()."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.usage = Usage()

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        with Requests(self._pid).counting() as requests:
            processor, written = _processor(self._pid), _written(self._pid)
            yield
            processor = _processor(self._pid) - processor
            written = _written(self._pid) - written
        self.usage = Usage(requests.count, processor, written)
