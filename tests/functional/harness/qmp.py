# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor (docs/interop/qmp-spec.rst)."""

import json
import socket
from pathlib import Path
from typing import Any

from .wait import PATIENCE, wait_for


class QmpError(Exception):
    """QEMU answered with an error."""


class Qmp:
    """One connection to a monitor, which may not be there yet."""

    def __init__(self, path: Path, bound: float = 20) -> None:
        def connected() -> socket.socket | None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
                return connection
            except OSError:
                connection.close()
                return None
        self._socket = wait_for(connected, bound, f"QEMU's monitor {path}")
        self._socket.settimeout(60 * PATIENCE)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._read()  # The greeting.
        self.execute("qmp_capabilities")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("QEMU closed its monitor")
        return json.loads(line)

    def execute(self, command: str, **arguments: Any) -> Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            message = self._read()
            if "error" in message:
                raise QmpError(message["error"]["desc"])
            if "return" in message:
                return message["return"]
            # Anything else is an event.
