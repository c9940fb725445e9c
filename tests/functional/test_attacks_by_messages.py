# SPDX-License-Identifier: Apache-2.0
"""Front-ends that fill their rings with nonsense, ask for what was never offered, hand over files
of the wrong kind, and break off."""

import contextlib
import os
import socket
import struct
from typing import Callable

from attacks import Attack, carry_out, hostile_box, ports  # noqa: F401
from harness import raw_front_end as fe
from harness.engine_ports import EnginePorts
from harness.raw_front_end import (MEMORY_SIZE, PROTOCOL_FEATURES, USER_ADDRESS, VERSION_1,
                                   RawFrontEnd, Region, kick)
from harness.wait import wait_for


def _with_chains(fill: Callable[[RawFrontEnd], None], offered: list[int], index: int | None = None,
                 features: int = VERSION_1 | PROTOCOL_FEATURES | 1 << 28) -> Attack:
    """Ring 1 with what `fill` puts into it."""
    def attack(guest: RawFrontEnd) -> None:
        fill(guest)
        kicks = guest.start(features)
        guest.offer(1, offered, index)
        guest.offer(0, offered, index)
        for fd in kicks:
            kick(fd)
        guest.settled()
        for ring in (0, 1):
            guest.send_state(fe.GET_VRING_BASE, ring, 0)
            guest.reply()
    return attack


def test_descriptors(ports: EnginePorts) -> None:
    following, writable, indirect = 1, 2, 4

    def nothing(_: RawFrontEnd) -> None:
        pass

    def loop(guest: RawFrontEnd) -> None:
        guest.descriptor(1, 0, 0x8000, 64, following, 1)
        guest.descriptor(1, 1, 0x8000, 64, following, 0)

    def beyond(guest: RawFrontEnd) -> None:
        guest.descriptor(1, 0, 0x8000, 64, following, 60000)

    def endless(guest: RawFrontEnd) -> None:
        for index in range(64):
            guest.descriptor(1, index, 0x8000, (1 << 32) - 1, following, (index + 1) % 64)

    def outside(guest: RawFrontEnd) -> None:
        guest.descriptor(1, 0, 1 << 60, 64)
        guest.descriptor(1, 1, MEMORY_SIZE - 8, 4096)
        guest.descriptor(1, 2, (1 << 64) - 8, 64)
        guest.descriptor(0, 0, 1 << 60, 2048, writable)

    def wrong_way(guest: RawFrontEnd) -> None:
        guest.descriptor(1, 0, 0x8000, 64, writable)
        guest.descriptor(0, 0, 0x8000, 2048)

    def tables(guest: RawFrontEnd) -> None:
        guest.descriptor(1, 0, 0x8000, 16 * 4, indirect)
        guest.descriptor(1, 1, MEMORY_SIZE - 16, 16 * 64, indirect)
        guest.descriptor(1, 2, 0x8000, 17, indirect)
        guest.descriptor(1, 3, 0x8000, (1 << 32) - 16, indirect)
        # A table in a table, and one that names itself.
        struct.pack_into("=QIHH", guest.memory, 0x8000, 0x8000, 64, indirect | following, 0)

    attacks = {"index jumps": _with_chains(nothing, [0], 40000),
               "index runs backwards": _with_chains(nothing, [0], 65535),
               "index beyond the ring": _with_chains(nothing, [0], 65),
               "head beyond the ring": _with_chains(nothing, [64, 1000, 65535]),
               "loop": _with_chains(loop, [0]), "next beyond the ring": _with_chains(beyond, [0]),
               "endless chain": _with_chains(endless, [0]),
               "outside of memory": _with_chains(outside, [0, 1, 2]),
               "wrong way": _with_chains(wrong_way, [0]),
               "indirect": _with_chains(tables, [0, 1, 2, 3])}

    def while_it_runs(guest: RawFrontEnd) -> None:
        kicks = guest.start()
        for turn in range(200):
            guest.descriptor(1, turn % 64, turn * 7919, turn * 104729 % (1 << 32), turn % 8, turn)
            guest.offer(1, [turn % 97] * 64, turn * 331)
            kick(kicks[turn % 2])
    attacks["noise"] = while_it_runs

    def packed_noise(guest: RawFrontEnd) -> None:
        kicks = guest.start(VERSION_1 | PROTOCOL_FEATURES | fe.RING_PACKED)
        for turn in range(200):
            struct.pack_into("=QIHH", guest.memory, 0x1000 + turn % 64 * 16, turn * 7919,
                             turn * 104729 % (1 << 32), turn, turn % 8 | (turn % 4) << 7)
            kick(kicks[turn % 2])
    attacks["packed noise"] = packed_noise
    carry_out(ports, attacks)


