# SPDX-License-Identifier: Apache-2.0
"""The beginning of what a vhost-user front-end says."""

import socket
import struct
from pathlib import Path

# Request, flags (protocol version 1), size of the payload, which is empty.
GET_FEATURES = struct.pack("=III", 1, 1, 0)
REPLY_SIZE = 12 + 8


def ask_features(path: Path | str, bound: float = 10) -> socket.socket | None:
    """A connection over which the features were asked for, and which has answered; None when there
    is nothing to connect to, or it hung up. TimeoutError past the bound."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(bound)
        connection.connect(str(path))
        connection.sendall(GET_FEATURES)
        if len(connection.recv(REPLY_SIZE, socket.MSG_WAITALL)) == REPLY_SIZE:
            return connection
    except (FileNotFoundError, ConnectionError):
        pass
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None
