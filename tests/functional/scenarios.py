# SPDX-License-Identifier: Apache-2.0
"""Situations that many tests begin with."""

import socket
import struct
from pathlib import Path

from harness.peer import Peer
from harness.sandbox import Sandbox
from harness.testpmd import Testpmd
from harness.uml import UmlGuest

PEER = "10.1.0.1"
GUEST = "10.1.0.2"


def running_vm(box: Sandbox, name: str = "vm1", address: str = GUEST,
               **options: str | int) -> tuple[UmlGuest, Peer]:
    """A port with a User-mode Linux guest that has pinged the network namespace."""
    peer = box.peer()
    path = box.add_port(name, **options)
    guest = box.uml(name, path, f"{address}/24")
    box.wait_state(name, "running")
    guest.ping(PEER, 1)
    return guest, peer


def virtio_user(box: Sandbox, name: str, path: Path, *, queues: int = 1, packed: bool = False,
                forward: str = "icmpecho", listen: bool = False, options: str = "",
                **settings: object) -> Testpmd:
    """A virtio-user front-end, started; its worker runs on the last processor."""
    front_end = Testpmd(f"fe-{name}", path, box.folder, box.env, queues=queues, packed=packed,
                        forward=forward, listen=listen, options=options,
                        **settings)  # type: ignore[arg-type]
    box.adopt(front_end)
    return front_end


def running_echo(box: Sandbox, name: str = "vm1", address: str = GUEST, *, queues: int = 1,
                 packed: bool = False, **options: str | int) -> tuple[Testpmd, Peer]:
    """A port with a virtio-user front-end that answers ARP and ping, seen by the namespace."""
    peer = box.peer()
    path = box.add_port(name, **options)
    front_end = virtio_user(box, name, path, queues=queues, packed=packed)
    front_end.start()
    box.wait_state(name, "running")
    peer.ping(address, 1)
    return front_end, peer


def frame_sizes(netdev: str, count: int, bound: float = 20) -> list[int]:
    """Lengths of the next TCP/IPv4 frames on a netdev here, whichever way they go."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as capture:
        capture.bind((netdev, 3))
        capture.settimeout(bound)
        sizes: list[int] = []
        while len(sizes) < count:
            frame = capture.recv(65600)
            if len(frame) > 34 and struct.unpack_from("!H", frame, 12)[0] == 0x0800 \
                    and frame[23] == socket.IPPROTO_TCP:
                sizes.append(len(frame))
        return sizes