def test_what_was_never_offered(ports: EnginePorts) -> None:
    attacks: dict[str, Attack] = {}
    for bit in [*range(64)]:
        def feature(guest: RawFrontEnd, bit: int = bit) -> None:
            offered = guest.ask(fe.GET_FEATURES)
            if offered >> bit & 1:
                return
            guest.send_u64(fe.SET_FEATURES, offered | 1 << bit)
            assert not guest.settled(), f"feature {bit} was accepted"
        attacks[f"feature {bit}"] = feature

    def all_protocol_features(guest: RawFrontEnd) -> None:
        guest.send_u64(fe.SET_PROTOCOL_FEATURES, (1 << 64) - 1)
        assert not guest.settled(), "protocol features were accepted"
    attacks["protocol features"] = all_protocol_features

    offered = {fe.GET_FEATURES, fe.SET_FEATURES, fe.SET_OWNER, fe.RESET_OWNER, fe.SET_MEM_TABLE,
               fe.SET_LOG_BASE, 7, *range(8, 16), fe.SET_PROTOCOL_FEATURES, fe.GET_QUEUE_NUM,
               fe.SET_VRING_ENABLE, fe.NET_SET_MTU, fe.SET_BACKEND_REQ_FD, fe.GET_CONFIG,
               fe.SET_CONFIG, fe.SET_STATUS, fe.GET_STATUS}
    for request in [*range(0, 50), 1000, (1 << 32) - 1]:
        for size in (0, 8, 40, 632):
            def message(guest: RawFrontEnd, request: int = request, size: int = size) -> None:
                guest.start()
                guest.send(request, b"\xff" * size, need_reply=size == 40)
                guest.settled()
            if request not in offered or size != 632:
                attacks[f"request {request}, {size} bytes"] = message

    def inflight(guest: RawFrontEnd) -> None:
        # 65,535 queues of 65,535 entries: the library would fill that many bytes with zeros.
        guest.start()
        guest.send(fe.GET_INFLIGHT_FD, struct.pack("=QQHH", 0, 0, 65535, 65535))
        assert not guest.settled()
    attacks["buffers in flight"] = inflight

    def iotlb(guest: RawFrontEnd) -> None:
        guest.start()
        for kind in (1, 2, 3, 4):
            guest.send(fe.IOTLB_MSG, struct.pack("=QQQBB6x", 0, 4096, USER_ADDRESS, 3, kind))
        assert not guest.settled()
    attacks["address translation"] = iotlb

    def configuration(guest: RawFrontEnd) -> None:
        guest.start()
        for offset, size in ((0, 257), (0, 1 << 31), (256, 1), ((1 << 32) - 1, 4)):
            guest.send(fe.GET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(min(size, 256)))
            guest.reply()
        for offset, size in ((0, 257), (250, 10), ((1 << 32) - 4, 8)):
            guest.send(fe.SET_CONFIG, struct.pack("=III", offset, size, 0) + bytes(min(size, 256)))
    attacks["configuration space"] = configuration

    def log(guest: RawFrontEnd) -> None:
        features = guest.ask(fe.GET_FEATURES)
        guest.start(features & (VERSION_1 | PROTOCOL_FEATURES))
        for size, offset in ((1 << 40, 0), (4096, 4096), (1 << 63, 0), (0, 0)):
            guest.send(fe.SET_LOG_BASE, struct.pack("=QQ", size, offset), [guest.file],
                       need_reply=True)
            guest.reply()
        guest.send_u64(fe.SET_FEATURES, features & (VERSION_1 | PROTOCOL_FEATURES | 1 << 26))
    attacks["log of dirty pages"] = log
    carry_out(ports, attacks)


