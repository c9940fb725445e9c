# SPDX-License-Identifier: Apache-2.0
"""A plain client of the engine's RPC socket: JSON-RPC 2.0, one message a line."""

import itertools
import json
import socket
import time
from pathlib import Path
from typing import Any


class RpcError(Exception):
    """The engine answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')}")
        self.code = error.get("code")


class RpcClient:
    """One connection. Notifications that arrive while an answer is awaited are kept."""

    def __init__(self, path: Path | str, bound: float = 10) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._bound = bound
        self._socket.settimeout(bound)
        self._socket.connect(str(path))
        self._buffer = b""
        self._numbers = itertools.count(1)
        self.notifications: list[dict[str, Any]] = []

    def __enter__(self) -> "RpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read_message(self, bound: float | None = None) -> dict[str, Any] | None:
        """The next message; None at the end of the stream. TimeoutError after `bound` seconds."""
        end = time.monotonic() + (self._bound if bound is None else bound)
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no message from the engine")
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        message = json.loads(line)
        assert isinstance(message, dict), f"no object: {line[:200]!r}"
        return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method; RpcError when the engine answers with an error."""
        number = next(self._numbers)
        self.send_raw(json.dumps({"jsonrpc": "2.0", "id": number, "method": method,
                                  "params": params}).encode() + b"\n")
        while True:
            message = self.read_message()
            if message is None:
                raise ConnectionError(f"the engine closed the connection at {method}")
            if "id" not in message:
                self.notifications.append(message)
            elif message["id"] == number:
                if "error" in message:
                    raise RpcError(message["error"])
                return message["result"]

    def counters(self, port: str) -> dict[int, dict[str, int]]:
        """Counters of a port's rings, by ring index."""
        answer = self.call("port.stats", name=port)
        return {queue["index"]: queue["counters"] for queue in answer["queues"]}
