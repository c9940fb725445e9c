# SPDX-License-Identifier: Apache-2.0
"""Starting, stopping and killing a daemon, and what it wrote meanwhile."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence

from . import logs
from .wait import PATIENCE, wait_for

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """For preexec_fn: a harness that is killed takes its daemons along."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class DaemonDied(AssertionError):
    """A daemon ended that nobody had told to."""


class Daemon:
    """One program that is to keep running. start() may be called again after stop() or kill().

    Its standard output and error go to LOGDIR/NAME.out; it is told to write its log itself to
    LOGDIR/NAME.log, which is read by the checks. With `linger` it survives the harness.
    """

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], logdir: Path,
                 *, linger: bool = False) -> None:
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.out = logdir / f"{name}.out"
        self.log = logdir / f"{name}.log"
        self.linger = linger
        self.was_killed = False  # Once at least, without a chance to tidy up.
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, ready: Callable[[], object], bound: float = 20) -> None:
        """Starts it and waits until `ready()` is true. DaemonDied if it ends before."""
        assert not self.running, f"{self.name} runs already"
        with self.out.open("ab") as out:
            self._process = subprocess.Popen(
                self.argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True, preexec_fn=None if self.linger else die_with_parent)

        def is_ready() -> object:
            self.check_alive()
            return ready()
        wait_for(is_ready, bound, lambda: f"{self.name} to be ready\n{self.describe()}")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def descriptors(self) -> "Counter[str]":
        """How many descriptors it has of what, without numbers that mean nothing."""
        folder = f"/proc/{self.pid}/fd"
        found: "Counter[str]" = Counter()
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                found[os.readlink(f"{folder}/{name}").split(":[")[0]] += 1
        return found

    def check_alive(self) -> None:
        """DaemonDied if it ended without stop() or kill()."""
        if self._process is not None and self._process.poll() is not None:
            raise DaemonDied(f"{self.name} ended by itself with status "
                             f"{self._process.returncode}\n{self.describe()}")

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, bound: float = 20) -> int:
        """Waits for the end of a daemon that was told to end in another way; its status."""
        assert self._process is not None
        bound *= PATIENCE
        try:
            status = self._process.wait(bound)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} did not end in {bound:g} s\n{self.describe()}") from None
        self._process = None
        return status

    def stop(self, bound: float = 20) -> None:
        """SIGTERM, and the daemon has to end with status 0."""
        if self._process is None:
            return
        self.check_alive()
        self.signal(signal.SIGTERM)
        status = self.wait(bound)
        assert status == 0, f"{self.name} ended with status {status}\n{self.describe()}"

    def kill(self) -> None:
        """SIGKILL; no trace of it remains among the processes when this returns."""
        if self._process is None:
            return
        self.was_killed = True
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def unexpected_lines(self, expected: Iterable[re.Pattern[str]]) -> list[str]:
        patterns = list(expected)
        return logs.unexpected(self.log, patterns) + logs.unexpected(self.out, patterns)

    def describe(self, lines: int = 25) -> str:
        return (f"--- last lines of {self.log}\n{logs.tail(self.log, lines)}\n"
                f"--- last lines of {self.out}\n{logs.tail(self.out, lines)}")
