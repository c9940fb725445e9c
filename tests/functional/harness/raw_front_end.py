# SPDX-License-Identifier: Apache-2.0
"""A vhost-user front-end that says what a test has it say, right or wrong: QEMU's
docs/interop/vhost-user.rst. What it lets the engine believe of its memory is a memfd of its own."""

import array
import mmap
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple, Sequence

GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER = 1, 2, 3, 4
SET_MEM_TABLE, SET_LOG_BASE = 5, 6
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM = 15, 16, 17
SET_VRING_ENABLE, SEND_RARP, NET_SET_MTU, SET_BACKEND_REQ_FD = 18, 19, 20, 21
IOTLB_MSG, GET_CONFIG, SET_CONFIG = 22, 24, 25
POSTCOPY_ADVISE, POSTCOPY_LISTEN = 28, 29
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
SET_STATUS, GET_STATUS = 39, 40

PROTOCOL_FEATURES, VERSION_1, RING_PACKED, MQ = 1 << 30, 1 << 32, 1 << 34, 1 << 22
PROTOCOL_LOG, PROTOCOL_STATUS = 1 << 1, 1 << 16

MEMORY_SIZE = 1 << 20
USER_ADDRESS = 0x7f0000000000
RING_SIZE = 64
_NEED_REPLY = 8


class HungUp(Exception):
    """The engine has ended the connection, or answers nothing."""


class Region(NamedTuple):
    guest: int = 0
    size: int = MEMORY_SIZE
    user: int = USER_ADDRESS
    offset: int = 0


class RawFrontEnd:
    """One connection. Ring n has its parts at n * 0x1000 of the memory: descriptors at 0, driver
    area at 0x400, device area at 0x800."""

    def __init__(self, path: Path | str, bound: float = 10) -> None:
        self._files: list[int] = []
        self.file = os.memfd_create("guest")
        os.ftruncate(self.file, MEMORY_SIZE)
        self.memory = mmap.mmap(self.file, MEMORY_SIZE)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(bound)
        self._socket.connect(str(path))

    def __enter__(self) -> "RawFrontEnd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()
        self.memory.close()
        for fd in [self.file, *self._files]:
            os.close(fd)
        self._files.clear()

    def adopt(self, fd: int) -> None:
        """Closes the descriptor when this is closed."""
        self._files.append(fd)

    def leave(self) -> None:
        """Ends the connection, at once."""
        self._socket.close()

    # Messages.

    def send_raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        try:
            if fds:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
                self._socket.sendmsg([data], [rights])
            else:
                self._socket.sendall(data)
        except OSError as error:
            raise HungUp(str(error)) from None

    def send(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), *,
             need_reply: bool = False, size: int | None = None) -> None:
        flags = 1 | (_NEED_REPLY if need_reply else 0)
        length = len(payload) if size is None else size
        self.send_raw(struct.pack("=III", request, flags, length) + payload, fds)

    def send_u64(self, request: int, value: int, fds: Sequence[int] = (), **how: bool) -> None:
        self.send(request, struct.pack("=Q", value), fds, **how)

    def send_state(self, request: int, index: int, number: int, **how: bool) -> None:
        self.send(request, struct.pack("=II", index, number), **how)

    def _read(self, size: int) -> bytes:
        try:
            data = self._socket.recv(size, socket.MSG_WAITALL)
        except OSError as error:
            raise HungUp(str(error)) from None
        if len(data) != size:
            raise HungUp("end of stream")
        return data

    def reply(self) -> bytes:
        """The payload of the next answer."""
        return self._read(struct.unpack("=III", self._read(12))[2])

    def ask(self, request: int) -> int:
        """The number that a request without payload asks for."""
        self.send(request)
        return int.from_bytes(self.reply(), "little")

    def settled(self) -> bool:
        """Whether all that was said has been handled, and the connection goes on."""
        try:
            self.ask(GET_FEATURES)
        except HungUp:
            return False
        return True

    # What a well-behaved front-end says, in its order.

    def negotiate(self, features: int = VERSION_1 | PROTOCOL_FEATURES) -> None:
        offered = self.ask(GET_FEATURES)
        self.send(SET_OWNER)
        protocol = self.ask(GET_PROTOCOL_FEATURES)
        # With a status the device would wait for DRIVER_OK.
        self.send_u64(SET_PROTOCOL_FEATURES, protocol & ~PROTOCOL_STATUS & ~PROTOCOL_LOG)
        self.send_u64(SET_FEATURES, features & offered)

    def share_memory(self, regions: Sequence[Region] = (Region(),),
                     fds: Sequence[int] | None = None, **how: bool) -> None:
        table = struct.pack("=II", len(regions), 0)
        for region in regions:
            table += struct.pack("=QQQQ", region.guest, region.size, region.user, region.offset)
        self.send(SET_MEM_TABLE, table, [self.file] * len(regions) if fds is None else fds, **how)

    def address_ring(self, ring: int, descriptors: int | None = None, driver: int | None = None,
                     device: int | None = None, flags: int = 0, log: int = 0) -> None:
        base = USER_ADDRESS + ring * 0x1000
        self.send(SET_VRING_ADDR, struct.pack(
            "=IIQQQQ", ring, flags, base if descriptors is None else descriptors,
            base + 0x800 if device is None else device,
            base + 0x400 if driver is None else driver, log))

    def event(self) -> int:
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._files.append(fd)
        return fd

    def set_up_ring(self, ring: int, *, size: int = RING_SIZE, base: int = 0,
                    kick: int | None = None, call: int | None = None,
                    **addresses: int) -> int:
        """Sets a ring up; the descriptor to kick it by."""
        self.send_state(SET_VRING_NUM, ring, size)
        self.send_state(SET_VRING_BASE, ring, base)
        self.address_ring(ring, **addresses)
        kick = self.event() if kick is None else kick
        self.send_u64(SET_VRING_CALL, ring, [self.event() if call is None else call])
        self.send_u64(SET_VRING_KICK, ring, [kick])
        return kick

    def enable(self, *rings: int, on: bool = True) -> None:
        for ring in rings:
            self.send_state(SET_VRING_ENABLE, ring, int(on))

    def start(self, features: int = VERSION_1 | PROTOCOL_FEATURES) -> list[int]:
        """Everything that a guest with one pair does until it runs; the kicks."""
        self.negotiate(features)
        self.share_memory()
        kicks = [self.set_up_ring(ring) for ring in (0, 1)]
        self.enable(0, 1)
        return kicks

    # The guest's side of a split ring (virtio 1.2, 2.7).

    def descriptor(self, ring: int, index: int, address: int, length: int, flags: int = 0,
                   following: int = 0) -> None:
        struct.pack_into("=QIHH", self.memory, ring * 0x1000 + index * 16, address, length, flags,
                         following)

    def offer(self, ring: int, heads: Sequence[int], index: int | None = None) -> None:
        """Makes chains available; `index` is what the guest says is their number."""
        driver = ring * 0x1000 + 0x400
        for place, head in enumerate(heads):
            struct.pack_into("=H", self.memory, driver + 4 + 2 * (place % RING_SIZE), head)
        struct.pack_into("=HH", self.memory, driver, 0,
                         (len(heads) if index is None else index) & 0xffff)


def kick(fd: int) -> None:
    os.eventfd_write(fd, 1)
