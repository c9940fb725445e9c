# SPDX-License-Identifier: Apache-2.0
"""The engine may die: the row says so at once, the port comes back by itself."""

import time

from harness.debian_kernel import Kernel
from harness.ovs import accepts
from harness.qemu import QemuGuest
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import ENGINE_LOST, GUEST, PEER, RINGS_NOT_GIVEN_BACK, virtio_user


def _netdev(box: Sandbox) -> tuple[str, object]:
    return (box.ip("-o", "link", "show", "vm1").split(":")[0],
            box.interface("vm1", "ofport")["ofport"])


def test_row_says_so_within_a_second(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    sandbox.add_port("vm1")
    sandbox.engine.kill()
    status = sandbox.wait_status("vm1", 1, state="waiting", reason="engine-down")
    assert "served-socket" not in status, status
    assert "engine" in status["detail"]
    sandbox.start_engine()
    sandbox.wait_state("vm1", "listening")


def test_sockets_are_back_within_a_second_and_the_netdev_stays(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    paths = [sandbox.add_port(f"vm{number}") for number in range(1, 11)]
    wait_for(lambda: sandbox.interface("vm1", "ofport")["ofport"] not in ([], -1), 10,
             "the port's ofport")
    before = _netdev(sandbox)
    sandbox.engine.kill()
    sandbox.wait_state("vm1", "waiting")
    assert _netdev(sandbox) == before
    sandbox.start_engine()
    begin = time.monotonic()
    wait_for(lambda: all(accepts(path) for path in paths), 1, "all sockets")
    print(f"sockets back after {time.monotonic() - begin:.3f} s")
    for number in range(1, 11):
        sandbox.wait_state(f"vm{number}", "listening")
    assert _netdev(sandbox) == before


def test_qemu_with_reconnect_gets_traffic_again(sandbox: Sandbox, qemu_kernel: Kernel) -> None:
    sandbox.expect_log(ENGINE_LOST)
    sandbox.expect_log(RINGS_NOT_GIVEN_BACK)
    peer = sandbox.peer()
    path = sandbox.add_port("vm1")
    guest = QemuGuest("vm1", path, sandbox.folder, reconnect=1)
    sandbox.adopt(guest)
    guest.configure(f"{GUEST}/24")
    guest.ping(PEER)
    sandbox.engine.kill()
    sandbox.wait_state("vm1", "waiting")
    sandbox.start_engine()
    sandbox.wait_state("vm1", "running")
    peer.ping(GUEST)
    guest.ping(PEER)


def test_client_mode_connects_again(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    sandbox.expect_log(RINGS_NOT_GIVEN_BACK)
    peer = sandbox.peer()
    path = sandbox.add_port("vm1", vdpa_socket_mode="client", wait="connecting")
    front_end = virtio_user(sandbox, "vm1", path, listen=True)
    front_end.start()
    sandbox.wait_state("vm1", "running")
    peer.ping(GUEST)
    sandbox.engine.kill()
    sandbox.wait_state("vm1", "waiting")
    sandbox.start_engine()
    sandbox.wait_state("vm1", "running")
    peer.ping(GUEST)


def test_both_killed_come_back_in_either_order(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    path = sandbox.add_port("vm1")
    for engine_first in (True, False):
        sandbox.agent.kill()
        sandbox.engine.kill()
        assert not accepts(path)
        if engine_first:
            sandbox.start_engine()
            sandbox.start_agent()
        else:
            sandbox.start_agent()
            sandbox.wait_state("vm1", "waiting")
            sandbox.start_engine()
        # The row goes on saying so until the new agent has heard the new engine.
        wait_for(lambda: accepts(path), 10, f"{path} to take a connection")
        sandbox.wait_state("vm1", "listening")


def test_row_deleted_while_the_engine_is_away(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    path = sandbox.add_port("vm1")
    sandbox.engine.kill()
    sandbox.wait_state("vm1", "waiting")
    sandbox.del_port("vm1")
    wait_for(lambda: not sandbox.shown(), 10, "vdpa/show to have no port")
    sandbox.start_engine()
    with sandbox.rpc() as client:
        assert client.call("port.list")["ports"] == []
    assert not accepts(path)
    wait_for(lambda: not path.exists(), 10, "the dead engine's socket to go away")
