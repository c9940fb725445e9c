# SPDX-License-Identifier: Apache-2.0
"""The vDPA device in software that an engine loads for tests (tests/device/test_device.hpp)."""

import socket
from pathlib import Path

from .wait import wait_for

_CONTROL = "vdpa-test-devices"


def plugin(build: Path) -> Path:
    return build / "tests/device/libvdpa_test_plugin.so"


class TestDevices:
    """The control socket, which is there once a device was opened. It is an abstract one: each
    sandbox has its own, as each has a network namespace."""

    __test__ = False  # Not a test class, whatever its name.

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._buffer = b""

    def close(self) -> None:
        if self._socket:
            self._socket.close()

    def spec(self, name: str = "vdpa_test0", **arguments: object) -> str:
        """The name of a device for a PortSpec."""
        words = {**arguments, "control": _CONTROL}
        return ",".join([name, *[f"{key}={value}" for key, value in words.items()]])

    def _connect(self) -> socket.socket:
        def connected() -> socket.socket | None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(20)
            try:
                connection.connect(f"\0{_CONTROL}")
                return connection
            except OSError:
                connection.close()
                return None
        return wait_for(connected, 10, "the control socket")

    def command(self, *words: object) -> list[str]:
        if not self._socket:
            self._socket = self._connect()
        self._socket.sendall(" ".join(map(str, words)).encode() + b"\n")
        while not (self._buffer.startswith(b"\n") or b"\n\n" in self._buffer):
            data = self._socket.recv(65536)
            assert data, "the engine has ended"
            self._buffer += data
        if self._buffer.startswith(b"\n"):
            answer, self._buffer = b"", self._buffer[1:]
        else:
            answer, self._buffer = self._buffer.split(b"\n\n", 1)
        return answer.decode().splitlines()

    def calls(self) -> list[str]:
        """What the devices were asked to do since the last time."""
        return self.command("calls")

    def fail(self, call: str, count: int, result: int = -1) -> None:
        self.command("fail", call, count, result)

    def slow(self, call: str, milliseconds: int) -> None:
        self.command("slow", call, milliseconds)

    def remove(self, name: str = "vdpa_test0") -> None:
        self.command("remove", name)

    def bring_back(self, name: str = "vdpa_test0") -> None:
        self.command("return", name)

    def moved(self) -> int:
        return int(self.command("moved")[0])
