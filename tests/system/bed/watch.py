# SPDX-License-Identifier: Apache-2.0
"""What the agent's inventory says of the guest while a test changes its devices."""

import json
import os
import selectors
import signal
import subprocess
import time
from typing import Any, Callable

from harness.daemons import die_with_parent
from harness.sandbox import build_folder

Predicate = Callable[[list[str]], object]


class InventoryWatch:
    """Runs inventory-watch and keeps what it printed last: a line for each PF, function and vDPA
    device, as tests/unit/agent/host/describe.cpp composes them."""

    def __init__(self, *, link_buffer: int = 0, devlink_buffer: int = 0) -> None:
        program = build_folder() / "tests/unit/agent/host/inventory-watch"
        self._process = subprocess.Popen(
            [program, str(link_buffer), str(devlink_buffer)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._rest = b""
        self._refreshed: list[str] = []
        self.report: dict[str, Any] = {}
        self.wait(lambda lines: self.report, "the first inventory")

    @property
    def lines(self) -> list[str]:
        """The inventory as last told of."""
        return self.report.get("inventory", [])

    def functions(self) -> list[str]:
        return [line.strip() for line in self.lines if line.startswith("  ")]

    def wait(self, condition: Predicate, what: str, bound: float = 30) -> float:
        """Reads until the inventory is so; how long that took."""
        begin = time.monotonic()
        while not condition(self.lines):
            left = begin + bound - time.monotonic()
            assert left > 0, f"no {what} after {bound} s: {json.dumps(self.report, indent=1)}"
            assert self._process.poll() is None, "inventory-watch ended"
            self._read(left)
        return time.monotonic() - begin

    def wait_line(self, text: str, bound: float = 30) -> float:
        """Waits until a line has the text."""
        return self.wait(lambda lines: any(text in line for line in lines), text, bound)

    def wait_no_line(self, text: str, bound: float = 30) -> float:
        return self.wait(lambda lines: not any(text in line for line in lines), f"end of {text}",
                         bound)

    def _read(self, bound: float) -> None:
        assert self._process.stdout
        if not self._selector.select(min(bound, 0.2)):
            return
        *lines, self._rest = (self._rest + (self._process.stdout.read() or b"")).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "refreshed" in message:
                self._refreshed.append(message["refreshed"])
            else:
                self.report = message

    def refresh(self, handle: str, bound: float = 30) -> float:
        """Has the device read anew; how long that took."""
        return self._command(f"refresh {handle}", bound)

    def refresh_vdpa(self, bound: float = 30) -> float:
        return self._command("refresh-vdpa", bound)

    def _command(self, command: str, bound: float) -> float:
        assert self._process.stdin
        before = len(self._refreshed)
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()
        return self.wait(lambda lines: len(self._refreshed) > before, command, bound)

    def pause(self) -> None:
        """From now on it reads nothing, so that what it is sent overflows."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        self.resume()
        self._process.stdin.close()
        try:
            status = self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._selector.close()
            self._process.stdout.close()
        assert status == 0, f"inventory-watch ended with status {status}"
