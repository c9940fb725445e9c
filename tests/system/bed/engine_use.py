# SPDX-License-Identifier: Apache-2.0
"""What an engine uses of its machine: processor time, pinned memory, descriptors."""

import contextlib
import statistics
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Callable, NamedTuple

from harness.daemons import Daemon
from harness.wait import wait_for


class Work(NamedTuple):
    """Until a point of time: seconds of a processor by the scheduler's own account (the first field
    of Documentation/scheduler/sched-stats.rst; ticks would miss what runs shortly), and how often a
    thread has waited for something to do."""

    at: float
    processor: float
    wakeups: int


class Load:
    """What an engine has done in some time."""

    def __init__(self, samples: list[Work]) -> None:
        self._samples = samples
        self.seconds = samples[-1].at - samples[0].at

    @property
    def processor(self) -> float:
        """The part of a processor that it takes, all of the time: the lower quartile of the
        seconds. A machine that is busy with other things takes the guest's processors away, for
        milliseconds that count for who was running."""
        parts = [(after.processor - before.processor) / (after.at - before.at)
                 for before, after in pairwise(self._samples)]
        return statistics.quantiles(parts, n=4)[0]

    @property
    def wakeups(self) -> float:
        """A second."""
        return (self._samples[-1].wakeups - self._samples[0].wakeups) / self.seconds

    def __str__(self) -> str:
        return (f"{100 * self.processor:.4f} % of a processor and {self.wakeups:.1f} wake-ups a "
                f"second over {self.seconds:.0f} s")


def _voluntary_switches(status: str) -> int:
    for line in status.splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError(status)


class EngineUse:
    """Of a stack whose daemon `engine` runs."""

    engine: Daemon

    def pinned(self) -> int:
        """kB of memory that devices may write to."""
        for line in Path(f"/proc/{self.engine.pid}/status").read_text().splitlines():
            if line.startswith("VmPin:"):
                return int(line.split()[1])
        raise AssertionError("no VmPin")

    def descriptors(self) -> "Counter[str]":
        return self.engine.descriptors()

    def wait_clean(self, descriptors: "Counter[str]", pinned: int = 0) -> None:
        """Waits until it pins so much and has no descriptor that it had not then."""
        wait_for(lambda: self.pinned() == pinned, 10,
                 lambda: f"{pinned} kB of pinned pages: {self.pinned()} kB")
        wait_for(lambda: not self.descriptors() - descriptors, 10,
                 lambda: f"no further descriptor: {self.descriptors() - descriptors}")

    def work(self) -> Work:
        """What its threads have done so far."""
        nanoseconds, wakeups = 0, 0
        for task in Path(f"/proc/{self.engine.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                nanoseconds += int((task / "schedstat").read_text().split()[0])
                wakeups += _voluntary_switches((task / "status").read_text())
        return Work(time.monotonic(), nanoseconds / 1e9, wakeups)

    def watch(self, going_on: Callable[[], bool]) -> Load:
        """What it does as long as that is true, looked at each second."""
        samples = [self.work()]
        while going_on():
            time.sleep(1)
            samples.append(self.work())
        return Load(samples)
