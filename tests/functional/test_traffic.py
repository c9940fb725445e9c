# SPDX-License-Identifier: Apache-2.0
"""What goes through an emulated VF, and what the guest may offload to it."""

import contextlib
import errno
import fcntl
import os
import socket
import struct

import pytest

from harness.debian_kernel import Kernel
from harness.engine_ports import EnginePorts
from harness.peer import Peer, offloads_of
from harness.qemu import QemuGuest
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import (GUEST, PEER, direct_stream, frame_sizes, running_echo, running_vm,
                       virtio_user)

GUEST_OFFLOADS = ("tx-checksumming", "tx-tcp-segmentation", "tx-tcp6-segmentation")


def _assert_tcp_both_ways(guest, peer: Peer) -> None:
    peer.serve_iperf3()
    for options in ("", "-R"):
        rate = guest.iperf3(PEER, options)["sum_received"]["bits_per_second"]
        assert rate > 1e6, f"iperf3 {options}: {rate / 1e6:.1f} Mbit/s"


def test_tcp_through_a_stock_bridge_with_offloads_withheld(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    status = sandbox.status("vm1")
    assert status["reason"] == "offloads-withheld"
    assert "userspace-tso-enable" in status["detail"]
    features = guest.features()
    assert not any(features[name] for name in GUEST_OFFLOADS), features
    _assert_tcp_both_ways(guest, peer)


def test_offloads_are_on_with_userspace_tso(sandbox_tso: Sandbox) -> None:
    guest, peer = running_vm(sandbox_tso)
    assert "reason" not in sandbox_tso.status("vm1")
    features = guest.features()
    assert all(features[name] for name in GUEST_OFFLOADS), features
    peer.serve_iperf3()
    job = guest.spawn(f"iperf3 -c {PEER} -t 3 -J")
    assert max(frame_sizes("vm1", 2000)) > 1514, "no GSO frame on the TAP"
    job.wait(60)
    _assert_tcp_both_ways(guest, peer)


@pytest.fixture
def engine_alone():
    """An engine without agent, and a TAP that is no port of Open vSwitch."""
    with Sandbox(agent=False) as box:
        yield box


def test_whole_gso_frames_on_a_tap_without_ovs(engine_alone: Sandbox) -> None:
    box = engine_alone
    box.ip("tuntap", "add", "vm1", "mode", "tap", "multi_queue", "vnet_hdr")
    box.ip("address", "add", f"{PEER}/24", "dev", "vm1")
    box.ip("link", "set", "vm1", "up")
    path = box.socket_path("vm1")
    with box.rpc() as client:
        client.call("engine.start", eal=["--in-memory", "-a", "0000:00:00.0", "--iova-mode=va"])
        client.call("port.apply", name="vm1", socket={"path": str(path), "mode": "server"},
                    device={"kind": "tap", "name": "vm1"}, max_queues=1, packed=True,
                    offloads=True)
        wait_for(path.exists, 10, "the socket")
        guest = box.uml("vm1", path, f"{GUEST}/24")
        features = guest.features()
        assert all(features[name] for name in GUEST_OFFLOADS), features
        wait_for(lambda: offloads_of("vm1", box.env)["tx-checksumming"], 10,
                 "the TAP to hand partial checksums to the guest")
        # The other direction of segmentation: what the host's stack hands to the TAP.
        assert offloads_of("vm1", box.env)["tx-tcp-segmentation"]
        server = guest.spawn("exec iperf3 -s -1 -J")
        wait_for(lambda: guest.run("netstat -ltn").find(":5201") > 0, 10, "iperf3 in the guest")
        import subprocess
        client_process = subprocess.Popen(["iperf3", "-c", GUEST, "-t", "2", "--bidir"],
                                          stdout=subprocess.DEVNULL)
        assert max(frame_sizes("vm1", 2000)) > 1514, "no GSO frame on the TAP"
        assert client_process.wait(30) == 0
        server.wait()
        client.call("port.remove", name="vm1")
        # It is off the list before the engine has let go of the netdev.
        wait_for(lambda: client.call("port.list") and any(
            message["params"].get("state") == "removed" for message in client.notifications),
                 10, "the engine to let go of the port")
    box.ip("link", "del", "vm1")


def test_front_end_that_connects_before_the_netdev_is_there_is_served_once_it_is(
        engine_alone: Sandbox) -> None:
    box = engine_alone
    with contextlib.closing(EnginePorts(box)) as ports:
        ports.apply(device="vm1", kind="tap", netdev_awaited=True)
        front_end = virtio_user(box, "vm1", box.socket_path("vm1"), forward="txonly")
        front_end.start()
        assert ports.wait(state="connected")["queues"] == 0
        box.ip("tuntap", "add", "vm1", "mode", "tap", "vnet_hdr")
        box.ip("link", "set", "vm1", "up")
        ports.apply(device="vm1", kind="tap")
        status = ports.wait(state="running")
        assert status["connections"] == 1 and status["queues"] == 1
        wait_for(lambda: ports.rpc.counters("vm1")[1]["packets"] > 0, 10, "frames of the front-end")
        front_end.quit()
        ports.remove()
    box.ip("link", "del", "vm1")


def test_four_queue_pairs_carry_traffic(sandbox: Sandbox) -> None:
    peer = sandbox.peer()
    path = sandbox.add_port("vm1", vdpa_max_queues=4)
    front_end = virtio_user(sandbox, "vm1", path, queues=4, forward="txonly",
                            options="--txonly-multi-flow --txpkts=64")
    front_end.start()
    sandbox.wait_status("vm1", state="running", queues="4/4")

    with sandbox.rpc() as client:
        def packets(rings: tuple[int, ...]) -> bool:
            counters = client.counters("vm1")
            return all(counters.get(ring, {}).get("packets", 0) > 0 for ring in rings)
        wait_for(lambda: packets((1, 3, 5, 7)), 15,
                 lambda: f"frames from each queue of the guest: {client.counters('vm1')}")
        front_end.command("stop")
        front_end.command("set fwd rxonly")
        front_end.start()
        with peer.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("eth0", 0))

            def send() -> bool:
                for port in range(1024, 1088):
                    sender.send(_udp_frame(port))
                return packets((0, 2, 4, 6))
            wait_for(send, 15, lambda: f"frames to each queue: {client.counters('vm1')}")


