# SPDX-License-Identifier: Apache-2.0
"""A numbered stream: ICMP echo requests at a steady rate, each accounted for.

Run as a program, so that the stream goes on while the test does something else:
    stream.py ADDRESS PER_SECOND
    stream.py ADDRESS PER_SECOND NETDEV MAC
The first sends through the host's stack. The second writes frames for MAC to a netdev and reads the
answers from there, so that nothing but the netdev lies between: with a TAP, its other side. It prints "started" with the first answer. At SIGINT it stops sending, waits for what is under way,
and prints a JSON object: sent, received, duplicates, lost (the first missing numbers) and
longest_gap, the longest time in seconds between two answers."""

import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple

_ECHO_REQUEST = 8
_ECHO_REPLY = 0
_SO_RCVBUFFORCE = 33
_ETH_P_IP = 0x0800
_LAST_ANSWERS = 3.0

# The sender of a stream on a netdev, and the address that a guest is to forward to: answers to echo
# requests are limited by the guest's socket buffers, what it forwards is not.
DIRECT_ADDRESS = "10.1.0.250"
FORWARD_ADDRESS = "10.1.0.251"
DIRECT_MAC = "02:00:00:00:00:fa"


class StreamResult(NamedTuple):
    sent: int
    received: int
    duplicates: int
    lost: list[int]
    longest_gap: float


class Stream:
    """The handle of a stream that runs in a process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def wait_started(self, bound: float = 20) -> "Stream":
        """Waits for the first answer."""
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], bound)
        line = self._process.stdout.readline() if ready else ""
        assert line.startswith("started"), f"no answer to the stream in {bound:g} s {line}"
        return self

    def stop(self) -> StreamResult:
        self._process.send_signal(signal.SIGINT)
        output = self._process.communicate(timeout=20)[0]
        return StreamResult(**json.loads(output.splitlines()[-1]))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def _request(identifier: int, number: int) -> bytes:
    # The 16-bit sequence number wraps; the payload carries the whole one.
    payload = struct.pack("!Q48x", number)
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, number & 0xffff)
    check = _checksum(head + payload)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, check, identifier, number & 0xffff) + payload


def _ip_header(source: str, target: str, length: int) -> bytes:
    fields = (0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_ICMP)
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", *fields, 0) + addresses
    return struct.pack("!BBHHHBBH", *fields, _checksum(head)) + addresses


class _Stack:
    """Requests and answers through the host's stack."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._address = address

    def send(self, message: bytes) -> None:
        self.socket.sendto(message, (self._address, 0))

    @staticmethod
    def packet(data: bytes) -> bytes:
        return data


class _Netdev:
    """Requests and answers as frames of a netdev."""

    def __init__(self, address: str, netdev: str, mac: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))
        self.socket.bind((netdev, _ETH_P_IP))
        self._address = address
        self._ethernet = (bytes.fromhex(mac.replace(":", ""))
                          + bytes.fromhex(DIRECT_MAC.replace(":", "")) + b"\x08\0")

    def send(self, message: bytes) -> None:
        self.socket.send(self._ethernet
                         + _ip_header(DIRECT_ADDRESS, self._address, len(message)) + message)

    @staticmethod
    def packet(data: bytes) -> bytes:
        return data[14:]


def main(address: str, per_second: str, *direct: str) -> None:
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
    signal.signal(signal.SIGINT, stop)
    identifier = os.getpid() & 0xffff
    forwarded = address == FORWARD_ADDRESS
    way = _Netdev(address, *direct) if direct else _Stack(address)
    handle = way.socket
    handle.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
    handle.setblocking(False)
    seen: set[int] = set()
    sent = duplicates = 0
    longest = 0.0
    last_answer = None
    interval = 1 / float(per_second)
    due = time.monotonic()
    end = None
    for _ in itertools.count():
        now = time.monotonic()
        if stopping and end is None:
            end = now + _LAST_ANSWERS
        if end is not None and (now >= end or len(seen) == sent):
            break
        while end is None and now >= due:
            try:
                way.send(_request(identifier, sent))
                sent += 1
            except OSError:
                pass  # The netdev is down, for example: not sent, so it does not count.
            # A stalled process does not catch up with a burst.
            due = max(due + interval, now - 5 * interval)
        pause = max(0.0, min(due if end is None else end, now + 0.1) - time.monotonic())
        if not select.select([handle], [], [], pause)[0]:
            continue
        try:
            packet = way.packet(handle.recv(2048))
        except OSError:
            continue
        icmp = packet[(packet[0] & 15) * 4:] if len(packet) > 20 and packet[9] == 1 else b""
        if len(icmp) < 16:
            continue
        kind, _, _, ident, _ = struct.unpack_from("!BBHHH", icmp)
        if ident != identifier or kind != (_ECHO_REQUEST if forwarded else _ECHO_REPLY):
            continue
        number = struct.unpack_from("!Q", icmp, 8)[0]
        if number in seen:
            duplicates += 1
        seen.add(number)
        now = time.monotonic()
        if last_answer is None:
            print("started", flush=True)
        else:
            longest = max(longest, now - last_answer)
        last_answer = now
    missing = itertools.islice((n for n in range(sent) if n not in seen), 20)
    print(json.dumps({"sent": sent, "received": len(seen), "duplicates": duplicates,
                      "lost": list(missing), "longest_gap": round(longest, 4)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
