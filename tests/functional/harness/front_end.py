# SPDX-License-Identifier: Apache-2.0
"""A vhost-user front-end that does what a test says, right or wrong: memory, rings and messages of a
driver with one queue pair, without a guest."""

import mmap
import os
import socket
import struct
from pathlib import Path

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE, SET_LOG_BASE = 1, 2, 3, 5, 6
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 8, 9, 10
SET_VRING_KICK, SET_VRING_CALL = 12, 13
GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 15, 16, 18
IOTLB_MSG, SET_INFLIGHT_FD = 22, 32

_F_VERSION_1, _F_PROTOCOL_FEATURES = 1 << 32, 1 << 30
_PROTOCOL_MQ, _PROTOCOL_LOG_SHMFD = 1 << 0, 1 << 1

_SIZE = 64                    # descriptors a ring
_RING_SPAN = 0x4000           # what a ring takes: descriptors, avail, used
_BUFFERS = 2 * _RING_SPAN
_BUFFER_SIZE = 2048
_HEADER = bytes(12)           # struct virtio_net_hdr_v1: nothing offloaded
_USER_BASE = 0x10000000       # what the front-end says its own mapping begins at
_WRITE = 2                    # VRING_DESC_F_WRITE
RECEIVE, TRANSMIT = 0, 1


class FrontEnd:
    """Connected and served when made; `memory` is its memfd, `call` and `kick` its eventfds by
    ring. Buffers to receive into are all posted."""

    def __init__(self, path: Path | str, *, bound: float = 10) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(bound)
        self.socket.connect(str(path))
        self.size = _BUFFERS + 2 * _SIZE * _BUFFER_SIZE
        self.memory = os.memfd_create("front-end")
        os.ftruncate(self.memory, self.size)
        self._map = mmap.mmap(self.memory, self.size)
        self.kick = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self.call = [os.eventfd(0) for _ in range(2)]
        self._next_avail = [0, 0]
        for slot in range(_SIZE):
            self._post(RECEIVE, slot, b"", _BUFFER_SIZE)

    def __enter__(self) -> "FrontEnd":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()
        self._map.close()
        for fd in (self.memory, *self.kick, *self.call):
            os.close(fd)

    def fill_call(self, ring: int) -> None:
        """Fills the counter of the descriptor, and makes it one to wait for."""
        fd = self.call[ring]
        os.set_blocking(fd, False)
        while True:
            try:
                os.eventfd_write(fd, 2 ** 64 - 2)
                break
            except BlockingIOError:
                os.eventfd_read(fd)  # the engine has signalled
        os.set_blocking(fd, True)

    # Messages.

    def send(self, request: int, payload: bytes = b"", *fds: int) -> None:
        message = struct.pack("=III", request, 1, len(payload)) + payload
        socket.send_fds(self.socket, [message], list(fds))

    def ask(self, request: int) -> int:
        """The answer to a request for a number."""
        self.send(request)
        reply = self.socket.recv(20, socket.MSG_WAITALL)
        assert len(reply) == 20, reply
        return struct.unpack_from("=Q", reply, 12)[0]

    def ended(self) -> bool:
        """Waits for the end of the connection; False when it still goes on at the bound."""
        try:
            while self.socket.recv(4096):
                pass
            return True
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def set_up(self) -> "FrontEnd":
        """All that it takes until the rings are served."""
        self.negotiate()
        self.share_memory()
        self.set_rings()
        return self

    def negotiate(self) -> None:
        offered = self.ask(GET_FEATURES)
        assert offered & _F_PROTOCOL_FEATURES and offered & _F_VERSION_1, hex(offered)
        protocol = self.ask(GET_PROTOCOL_FEATURES) & (_PROTOCOL_MQ | _PROTOCOL_LOG_SHMFD)
        self.send(SET_PROTOCOL_FEATURES, struct.pack("=Q", protocol))
        self.send(SET_OWNER)
        self.send(SET_FEATURES, struct.pack("=Q", _F_VERSION_1 | _F_PROTOCOL_FEATURES))

    def share_memory(self, *further: tuple[int, int, int]) -> None:
        """Its own memory, which the guest has at 0, and further regions: each the guest's address,
        the size, and the file that it is the beginning of."""
        regions = [(0, self.size, self.memory), *further]
        table = struct.pack("=II", len(regions), 0)
        user = _USER_BASE
        for guest, size, _ in regions:
            table += struct.pack("=4Q", guest, size, user, 0)
            user += size
        self.send(SET_MEM_TABLE, table, *[file for _, _, file in regions])

    def set_rings(self) -> None:
        for ring in (RECEIVE, TRANSMIT):
            base = _USER_BASE + ring * _RING_SPAN
            self.send(SET_VRING_NUM, struct.pack("=II", ring, _SIZE))
            self.send(SET_VRING_BASE, struct.pack("=II", ring, 0))
            self.send(SET_VRING_ADDR, struct.pack("=II4Q", ring, 0, base, base + 0x2000,
                                                  base + 0x1000, 0))
            self.send(SET_VRING_KICK, struct.pack("=Q", ring), self.kick[ring])
            self.send(SET_VRING_CALL, struct.pack("=Q", ring), self.call[ring])
            self.send(SET_VRING_ENABLE, struct.pack("=II", ring, 1))

    # The rings, split ones (virtio 1.2, 2.7): descriptors at 0, avail at 0x1000, used at 0x2000.

    def _post(self, ring: int, slot: int, data: bytes, length: int) -> None:
        base = ring * _RING_SPAN
        buffer = _BUFFERS + (ring * _SIZE + slot) * _BUFFER_SIZE
        self._map[buffer:buffer + len(data)] = data
        struct.pack_into("=QIHH", self._map, base + 16 * slot, buffer, length,
                         _WRITE if ring == RECEIVE else 0, 0)
        at = self._next_avail[ring]
        struct.pack_into("=H", self._map, base + 0x1000 + 4 + 2 * (at % _SIZE), slot)
        self._next_avail[ring] = at + 1
        struct.pack_into("=H", self._map, base + 0x1000 + 2, (at + 1) & 0xffff)

    def take(self) -> None:
        """Posts the buffer again that the oldest frame was received in; buffers are used in order."""
        self._post(RECEIVE, self._next_avail[RECEIVE] % _SIZE, b"", _BUFFER_SIZE)

    def used(self, ring: int) -> int:
        """How many buffers of the ring were used, modulo 2^16."""
        return struct.unpack_from("=H", self._map, ring * _RING_SPAN + 0x2000 + 2)[0]

    def transmit(self, frame: bytes) -> None:
        """Hands a frame over and kicks; one at a time, once the one before was used."""
        self._post(TRANSMIT, self._next_avail[TRANSMIT] % _SIZE, _HEADER + frame,
                   len(_HEADER) + len(frame))
        os.eventfd_write(self.kick[TRANSMIT], 1)