def _udp_frame(port: int) -> bytes:
    """A broadcast frame; the port makes it a flow of its own."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, port, 0, 64, 17, 0,
                     socket.inet_aton(PEER), socket.inet_aton(GUEST))
    total = sum(struct.unpack("!10H", ip))
    check = ~((total >> 16) + (total & 0xffff)) & 0xffff
    ip = ip[:10] + struct.pack("!H", check) + ip[12:]
    return (b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x08\0" + ip
            + struct.pack("!HHHH", port, 9, 26, 0) + bytes(18))


def _take_queues(netdev: str) -> list[int]:
    """All that are left: the kernel has a limit of 256 for a TAP (drivers/net/tun.c)."""
    tunsetiff, flags = 0x400454ca, 0x5102  # IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE
    taken = []
    while True:
        taken.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            fcntl.ioctl(taken[-1], tunsetiff, struct.pack("16sH22x", netdev.encode(), flags))
        except OSError as error:
            assert error.errno == errno.E2BIG and len(taken) > 200, (error, len(taken))
            return taken


def test_pair_without_a_queue_of_the_tap_is_said_in_the_row_and_served_later(
        sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1", vdpa_max_queues=4)
    sandbox.wait_state("vm1", "listening")
    sandbox.expect_log(r"\|relay\|WARN\|port vm1: queue pair [123] is not served: TAP netdev vm1: ")
    sandbox.expect_log(r"\|port\(control\)\|WARN\|vm1: failed \(tap-failed\): queue pair [123] is not ")
    taken = _take_queues("vm1")
    front_end = virtio_user(sandbox, "vm1", path, queues=4)
    front_end.start()
    status = sandbox.wait_status("vm1", state="failed", reason="tap-failed")
    assert "TAP netdev vm1: " in status["detail"], status
    assert "end the program that has them open" in status["detail"], status
    for descriptor in taken:
        os.close(descriptor)
    # The engine tries again at intervals that grow to half a minute.
    sandbox.wait_status("vm1", bound=45, state="running", queues="4/4", reason="offloads-withheld")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_rings_of_both_kinds(sandbox: Sandbox, packed: bool) -> None:
    running_echo(sandbox, packed=packed)
    stream = direct_stream(sandbox)
    with sandbox.rpc() as client:
        start = client.counters("vm1")[1]["packets"]
        wait_for(lambda: client.counters("vm1")[1]["packets"] > start + 2000, 20, "2000 answers")
        features = client.call("port.list")["ports"][0]["features"]
    result = stream.stop()
    assert result.lost == [] and result.duplicates == 0, result
    assert any("packed" in feature.lower() for feature in features) == packed, features


def test_packed_rings_are_withheld_on_request(sandbox: Sandbox) -> None:
    running_echo(sandbox, packed=True, vdpa_packed="false")
    with sandbox.rpc() as client:
        features = client.call("port.list")["ports"][0]["features"]
    assert not any("packed" in feature.lower() for feature in features), features


def test_mtu_9000(sandbox: Sandbox) -> None:
    peer = sandbox.peer(mtu=9000)
    sandbox.vsctl("set", "Interface", peer.netdev, "mtu_request=9000")
    path = sandbox.add_port("vm1")
    sandbox.vsctl("set", "Interface", "vm1", "mtu_request=9000")
    guest = sandbox.uml("vm1", path)
    guest.configure(f"{GUEST}/24", mtu=9000)
    sandbox.wait_state("vm1", "running")
    guest.ping(PEER, 1)
    wait_for(lambda: sandbox.interface("vm1", "mtu")["mtu"] == 9000, 10, "the port's MTU")
    peer.ping(GUEST, 3, "-M", "do", "-s", "8972")
    guest.ping(PEER, 3, "-s 8972")
    _assert_tcp_both_ways(guest, peer)


def test_carrier_follows_the_front_end(sandbox: Sandbox) -> None:
    def link(state: str) -> None:
        wait_for(lambda: sandbox.interface("vm1", "link_state")["link_state"] == state, 10,
                 f"link_state {state}")

    path = sandbox.add_port("vm1")
    link("down")
    guest = sandbox.uml("vm1", path, f"{GUEST}/24")
    sandbox.wait_state("vm1", "running")
    link("up")
    guest.kill()
    sandbox.wait_state("vm1", "listening")
    link("down")


def test_qemu_guest_uses_four_queue_pairs(sandbox: Sandbox, qemu_kernel: Kernel) -> None:
    peer = sandbox.peer()
    path = sandbox.add_port("vm1", vdpa_max_queues=4)
    guest = QemuGuest("vm1", path, sandbox.folder, queues=4)
    sandbox.adopt(guest)
    guest.configure(f"{GUEST}/24")
    guest.run("ethtool -L eth0 combined 4")
    assert guest.run("ethtool -l eth0").count("Combined:\t4") == 2
    sandbox.wait_status("vm1", state="running", queues="4/4")
    guest.ping(PEER)
    peer.serve_iperf3()
    rate = guest.iperf3(PEER, "-P 4")["sum_received"]["bits_per_second"]
    assert rate > 1e6, rate
    with sandbox.rpc() as client:
        used = [ring for ring, values in client.counters("vm1").items()
                if ring % 2 and values["packets"]]
    assert len(used) > 1, f"only {used} carried frames of four parallel streams"