def test_files(ports: EnginePorts) -> None:
    def with_files(make: Callable[[RawFrontEnd], int]) -> Attack:
        def attack(guest: RawFrontEnd) -> None:
            guest.negotiate()
            guest.share_memory()
            for ring in (0, 1):
                guest.set_up_ring(ring, kick=make(guest), call=make(guest))
            guest.enable(0, 1)
            guest.settled()
        return attack

    def full_pipe(guest: RawFrontEnd) -> int:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(writer, b"x" * 4096):
                pass
        os.set_blocking(writer, True)
        guest.adopt(reader)
        guest.adopt(writer)
        return writer

    def closed_pipe(guest: RawFrontEnd) -> int:
        reader, writer = os.pipe()
        os.close(reader)
        guest.adopt(writer)
        return writer

    def regular(guest: RawFrontEnd) -> int:
        return guest.file

    def saturated(guest: RawFrontEnd) -> int:
        fd = guest.event()
        os.eventfd_write(fd, (1 << 64) - 2)
        return fd

    def listening(guest: RawFrontEnd) -> int:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd = end.detach()
        guest.adopt(fd)
        return fd

    def kicks_without_end(guest: RawFrontEnd) -> None:
        kicks = guest.start()
        for _ in range(2000):
            for fd in kicks:
                with contextlib.suppress(BlockingIOError):
                    kick(fd)

    def files_with_everything(guest: RawFrontEnd) -> None:
        for request in (fe.GET_FEATURES, fe.SET_OWNER, fe.SET_VRING_NUM, fe.SET_VRING_ENABLE):
            guest.send_u64(request, 0, [guest.file] * 8)
        guest.settled()

    def open_files() -> int:
        return len(os.listdir(f"/proc/{ports.box.engine.pid}/fd"))

    before = open_files()
    carry_out(ports, {"full pipe": with_files(full_pipe), "closed pipe": with_files(closed_pipe),
                    "regular file": with_files(regular), "saturated": with_files(saturated),
                    "a socket": with_files(listening), "kicks without end": kicks_without_end,
                    "files with everything": files_with_everything})
    wait_for(lambda: open_files() <= before, 10,
             lambda: f"descriptors of front-ends to be closed: {before} before, {open_files()} now")


def test_closes_at_every_message(ports: EnginePorts) -> None:
    """After each message of a whole life, and in the middle of each."""
    class Counted(Exception):
        pass

    def until(last: int, half: bool) -> Attack:
        def attack(guest: RawFrontEnd) -> None:
            sent = 0
            send_raw = guest.send_raw

            def count(data: bytes, fds: object = ()) -> None:
                nonlocal sent
                sent += 1
                if sent > last:
                    if half:
                        send_raw(data[:len(data) // 2], fds)  # type: ignore[arg-type]
                    raise Counted
                send_raw(data, fds)  # type: ignore[arg-type]
            guest.send_raw = count  # type: ignore[method-assign]
            with contextlib.suppress(Counted):
                for fd in guest.start():
                    kick(fd)
                guest.share_memory([Region(guest=1 << 30)])
                guest.enable(1, on=False)
                guest.enable(1)
                for ring in (0, 1):
                    guest.send_state(fe.GET_VRING_BASE, ring, 0)
                    guest.reply()
                lives.append(sent)
            guest.leave()
        return attack

    lives: list[int] = []
    attacks = {f"after {number}, half {half}": until(number, half)
               for number in range(1, 28) for half in (False, True)}
    carry_out(ports, attacks)
    assert lives, "the whole life was reached"
