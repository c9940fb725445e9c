# SPDX-License-Identifier: Apache-2.0
"""A front-end whose device returns what it is sent: tests/system/loop. And such a device of several
queue pairs, played by a process: tests/system/vduse_loop."""

import json
import os
import subprocess
from pathlib import Path
from typing import IO, NamedTuple

from harness.daemons import die_with_parent
from harness.sandbox import build_folder
from harness.wait import wait_for

from . import kernel
from .vdpa import VdpaDevices


class Result(NamedTuple):
    """What came of a run; `lost`, `late` and `misordered` are frames."""

    complete: bool
    sent: int
    received: int
    lost: int
    late: int
    misordered: int
    damaged: int
    foreign: int
    seconds: float


_NUMBERS = ("sent", "received", "lost", "late", "misordered", "damaged", "foreign")


class Loop:
    """One run, from its start to its end or kill()."""

    def __init__(self, path: Path, frames: int, folder: Path, **options: int) -> None:
        """Options as in tests/system/loop/main.cpp."""
        self._log = folder / f"{path.name}.{os.urandom(4).hex()}.loop"
        self._output: IO[bytes] = self._log.open("wb")
        self._process = subprocess.Popen(
            [build_folder() / "tests/system/loop/vdpa-loop", path, str(frames),
             *[f"{key}={value}" for key, value in options.items()]],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent)

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def describe(self) -> str:
        return self._log.read_text(errors="replace")

    def _said(self, word: str) -> bool:
        assert self._process.poll() in (None, 0, 1), self.describe()
        return word in self.describe()

    def wait_started(self, bound: float = 60) -> "Loop":
        """The driver has set the device up, and sends."""
        wait_for(lambda: self._said('"started"'), bound,
                 lambda: f"the front-end to start:\n{self.describe()}")
        return self

    def ended(self) -> bool:
        """All frames have come back, or do not come any more."""
        return self._said('"complete"')

    def so_far(self) -> Result:
        """What has come of it until a second ago."""
        assert self._process.poll() is None, self.describe()
        lines = [line for line in self.describe().splitlines() if line.startswith('{"sent"')]
        numbers = json.loads(lines[-1]) if lines else dict.fromkeys(_NUMBERS, 0)
        return Result(complete=False, seconds=0, **numbers)

    def received(self) -> int:
        return self.so_far().received

    def stop(self) -> Result:
        """Ends it before all frames have come back."""
        self._process.terminate()
        return self.wait(30)

    def wait(self, bound: float) -> Result:
        """Until all frames have come back, or do not come any more."""
        wait_for(self.ended, bound,
                 lambda: f"the frames to come back:\n{self.describe()}", 0.1)
        self._process.wait(30)
        line = next(line for line in self.describe().splitlines() if '"complete"' in line)
        return Result(**json.loads(line))

    def kill(self) -> None:
        """As a front-end that dies, in the middle of its traffic."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        self._output.close()


def run(path: Path, frames: int, folder: Path, bound: float = 120, **options: int) -> Result:
    with Loop(path, frames, folder, **options) as loop:
        return loop.wait(bound)


def assert_complete(result: Result) -> None:
    """Everything came back, whole, once, in order."""
    assert result.complete and result.received == result.sent, result
    assert not (result.lost or result.misordered or result.damaged), result


class VduseLoop:
    """A kernel vDPA device; it goes with the process, which has to outlive its users."""

    def __init__(self, name: str, *, pairs: int = 1, packed: bool = True) -> None:
        kernel.load("vduse")
        self.name = name
        self._pairs = pairs
        self._process = subprocess.Popen(
            [build_folder() / "tests/system/vduse_loop/vduse-loop", name, f"pairs={pairs}",
             f"packed={int(packed)}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        self._devices = VdpaDevices("vduse")
        try:
            assert self._answer() == "ready"
            self.device = self._devices.create(name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "VduseLoop":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def _say(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def set_link(self, up: bool) -> None:
        """What its configuration space says of its link."""
        self._say(f"link {'up' if up else 'down'}")

    def frames(self) -> list[int]:
        """Frames returned so far, by queue pair."""
        self._say("frames")
        return [int(word) for word in self._answer().split()]

    def close(self) -> None:
        self._devices.close()
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(10)
