# SPDX-License-Identifier: Apache-2.0
"""How often a process asks the kernel something by netlink."""

import contextlib
import socket
import struct
import subprocess
import threading
from typing import Iterator

_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_NLM_F_REQUEST = 1  # netlink(7)
# Of a port number that libnl makes; the bits above count a process's sockets.
_PID_BITS = 0x3fffff
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_DEVICE = "nlmon0"


def count_requests(data: bytes, pid: int) -> int:
    """Messages in `data` that the process sent as requests. An answer has its port, too."""
    count = 0
    while len(data) >= _HEADER.size:
        length, _, flags, _, port = _HEADER.unpack_from(data)
        count += bool(flags & _NLM_F_REQUEST) and port & _PID_BITS == pid
        data = data[max(_HEADER.size, (length + 3) & ~3):]
    return count


class Requests:
    """Those of one process, of all protocols, while counting() runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.count = 0

    @contextlib.contextmanager
    def counting(self) -> Iterator["Requests"]:
        """By a netdev of kind nlmon, to which the kernel shows every netlink message."""
        subprocess.run(["ip", "link", "add", _DEVICE, "up", "type", "nlmon"], check=True)
        stop = threading.Event()
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as tap:
            tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            tap.bind((_DEVICE, _ETH_P_ALL))
            tap.settimeout(0.2)
            reader = threading.Thread(target=self._read, args=(tap, stop))
            reader.start()
            try:
                yield self
            finally:
                stop.set()
                reader.join()
                subprocess.run(["ip", "link", "del", _DEVICE], check=True)

    def _read(self, tap: socket.socket, stop: threading.Event) -> None:
        """To the end of what has been shown when it is told to stop."""
        while True:
            try:
                self.count += count_requests(tap.recv(1 << 16), self._pid)
            except TimeoutError:
                if stop.is_set():
                    return
