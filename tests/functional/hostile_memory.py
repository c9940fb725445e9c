# SPDX-License-Identifier: Apache-2.0
"""What front-ends do that lie about their memory and their rings."""

import os
import struct
from typing import Callable

from attacks import Attack
from harness import raw_front_end as fe
from harness.raw_front_end import (MEMORY_SIZE, PROTOCOL_FEATURES, USER_ADDRESS, VERSION_1,
                                   RawFrontEnd, Region, kick)

END = USER_ADDRESS + MEMORY_SIZE


def _with_memory(*regions: Region, fds: Callable[[RawFrontEnd], list[int]] | None = None,
                 need_reply: bool = False) -> Attack:
    def attack(guest: RawFrontEnd) -> None:
        guest.negotiate()
        guest.share_memory(regions, fds(guest) if fds else None, need_reply=need_reply)
        for ring in (0, 1):
            guest.set_up_ring(ring)
        guest.enable(0, 1)
    return attack


def _with_late_memory(*regions: Region, need_reply: bool) -> Attack:
    """The table comes when the device runs."""
    def attack(guest: RawFrontEnd) -> None:
        kicks = guest.start()
        assert guest.settled()
        guest.share_memory(regions, need_reply=need_reply)
        kick(kicks[1])
        guest.enable(0, 1)
    return attack


def _unmappable(guest: RawFrontEnd) -> list[int]:
    return [guest.event()]


def _small_file(guest: RawFrontEnd) -> list[int]:
    fd = os.memfd_create("small")
    os.ftruncate(fd, 4096)
    guest.adopt(fd)
    return [fd]


MEMORY_TABLES: dict[str, list[Region]] = {
    "huge": [Region(size=1 << 62)],
    "all of the address space": [Region(size=(1 << 64) - 1)],
    "past the end of the file": [Region(offset=4096)],
    "wholly past it": [Region(offset=MEMORY_SIZE)],
    "offset that wraps": [Region(offset=(1 << 64) - 4096)],
    "guest address that wraps": [Region(guest=(1 << 64) - 4096)],
    "user address that wraps": [Region(user=(1 << 64) - 4096)],
    "empty": [Region(size=0)],
    "overlapping": [Region(size=8192), Region(guest=4096, size=8192, user=END)],
    "the same twice": [Region(), Region()],
    "eight, one of them bad": [*[Region(guest=n * 4096, size=4096) for n in range(7)],
                               Region(guest=1 << 40, offset=1 << 40)],
    "none": [],
}


def memory_attacks() -> dict[str, Attack]:
    """Tables of memory that are wrong."""
    attacks: dict[str, Attack] = {}
    for name, regions in MEMORY_TABLES.items():
        for need_reply in (False, True):
            attacks[f"{name}, {need_reply}"] = _with_memory(*regions, need_reply=need_reply)
            attacks[f"{name}, later, {need_reply}"] = _with_late_memory(*regions,
                                                                        need_reply=need_reply)
    for need_reply in (False, True):
        attacks.update({
            f"no file, {need_reply}": _with_memory(Region(), fds=_unmappable,
                                                   need_reply=need_reply),
            f"a small file, {need_reply}": _with_memory(Region(), fds=_small_file,
                                                        need_reply=need_reply),
            f"fewer files than regions, {need_reply}": _with_memory(
                Region(), Region(guest=1 << 30), fds=lambda guest: [guest.file],
                need_reply=need_reply),
            f"more files than regions, {need_reply}": _with_memory(
                Region(), fds=lambda guest: [guest.file] * 8, need_reply=need_reply),
            f"no files, {need_reply}": _with_memory(Region(), fds=lambda _: [],
                                                    need_reply=need_reply)})

    def unmappable_later(guest: RawFrontEnd) -> None:
        # The library has let go of the old memory when it finds that the new one cannot be had.
        guest.start()
        guest.share_memory([Region(guest=1 << 30)], [guest.event()], need_reply=True)
        guest.reply()
        guest.enable(0, 1)
    attacks["no file, later"] = unmappable_later

    def changes(guest: RawFrontEnd) -> None:
        kicks = guest.start()
        for turn in range(50):
            guest.share_memory([Region(guest=(turn % 2) << 30)])
            kick(kicks[1])
    attacks["changes again and again"] = changes

    def says_nine(guest: RawFrontEnd) -> None:
        guest.negotiate()
        guest.send(fe.SET_MEM_TABLE, struct.pack("=II", 9, 0) + bytes(32 * 9), [guest.file] * 8)
    attacks["nine regions"] = says_nine
    return attacks


