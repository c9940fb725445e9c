# SPDX-License-Identifier: Apache-2.0
"""The shortest way through everything."""

from harness.namespaces import netdevs
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import running_vm


def test_a_row_becomes_a_served_port_and_back(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    peer.ping("10.1.0.2", 1)
    path = sandbox.socket_path("vm1")
    assert sandbox.status("vm1")["served-socket"] == str(path)
    assert sandbox.status("vm1")["mode"] == "sw"

    sandbox.del_port("vm1")

    wait_for(lambda: not path.exists() and "vm1" not in netdevs(), 10, "the port to go away")
    assert guest.alive()


def test_vdpa_show_names_the_port(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1")
    text = sandbox.agentctl("vdpa/show")
    assert "vm1" in text and "listening" in text
    port = sandbox.shown()["vm1"]
    assert port["state"] == "listening" and port["bridge"] == "br0"
    assert port["served_socket"] == str(sandbox.socket_path("vm1"))


def test_stack_without_ports_comes_and_goes(sandbox: Sandbox) -> None:
    assert sandbox.shown() == {}
    assert "connected" in sandbox.agentctl("connection-status")
