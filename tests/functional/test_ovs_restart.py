# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch may be restarted: no guest's link drops, and what changes later is carried out."""

from harness.namespaces import netdevs
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import DATABASE_LOST, GUEST, PEER, direct_stream, running_vm


def _changes(guest) -> str:
    return guest.run("cat /sys/class/net/eth0/carrier_changes").strip()


def test_vswitchd_restarted(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    changes = _changes(guest)
    stream = direct_stream(sandbox, guest)
    sandbox.ovs.appctl("exit")
    sandbox.ovs.vswitchd.wait()
    assert guest.carrier() and sandbox.status("vm1")["state"] == "running"
    sandbox.ovs.start_vswitchd()
    wait_for(lambda: peer.reaches(GUEST), 20, "traffic to resume")
    result = stream.stop()
    assert result.lost == [], result
    assert _changes(guest) == changes, "the guest's link went down"


def test_vswitchd_killed(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    changes = _changes(guest)
    sandbox.ovs.vswitchd.kill()
    assert guest.carrier()
    sandbox.ovs.start_vswitchd()
    wait_for(lambda: peer.reaches(GUEST), 20, "traffic to resume")
    assert _changes(guest) == changes, "the guest's link went down"
    guest.ping(PEER)


def test_port_made_while_vswitchd_is_away(sandbox: Sandbox) -> None:
    sandbox.ovs.appctl("exit")
    sandbox.ovs.vswitchd.wait()
    sandbox.add_port("vm1")
    sandbox.ovs.start_vswitchd()
    wait_for(lambda: sandbox.interface("vm1", "ofport")["ofport"] not in ([], -1), 10,
             "ovs-vswitchd to take the port")


def test_database_server_restarted(sandbox: Sandbox) -> None:
    sandbox.expect_log(DATABASE_LOST)
    guest, _ = running_vm(sandbox)
    path = sandbox.socket_path("vm1")
    stream = direct_stream(sandbox, guest)
    sandbox.ovs.stop_server()
    wait_for(lambda: sandbox.shown().get("vm1", {}).get("state") == "running", 10, "the agent to answer")
    sandbox.ovs.start_server()
    other = sandbox.add_port("vm2")
    sandbox.del_port("vm2")
    wait_for(lambda: not other.exists() and "vm2" not in netdevs(), 20, "vm2 to come and go")
    result = stream.stop()
    assert result.lost == [], result
    assert path.exists() and sandbox.status("vm1")["state"] == "running"


def test_row_deleted_while_the_agent_was_disconnected(sandbox: Sandbox) -> None:
    sandbox.expect_log(DATABASE_LOST)
    path = sandbox.add_port("vm1")
    port = sandbox.vsctl("get", "Port", "vm1", "_uuid")
    sandbox.ovs.stop_server()
    wait_for(lambda: "not connected" in sandbox.agentctl("connection-status"), 15,
             "the agent to notice")
    assert path.exists(), "a database that went away is no order to remove ports"
    sandbox.ovs.edit_offline({"op": "mutate", "table": "Bridge", "where": [["name", "==", "br0"]],
                              "mutations": [["ports", "delete", ["uuid", port]]]})
    sandbox.ovs.start_server()
    wait_for(lambda: not path.exists() and "vm1" not in netdevs(), 20, "the port to go away")
