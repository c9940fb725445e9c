# SPDX-License-Identifier: Apache-2.0
"""Options of a served port change live; ports next to it lose no packet by that."""

import grp
import pwd
from pathlib import Path
from typing import Any

import pytest

from harness.ovs import accepts
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import GUEST, PEER, direct_stream, running_echo, running_vm, virtio_user


def _served(box: Sandbox, path: Path) -> None:
    box.wait_status("vm1", served_socket=str(path), state="listening")
    assert accepts(path)


def _change(box: Sandbox, **options: str | None) -> None:
    """Changes options of vm1, and waits until the engine serves it with these. Before it is told
    them, it serves all that it was told."""
    with box.rpc() as client:
        def vm1() -> dict[str, Any]:
            ports = client.call("port.list")["ports"]
            return next((port for port in ports if port["name"] == "vm1"), {"generation": 0})

        def is_done() -> bool:
            now = vm1()
            return now["generation"] > before and now.get("served") == now.get("spec")
        before = vm1()["generation"]
        box.set_option("vm1", **options)
        wait_for(is_done, 10, lambda: f"{options} to be served: {vm1()}")


def _owner(path: Path) -> tuple[str, str, int]:
    status = path.stat()
    return (pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name,
            status.st_mode & 0o777)


def test_socket_path_changes_and_back(sandbox: Sandbox) -> None:
    first, second = sandbox.add_port("vm1"), sandbox.socket_path("other")
    sandbox.set_option("vm1", vdpa_socket=str(second))
    _served(sandbox, second)
    assert not first.exists()
    sandbox.set_option("vm1", vdpa_socket=str(first))
    _served(sandbox, first)
    assert not second.exists()


def test_owner_and_permissions_change_and_back(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    before = _owner(path)
    assert before == ("root", "root", 0o660)
    sandbox.set_option("vm1", vdpa_socket_owner="nobody:daemon", vdpa_socket_perms="0600")
    wait_for(lambda: path.exists() and _owner(path) == ("nobody", "daemon", 0o600), 10,
             "new owner and permissions")
    wait_for(lambda: accepts(path), 10, "the socket")
    sandbox.set_option("vm1", vdpa_socket_owner=None, vdpa_socket_perms=None)
    wait_for(lambda: path.exists() and _owner(path) == before, 10, "the former ones")
    wait_for(lambda: accepts(path), 10, "the socket")


def test_global_owner_is_the_default(sandbox: Sandbox) -> None:
    sandbox.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                  'other_config:vdpa-socket-owner=":daemon"',
                  "other_config:vdpa-socket-perms=0666")
    path = sandbox.add_port("vm1")
    assert _owner(path) == ("root", "daemon", 0o666)
    sandbox.set_option("vm1", vdpa_socket_perms="0600")
    wait_for(lambda: path.exists() and _owner(path)[2] == 0o600, 10, "the port's own permissions")


def test_server_to_client_and_back(sandbox: Sandbox) -> None:
    peer = sandbox.peer()
    path = sandbox.add_port("vm1")
    sandbox.set_option("vm1", vdpa_socket_mode="client")
    sandbox.wait_state("vm1", "connecting")
    wait_for(lambda: not path.exists(), 10, "the engine's socket to go away")
    front_end = virtio_user(sandbox, "vm1", path, listen=True)
    front_end.start()
    sandbox.wait_state("vm1", "running")
    peer.ping(GUEST, 2)
    front_end.quit()
    sandbox.wait_state("vm1", "connecting")
    sandbox.set_option("vm1", vdpa_socket_mode=None)
    _served(sandbox, path)


def test_queue_pairs_change_and_back(sandbox: Sandbox) -> None:
    def offered() -> int:
        with sandbox.rpc() as client:
            served = client.call("port.list")["ports"][0].get("served", {})
            return served.get("max_queues", 0)

    path = sandbox.add_port("vm1")
    for pairs in (4, 1):
        sandbox.set_option("vm1", vdpa_max_queues=pairs)
        wait_for(lambda: offered() == pairs, 10, f"{pairs} queue pairs to be offered")
        _served(sandbox, path)


def test_queue_pairs_of_a_connected_front_end_change_with_the_next_one(sandbox: Sandbox) -> None:
    front_end, peer = running_echo(sandbox)
    path = sandbox.socket_path("vm1")
    for pairs, queues in ((4, "4/4"), (1, "1/1")):
        sandbox.set_option("vm1", vdpa_max_queues=pairs)
        status = sandbox.wait_status("vm1", state="running", reason="reconnect-pending")
        assert f"queue pairs {pairs}" in status["detail"]
        peer.ping(GUEST, 1)
        front_end.quit()
        sandbox.wait_state("vm1", "listening")
        front_end = virtio_user(sandbox, "vm1", path, queues=pairs)
        front_end.start()
        status = sandbox.wait_status("vm1", state="running", queues=queues)
        assert ("one queue pair" in status["detail"]) == (pairs > 1), status
        peer.ping(GUEST, 1)


def test_packed_rings_of_a_connected_front_end_change_with_the_next_one(sandbox: Sandbox) -> None:
    front_end, peer = running_echo(sandbox, packed=True)
    path = sandbox.socket_path("vm1")

    def has_packed_ring() -> bool:
        return "ring_packed" in sandbox.shown()["vm1"]["features"]

    assert has_packed_ring()
    sandbox.set_option("vm1", vdpa_packed="false")
    status = sandbox.wait_status("vm1", state="running", reason="reconnect-pending")
    assert "packed rings off" in status["detail"]
    peer.ping(GUEST, 1)
    assert has_packed_ring()
    front_end.quit()
    sandbox.wait_status("vm1", state="listening", reason="offloads-withheld")
    front_end = virtio_user(sandbox, "vm1", path, packed=True)
    front_end.start()
    sandbox.wait_state("vm1", "running")
    peer.ping(GUEST, 1)
    assert not has_packed_ring()


@pytest.mark.parametrize("options", [
    {"vdpa_socket": "other"}, {"vdpa_socket_perms": "0600"}, {"vdpa_max_queues": "2"},
    {"vdpa_socket_mode": "client"}], ids=lambda options: next(iter(options)))
def test_change_of_one_port_costs_another_no_packet(sandbox: Sandbox,
                                                    options: dict[str, str]) -> None:
    guest, _ = running_vm(sandbox, "vm2")
    sandbox.add_port("vm1")
    stream = direct_stream(sandbox, guest, "vm2")
    if "vdpa_socket" in options:
        options = {"vdpa_socket": str(sandbox.socket_path("other"))}
    _change(sandbox, **options)
    _change(sandbox, **{key: None for key in options if key != "vdpa_socket"},
            vdpa_socket=str(sandbox.socket_path("vm1")))
    sandbox.wait_status("vm1", state="listening",
                        served_socket=str(sandbox.socket_path("vm1")))
    result = stream.stop()
    assert result.lost == [] and result.received > 0, result


def test_new_socket_path_is_taken_while_the_guest_runs(sandbox: Sandbox) -> None:
    """A guest is bound to the connection that it has; it may connect anew at the new path."""
    guest, _ = running_vm(sandbox)
    second = sandbox.socket_path("other")
    sandbox.set_option("vm1", vdpa_socket=str(second))
    sandbox.wait_status("vm1", served_socket=str(second))
    guest.kill()
    again = sandbox.uml("vm1b", second, f"{GUEST}/24")
    again.ping(PEER, 1)
