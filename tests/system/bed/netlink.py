# SPDX-License-Identifier: Apache-2.0
"""What a process asks of the kernel by netlink, and what it could not take in."""

import contextlib
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Iterator

from . import kernel
from .netdevsim import Netdevsim

NETLINK_ROUTE, NETLINK_GENERIC = 0, 16
_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_NLM_F_REQUEST = 1  # netlink(7)
# Of a port number that libnl makes; the bits above count a process's sockets.
_PID_BITS = 0x3fffff
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_MONITOR = "nlmon0"
_FLOODED = "flood0"


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
        kernel.load("nlmon")
        subprocess.run(["ip", "link", "add", _MONITOR, "up", "type", "nlmon"], check=True)
        stop = threading.Event()
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL)) as tap:
            tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            tap.bind((_MONITOR, _ETH_P_ALL))
            tap.settimeout(0.2)
            reader = threading.Thread(target=self._read, args=(tap, stop))
            reader.start()
            try:
                yield self
            finally:
                stop.set()
                reader.join()
                subprocess.run(["ip", "link", "del", _MONITOR], check=True)

    def _read(self, tap: socket.socket, stop: threading.Event) -> None:
        """To the end of what has been shown when it is told to stop."""
        while True:
            try:
                self.count += count_requests(tap.recv(1 << 16), self._pid)
            except TimeoutError:
                if stop.is_set():
                    return


def dropped(pid: int, protocol: int) -> int:
    """Messages of NETLINK_ROUTE or NETLINK_GENERIC that the kernel could not give to the process's
    sockets: each time the reader is told ENOBUFS."""
    drops = 0
    for line in Path("/proc/net/netlink").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1]) == protocol and int(fields[2]) & _PID_BITS == pid:
            drops += int(fields[8])
    return drops


def overflow(pid: int, nic: Netdevsim) -> None:
    """Notifies of changes that mean nothing, until the process, which is to be stopped, has lost
    some of both protocols; it loses all that follow until it reads on (NETLINK_S_CONGESTED of
    net/netlink/af_netlink.c)."""
    # Of a netdev that is down another alias is not notified.
    subprocess.run(["ip", "link", "add", _FLOODED, "up", "type", "dummy"], check=True)
    floods = {NETLINK_ROUTE: ("ip", f"link set dev {_FLOODED} alias"),
              NETLINK_GENERIC: ("devlink", f"dev param set {nic.handle} name max_macs "
                                           "cmode driverinit value")}
    for protocol, (program, change) in floods.items():
        before = dropped(pid, protocol)
        for _ in range(20):
            if dropped(pid, protocol) > before:
                break
            lines = "".join(f"{change} {number}\n" for number in range(1, 2001))
            subprocess.run([program, "-b", "-"], input=lines, text=True, check=True)
        assert dropped(pid, protocol) > before, f"{program}: nothing was lost"
    subprocess.run(["ip", "link", "del", _FLOODED], check=True)
