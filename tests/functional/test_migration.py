# SPDX-License-Identifier: Apache-2.0
"""A guest migrates from one port to another while it has traffic."""

import hashlib
import socket
import struct
from typing import Iterator

import pytest

from harness.debian_kernel import Kernel
from harness.engine_ports import EnginePorts
from harness.qemu import QemuGuest
from harness.qmp import Qmp, QmpError
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import GUEST, PEER

MAC = "02:00:00:00:00:11"
ETH_P_ALL, ARP, RARP = 3, 0x0806, 0x8035


@pytest.fixture
def bare_box() -> Iterator[Sandbox]:
    with Sandbox(agent=False) as made:
        yield made


def _migrated(monitor: Qmp) -> bool:
    state = monitor.execute("query-migrate")
    assert state.get("status") not in ("failed", "cancelled"), state
    return state.get("status") == "completed"


def _announcement(capture: socket.socket) -> bool:
    """Whether the guest has announced itself: by ARP, or QEMU for it by RARP."""
    while True:
        try:
            frame = capture.recv(2048)
        except BlockingIOError:
            return False
        kind = struct.unpack_from("!H", frame, 12)[0]
        if frame[6:12] == bytes.fromhex(MAC.replace(":", "")) and kind in (ARP, RARP):
            return True


def test_guest_and_traffic_arrive_whole(sandbox: Sandbox, qemu_kernel: Kernel) -> None:
    del qemu_kernel  # It is there.
    peer = sandbox.peer()
    first, second = sandbox.add_port("vm1"), sandbox.add_port("vm2")
    source = QemuGuest("source", first, sandbox.folder, mac=MAC)
    sandbox.adopt(source)
    source.configure(f"{GUEST}/24")
    sandbox.wait_state("vm1", "running")
    source.ping(PEER, 1)
    # Frames that the engine writes into the guest's memory for as long as it migrates.
    stream = peer.stream(GUEST, 500).wait_started()
    source.run("(while :; do dd if=/dev/urandom of=/tmp/dirty bs=64k count=32; done) "
               "</dev/null >/dev/null 2>&1 &")

    incoming = sandbox.folder / "incoming"
    target = QemuGuest("target", second, sandbox.folder, mac=MAC, incoming=incoming)
    sandbox.adopt(target)
    assert source.monitor and target.monitor
    received = _received(sandbox)
    source.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 100 << 20,
                                                        "downtime-limit": 1000})
    source.monitor.execute("migrate", uri=f"unix:{incoming}")
    wait_for(lambda: _migrated(source.monitor), 90,
             lambda: f"the migration: {source.monitor.execute('query-migrate')}")
    assert _received(sandbox) > received + 50, "there was no traffic meanwhile"

    # The source stands still, the target has not begun.
    before, after = source.memory(sandbox.folder), target.memory(sandbox.folder)
    assert hashlib.sha256(before).digest() == hashlib.sha256(after).digest(), \
        f"{sum(a != b for a, b in zip(_pages(before), _pages(after)))} pages differ"
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as capture:
        capture.bind(("vm2", ETH_P_ALL))
        capture.setblocking(False)
        target.monitor.execute("cont")
        sandbox.wait_state("vm2", "running", 30)
        wait_for(lambda: _announcement(capture), 30, "the guest to announce itself")
    sandbox.wait_state("vm1", "connected")
    source.kill()
    sandbox.wait_state("vm1", "listening")
    wait_for(lambda: peer.reaches(GUEST), 30, "the peer to reach the guest at its new place")
    target.ping(PEER, 5)
    # It has lost what came while it stood still, and goes on.
    result = stream.stop()
    assert result.received > 0 and result.duplicates == 0, result


def _pages(memory: bytes) -> list[bytes]:
    return [memory[at:at + 4096] for at in range(0, len(memory), 4096)]


def _received(box: Sandbox) -> int:
    """Frames that the guest's first ring has received."""
    with box.rpc() as client:
        return client.counters("vm1")[0]["packets"]


def test_without_a_log_of_dirty_pages_qemu_refuses(bare_box: Sandbox, qemu_kernel: Kernel) -> None:
    del qemu_kernel
    ports = EnginePorts(bare_box)
    try:
        without_log = sum(1 << bit for bit in (15, 28, 29, 30, 32))
        ports.apply(device=ports.devices.spec(features=f"{without_log:x}"))
        guest = QemuGuest("guest", bare_box.socket_path("vm1"), bare_box.folder, mac=MAC)
        bare_box.adopt(guest)
        guest.configure(f"{GUEST}/24")
        ports.wait(state="running")
        assert "log_all" not in ports.status()["offered"] and guest.monitor
        with pytest.raises(QmpError, match="Migration disabled.*VHOST"):
            guest.monitor.execute("migrate", uri=f"unix:{bare_box.folder}/nowhere")
    finally:
        ports.close()