def _with_ring(*, later: dict[str, int] | None = None, **ring: int) -> Attack:
    """Ring 1 set up in that way; `later`, in another way when it runs."""
    def attack(guest: RawFrontEnd) -> None:
        guest.negotiate()
        guest.share_memory()
        guest.set_up_ring(0)
        guest.set_up_ring(1, **ring)
        guest.enable(0, 1)
        if later:
            guest.settled()
            if "size" in later:
                guest.send_state(fe.SET_VRING_NUM, 1, later["size"])
            if "base" in later:
                guest.send_state(fe.SET_VRING_BASE, 1, later["base"])
            guest.address_ring(1, **{key: value for key, value in later.items()
                                     if key not in ("size", "base")})
            guest.enable(1, on=False)
            guest.enable(1)
            guest.send_u64(fe.SET_VRING_CALL, 1, [guest.event()])
    return attack


def ring_attacks() -> dict[str, Attack]:
    """Rings that are set up wrong, or become so."""
    places = {"nowhere": 0, "at the end": END, "over the end": END - 64, "misaligned":
              USER_ADDRESS + 0x1001, "wraps": (1 << 64) - 16}
    attacks: dict[str, Attack] = {}
    for part in ("descriptors", "driver", "device"):
        for name, place in places.items():
            attacks[f"{part} {name}"] = _with_ring(**{part: place})
            attacks[f"{part} {name}, later"] = _with_ring(later={part: place})
    for size in (0, 3, 32768, 32769, 65536, 1 << 31, (1 << 32) - 1):
        attacks[f"size {size}"] = _with_ring(size=size)
        attacks[f"size {size}, later"] = _with_ring(later={"size": size})
    # Mapped as small, then larger than all of the memory.
    for size in (1024, 32768):
        attacks[f"grown to {size} at the end of memory"] = _with_ring(
            descriptors=END - 0x1000, driver=END - 0xc00, device=END - 0x800,
            later={"size": size, "descriptors": END - 0x1000, "driver": END - 0xc00,
                   "device": END - 0x800})
    for base in (1, 40000, 65535, 0x10000, (1 << 32) - 1):
        attacks[f"base {base}"] = _with_ring(base=base)
        attacks[f"base {base}, later"] = _with_ring(later={"base": base})
    attacks["logged outside"] = _with_ring(later={"flags": 1, "log": (1 << 64) - 8})

    def many_rings(guest: RawFrontEnd) -> None:
        guest.negotiate()
        guest.share_memory()
        for ring in (5, 4, 6, 100, 255):
            guest.send_state(fe.SET_VRING_NUM, ring, 64, need_reply=True)
        for ring in (256, 257, 65536, (1 << 32) - 1):
            guest.send_state(fe.SET_VRING_NUM, ring, 64)
    attacks["rings that are not offered"] = many_rings

    def unshared(guest: RawFrontEnd) -> None:
        guest.negotiate()
        for ring in (0, 1):
            guest.set_up_ring(ring)
        guest.enable(0, 1)
    attacks["no memory"] = unshared

    def other_format(guest: RawFrontEnd) -> None:
        # Mapped as split rings, then declared to be packed ones; and the reverse.
        for first, second in ((0, fe.RING_PACKED), (fe.RING_PACKED, 0)):
            common = VERSION_1 | PROTOCOL_FEATURES
            guest.negotiate(common | first)
            guest.share_memory()
            for ring in (0, 1):
                guest.set_up_ring(ring, descriptors=END - 0x1000, driver=END - 4, device=END - 8)
            guest.send_u64(fe.SET_FEATURES, common | second)
            guest.enable(0, 1)
    attacks["format changes"] = other_format
    return attacks
