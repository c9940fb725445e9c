# SPDX-License-Identifier: Apache-2.0
"""Situations that many tests begin with."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

from harness import stream
from harness.daemons import die_with_parent
from harness.peer import Peer
from harness.sandbox import Sandbox
from harness.stream import DIRECT_MAC, FORWARD_ADDRESS, Stream
from harness.testpmd import Testpmd
from harness.uml import UmlGuest

# What our daemons say when a test takes something away from them. An engine that starts removes the
# socket of one that was killed before it makes its own.
ENGINE_LOST = (r"\|engine\(control\)\|WARN\|(no engine at )?\S+/ovs-vdpa-engine\.sock: "
               "(the connection was lost: )?(End of file|Connection re|Broken pipe|No such file)")
DATABASE_LOST = r"\|(jsonrpc|reconnect)\|WARN\|unix:\S+/db\.sock: "
# DPDK sees that an engine that was killed did not give the rings back.
RINGS_NOT_GIVEN_BACK = r"\|dpdk\|WARN\|VHOST_CONFIG: .*(last_used_idx|some packets maybe resent)"

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


def direct_stream(box: Sandbox, guest: UmlGuest | None = None, netdev: str = "vm1") -> Stream:
    """A numbered stream of 1000 frames a second between a TAP netdev and its front-end, which sends
    each back: by forwarding in a guest, by answering pings in a testpmd.

    What is lost of it the engine has lost. Open vSwitch is not on the way: its userspace datapath
    drops frames on a busy machine, and stands still while its database is away."""
    target, mac = GUEST, "02:00:00:00:00:01"
    if guest:
        target, mac = FORWARD_ADDRESS, guest.mac()
        guest.run("for name in all eth0; do echo 0 > /proc/sys/net/ipv4/conf/$name/send_redirects;"
                  " echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter; done;"
                  f"echo 1 > /proc/sys/net/ipv4/ip_forward; arp -s {FORWARD_ADDRESS} {DIRECT_MAC}")
    # A guest that the machine gave no time for a second has lost nothing by that.
    box.ip("link", "set", netdev, "txqueuelen", "5000")
    process = subprocess.Popen(
        [sys.executable, stream.__file__, target, "1000", netdev, mac], env=box.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=die_with_parent)
    return Stream(process).wait_started()


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
