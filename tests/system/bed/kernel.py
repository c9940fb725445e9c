# SPDX-License-Identifier: Apache-2.0
"""The guest's kernel: its modules, and what it says."""

import os
import re
import subprocess
from pathlib import Path

# What a kernel writes when something is wrong with it, or with what was asked of it.
_FAULT = re.compile(r"WARNING: |BUG: |\bOops\b|general protection fault|Call Trace:|UBSAN|KASAN|"
                    r"INFO: task \S+ blocked|rcu: INFO|refcount_t|unregister_netdevice: waiting")


def load(*modules: str) -> None:
    """AssertionError if the kernel does not have one of them."""
    for module in modules:
        done = subprocess.run(["modprobe", *module.split()], capture_output=True, text=True)
        assert done.returncode == 0, f"modprobe {module}: {done.stderr.strip()}"


def unload(*modules: str) -> None:
    for module in modules:
        done = subprocess.run(["modprobe", "-r", module], capture_output=True, text=True)
        assert done.returncode == 0, f"modprobe -r {module}: {done.stderr.strip()}"


def loaded(module: str) -> bool:
    return Path(f"/sys/module/{module}").is_dir()


class KernelLog:
    """What the kernel says from now on."""

    def __init__(self) -> None:
        self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        while True:
            try:
                record = os.read(self._descriptor, 8192).decode(errors="replace")
            except BlockingIOError:
                return self._lines
            except BrokenPipeError:
                continue  # Messages were overwritten before they were read.
            self._lines.append(record.partition(";")[2].splitlines()[0])

    def faults(self) -> list[str]:
        return [line for line in self.lines() if _FAULT.search(line)]

    def close(self) -> None:
        os.close(self._descriptor)
