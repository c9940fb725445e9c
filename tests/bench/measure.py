# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks measure with."""

import os
import sys
import time
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "functional"))

TICKS = os.sysconf("SC_CLK_TCK")


def until(condition: Callable[[], object], bound: float, step: float = 0.0003) -> float:
    """Seconds until the condition holds. RuntimeError past the bound."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > bound:
            raise RuntimeError(f"nothing within {bound:g} s")
        time.sleep(step)
    return time.monotonic() - start


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_nanoseconds(pid: int) -> int:
    """Time on the processor, all threads, to the nanosecond."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir())


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def row(*cells: object) -> None:
    print("  " + "".join(f"{str(cell):<34}" if not i else f"{str(cell):>16}"
                         for i, cell in enumerate(cells)), flush=True)


def title(text: str) -> None:
    print(f"\n{text}", flush=True)
