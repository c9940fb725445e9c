# SPDX-License-Identifier: Apache-2.0
"""The engine tells systemd that it lives as long as all of its threads do."""

import contextlib
import ctypes
import os
import socket
from pathlib import Path
from typing import Iterator

import pytest

from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import ENGINE_LOST

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_LIBC.ptrace.restype = ctypes.c_long
_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000


def _ptrace(request: int, thread: int) -> None:
    if _LIBC.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


@contextlib.contextmanager
def _stopped(pid: int, name: str) -> Iterator[None]:
    """Inside, the thread of that name does not run, but all others of its process do."""
    tasks = Path(f"/proc/{pid}/task")
    thread = next(int(task.name) for task in tasks.iterdir()
                  if (task / "comm").read_text().strip() == name)
    _ptrace(_SEIZE, thread)
    _ptrace(_INTERRUPT, thread)
    os.waitpid(thread, _WALL)
    try:
        yield
    finally:
        _ptrace(_DETACH, thread)


class _Notifications:
    """What systemd would be told."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait(self, text: str, bound: float) -> bool:
        """Whether that is said before nothing at all is said for `bound` seconds."""
        self._socket.settimeout(bound)
        with contextlib.suppress(TimeoutError):
            while True:
                if text in self._socket.recv(4096).decode().splitlines():
                    return True
        return False

    def forget(self) -> None:
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)


@pytest.fixture
def told(sandbox: Sandbox, tmp_path: Path) -> _Notifications:
    """The engine is a service that has to say within a second that it lives."""
    sandbox.expect_log(ENGINE_LOST)
    notifications = _Notifications(tmp_path / "notify")
    sandbox.engine.stop()
    sandbox.engine.env |= {"NOTIFY_SOCKET": str(tmp_path / "notify"),
                           "WATCHDOG_USEC": "1000000"}
    sandbox.start_engine()
    assert notifications.wait("READY=1", 10)
    return notifications


def test_a_thread_that_stands_still_is_not_called_alive(
        sandbox: Sandbox, told: _Notifications) -> None:
    thread = "relay-0"
    sandbox.expect_log(rf"\|watchdog\|(ERR|WARN)\|thread {thread} (has stood still|goes on)")
    sandbox.add_port("vm1")
    assert told.wait("WATCHDOG=1", 10)
    log = sandbox.engine.log
    with _stopped(sandbox.engine.pid, thread):
        def stands_still() -> bool:
            told.forget()  # or the engine would wait for room to say that it lives
            return f"thread {thread} has stood still" in log.read_text()

        wait_for(stands_still, 60, f"the log to say that {thread} stands still")
        told.forget()
        assert not told.wait("WATCHDOG=1", 3), "it still says that it lives"
        with sandbox.rpc() as client:
            assert client.call("engine.info")["pid"] == sandbox.engine.pid
    assert told.wait("WATCHDOG=1", 10), "it does not say again that it lives"
    wait_for(lambda: f"thread {thread} goes on" in log.read_text(), 10, "the log to say so")
