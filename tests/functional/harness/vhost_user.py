# SPDX-License-Identifier: Apache-2.0
"""The beginning of what a vhost-user front-end says."""

import socket
import struct
from pathlib import Path

# Request, flags (protocol version 1), size of the payload, which is empty.
GET_FEATURES = struct.pack("=III", 1, 1, 0)
REPLY_SIZE = 12 + 8


def ask(path: Path | str, bound: float = 10) -> socket.socket | None:
    """A connection over which the features were asked for; None when nobody takes one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(bound)
        connection.connect(str(path))
        connection.sendall(GET_FEATURES)
        return connection
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise


def answered(connection: socket.socket) -> bool:
    """Whether the answer comes, and not the end of the connection. TimeoutError past its bound."""
    try:
        return len(connection.recv(REPLY_SIZE, socket.MSG_WAITALL)) == REPLY_SIZE
    except ConnectionError:
        return False


def ask_features(path: Path | str) -> socket.socket | None:
    """A connection that has answered; None when nobody takes it, or it is hung up on."""
    connection = ask(path)
    if connection and not answered(connection):
        connection.close()
        return None
    return connection
