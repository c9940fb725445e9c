# SPDX-License-Identifier: Apache-2.0
"""Ports come and go with their rows; sockets are neither stolen nor left behind."""

import json
import shutil
import socket
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from harness.namespaces import netdevs
from harness.ovs import accepts
from harness.sandbox import Sandbox
from harness.vhost_user import ask_features
from harness.wait import wait_for
from scenarios import GUEST, direct_stream, running_vm


def _nothing_left(box: Sandbox, path: Path) -> None:
    wait_for(lambda: not path.exists(), 10, f"{path} to go away")
    wait_for(lambda: "vm1" not in netdevs(), 10, "the netdev vm1 to go away")
    wait_for(lambda: not box.shown(), 10, "vdpa/show to have no port")
    with box.rpc() as client:
        wait_for(lambda: not client.call("port.list")["ports"], 10, "the engine to have no port")


def test_row_removed_under_traffic(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    stream = peer.stream(GUEST).wait_started()
    sandbox.del_port("vm1")
    _nothing_left(sandbox, sandbox.socket_path("vm1"))
    stream.kill()
    assert guest.alive()


def test_row_removed_together_with_its_bridge(sandbox: Sandbox) -> None:
    sandbox.vsctl("add-br", "br1", "--", "set", "Bridge", "br1", "datapath_type=netdev")
    path = sandbox.add_port("vm1", bridge="br1")
    sandbox.uml("vm1", path, f"{GUEST}/24")
    sandbox.wait_state("vm1", "running")
    sandbox.vsctl("--no-wait", "del-br", "br1")
    _nothing_left(sandbox, path)


def test_row_that_ceases_to_be_a_vdpa_port_keeps_none_of_our_keys(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    sandbox.vsctl("--no-wait", "set", "Interface", "vm1", "external_ids:iface-id=tenant")
    sandbox.set_option("vm1", vdpa_socket=None, vdpa_sw=None)
    wait_for(lambda: not sandbox.status("vm1"), 10, "our keys to go away")
    _nothing_left(sandbox, path)
    assert sandbox.interface("vm1", "external_ids")["external_ids"] == {"iface-id": "tenant"}
    # The row stays and names a netdev that is gone.


def test_deleted_and_added_in_one_transaction_is_no_change(sandbox: Sandbox) -> None:
    guest, _ = running_vm(sandbox)
    path = sandbox.socket_path("vm1")
    inode = path.stat().st_ino
    stream = direct_stream(sandbox, guest)
    sandbox.vsctl("--no-wait", "--if-exists", "del-port", "vm1", "--", "add-port", "br0", "vm1",
                  "--", "set", "Interface", "vm1", f'options:vdpa-socket="{path}"',
                  "options:vdpa-sw=true")
    sandbox.wait_state("vm1", "running")
    with sandbox.rpc() as client:
        assert client.call("port.list")["ports"][0]["connections"] == 1
    result = stream.stop()
    assert result.lost == [], result
    assert path.stat().st_ino == inode


def test_netdev_deleted_by_hand_is_made_again_and_the_log_says_what_it_takes(
        sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    sandbox.expect_log(r"\|port\(control\)\|WARN\|vm1: the netdev was deleted and is made again; ")
    sandbox.expect_log(r"\|relay\|WARN\|port vm1: the next guest is not served: TAP netdev vm1: "
                       r"TUNSETCARRIER: File descriptor in bad state, the netdev was deleted")
    index = socket.if_nametoindex("vm1")
    sandbox.ip("link", "delete", "vm1")
    wait_for(lambda: any(name == "vm1" and new != index for new, name in socket.if_nameindex()),
             10, "the netdev to be made again")
    log = sandbox.agent.log
    wait_for(lambda: "vm1: the netdev was deleted and is made again" in log.read_text(), 10,
             "the log to say what it takes")
    # What the log says is true: that is what helps.
    sandbox.del_port("vm1")
    _nothing_left(sandbox, sandbox.socket_path("vm1"))
    guest.kill()
    path = sandbox.add_port("vm1")
    sandbox.uml("again", path, f"{GUEST}/24")
    sandbox.wait_state("vm1", "running")
    wait_for(lambda: peer.reaches(GUEST), 30, "the guest to have its address and answer")


def test_dead_socket_is_replaced(sandbox: Sandbox) -> None:
    path = sandbox.socket_path("vm1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists() and not accepts(path)
    sandbox.add_port("vm1")
    assert accepts(path)


def test_folder_of_the_socket_may_come_late_go_and_come_back(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|WARN\|vm1: .*the folder \S+ does not exist|\|ports\|WARN\|vm1: the socket ")
    folder = sandbox.rundir / "place"
    path = sandbox.add_port("vm1", socket=folder / "vm1.sock", wait=None)

    def is_missed_and_served_again() -> None:
        status = sandbox.wait_status("vm1", state="invalid", reason="socket-dir-missing")
        assert f"{folder} does not exist: make it" in status["detail"], status
        folder.mkdir()
        sandbox.wait_status("vm1", state="listening", reason="offloads-withheld")
        assert accepts(path)

    is_missed_and_served_again()
    shutil.rmtree(folder)
    is_missed_and_served_again()
    front_end = ask_features(path)
    assert front_end
    with front_end:
        sandbox.wait_state("vm1", "connected")
        shutil.rmtree(folder)
        assert not path.exists()
    # It did not need the file.
    is_missed_and_served_again()


def test_front_ends_are_answered_and_let_go_of_at_once(sandbox: Sandbox) -> None:
    # Left to itself the vhost library sees a new or closed socket within a second of its last look.
    to_answer, to_end = [], []
    for number in range(7):
        path = sandbox.add_port(f"vm{number}")
        begin = time.monotonic()
        front_end = ask_features(path)
        to_answer.append(time.monotonic() - begin)
        assert front_end
        with front_end:
            sandbox.del_port(f"vm{number}")
            wait_for(lambda: not path.exists(), 10, f"{path} to go away")
            begin = time.monotonic()
            assert front_end.recv(1) == b""
            to_end.append(time.monotonic() - begin)
    # One that took long is the machine's doing.
    assert statistics.median(to_answer) < 0.2, to_answer
    assert statistics.median(to_end) < 0.2, to_end


def test_second_front_end_is_refused_and_the_first_keeps_running(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|vhost\|WARN\|vm1: a second front-end connected .* is refused")
    guest, _ = running_vm(sandbox)
    stream = direct_stream(sandbox, guest)
    assert ask_features(sandbox.socket_path("vm1")) is None
    result = stream.stop()
    assert result.lost == [], result
    assert sandbox.status("vm1")["state"] == "running"
    assert guest.carrier()


def _wait_until(box: Sandbox, path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["ovs-vsctl", "--timeout=20", "wait-until", "Interface", "vm1",
                             f"external_ids:vdpa-served-socket={path}"], env=box.env)


def test_waiting_for_the_served_socket_is_safe(sandbox: Sandbox) -> None:
    first, second = sandbox.socket_path("vm1"), sandbox.socket_path("vm1-other")
    for round_number in range(5):
        waiting = _wait_until(sandbox, first)
        sandbox.add_port("vm1", wait=None)
        assert waiting.wait(20) == 0
        assert accepts(first), f"round {round_number}: not there yet"
        waiting = _wait_until(sandbox, second)
        sandbox.set_option("vm1", vdpa_socket=str(second))
        assert waiting.wait(20) == 0
        assert accepts(second), f"round {round_number}: not there yet after the change"
        sandbox.del_port("vm1")
        _nothing_left(sandbox, second)


@pytest.mark.parametrize("change", ["down", "arp on"])
def test_netdev_is_set_up_again(sandbox: Sandbox, change: str) -> None:
    """ovs-vswitchd, too, may write back flags that it read before the agent set them."""
    sandbox.add_port("vm1")
    sandbox.ip("link", "set", "vm1", *change.split())
    wait_for(lambda: {"UP", "NOARP"} <= set(_flags(sandbox, "vm1")), 5,
             lambda: f"UP and NOARP, vm1 has {_flags(sandbox, 'vm1')}")


def _flags(box: Sandbox, netdev: str) -> list[str]:
    return json.loads(box.ip("-json", "link", "show", netdev))[0]["flags"]


def test_hundred_ports_in_one_transaction(sandbox: Sandbox) -> None:
    words: list[str] = ["--no-wait"]
    for number in range(100):
        path = sandbox.socket_path(f"vm{number}")
        words += ["--", "add-port", "br0", f"vm{number}", "--", "set", "Interface",
                  f"vm{number}", f'options:vdpa-socket="{path}"', "options:vdpa-sw=true"]
    sandbox.vsctl(*words)
    for number in range(100):
        sandbox.wait_state(f"vm{number}", "listening", 60)
    assert all(accepts(sandbox.socket_path(f"vm{number}")) for number in range(100))
