# SPDX-License-Identifier: Apache-2.0
"""Ports on the VFs of a switchdev NIC, made by ovs-vsctl alone."""

import pytest

from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.wait import wait_for
from scenarios import GUEST, running_echo
from switchdev import (add_port, exists, is_local_random, no_device, own_names, prepare,
                       untouched, wait_ports)

MAC = "52:54:00:11:22:33"
BOTH_KERNELS = pytest.mark.kernels("6.1", "6.12")


@BOTH_KERNELS
def test_from_legacy_mode_without_vfs(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create()
    assert (nic.vfs, nic.eswitch_mode) == (0, "legacy")
    prepare(stack, nic, 2)
    add_port(stack, nic, "vm1", 0, mac=MAC)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    assert (nic.vfs, nic.eswitch_mode) == (2, "switchdev")
    # The last step of the preparation, which ports do not wait for.
    wait_for(lambda: "UP" in (stack.link(nic.uplink) or {"flags": []})["flags"], 15,
             lambda: f"the uplink to be up: {stack.link(nic.uplink)}")
    assert nic.vf_mac(0) == MAC


@BOTH_KERNELS
def test_deleting_a_port_gives_its_representor_back(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0, mac=MAC)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    link = stack.link("vm1")
    assert link and names[0] in link.get("altnames", [])
    with untouched(stack, "vm2"):
        stack.del_port("vm1")
        nic.wait_representor(0, names[0])
        wait_for(lambda: nic.vf_mac(0) != MAC, 10, "another MAC of vf0")
    link = stack.link(names[0])
    assert link and "UP" not in link["flags"] and "master" not in link
    assert not link.get("altnames") and is_local_random(nic.vf_mac(0))
    # What was not ours to undo.
    assert (nic.vfs, nic.eswitch_mode) == (2, "switchdev")


@BOTH_KERNELS
def test_port_named_as_its_representor_keeps_the_name(stack: Stack,
                                                      netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(1)
    name = own_names(nic)[0]
    stack.expect_log(no_device(name))
    stack.add_vdpa_port(name)
    wait_ports(stack, nic, **{name: 0})
    stack.del_port(name)
    wait_for(lambda: "master" not in (stack.link(name) or {"master": ""}), 15,
             f"{name} to be let go of")
    assert nic.representor(0) == name


def test_simulator_serves_the_port_of_a_representor(stack: Stack, netdevsim: NetdevsimBus,
                                                    vdpa_sim: VdpaDevices) -> None:
    nic = netdevsim.create()
    device = vdpa_sim.create("v0", "mac", MAC)
    prepare(stack, nic, 2)
    add_port(stack, nic, "vm1", 1, vdpa_accelerator_devargs=str(device))
    status = stack.wait_status("vm1", 30, state="listening",
                               served_socket=str(stack.socket_path("vm1")))
    wait_ports(stack, nic, vm1=1)
    assert (status["mode"], status["device"]) == ("kernel", str(device)), status
    assert "reason" not in status, status


def test_agent_makes_the_vdpa_device_itself(stack: Stack, netdevsim: NetdevsimBus,
                                            vdpa_sim: VdpaDevices) -> None:
    nic = netdevsim.create().to_switchdev(1)
    add_port(stack, nic, "vm1", 0, mac=MAC, vdpa_accelerator_devargs="vdpa:vdpasim_net")
    status = stack.wait_state("vm1", "listening", 30)
    assert status["mode"] == "kernel"
    assert vdpa_sim.names() == ["vm1"] and vdpa_sim.config("vm1")["mac"] == MAC
    stack.del_port("vm1")
    wait_for(lambda: not vdpa_sim.names(), 15, "the vDPA device to go")


@pytest.mark.bound(600)
def test_emulated_vf_beside_a_representor(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create()
    prepare(stack, nic, 1)
    add_port(stack, nic, "vm1", 0)
    front_end, peer = running_echo(stack, "vm2")
    wait_ports(stack, nic, vm1=0)
    with untouched(stack, "vm1"):
        peer.ping(GUEST, 20)
        stack.del_port("vm2")
        wait_for(lambda: not exists("vm2"), 15, "the emulated VF to go")
    front_end.kill()


@BOTH_KERNELS
def test_devices_are_listed(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 1)
    wait_ports(stack, nic, vm1=1)

    def listed() -> dict[str, dict]:
        pf = next(pf for pf in stack.devices()["pfs"] if pf["pf"] == nic.handle)
        assert (pf["eswitch"], pf["num_vfs"]) == ("switchdev", 2)
        return {function["number"]: function for function in pf["functions"]}
    wait_for(lambda: listed()[1]["representor"]["netdev"] == "vm1", 10, "the new name")
    functions = listed()
    assert functions[1]["user"] == "vm1" and functions[0]["user"] is None
    assert functions[0]["representor"]["netdev"] == names[0]
    assert functions[1]["representor"]["attached"] and functions[1]["representor"]["up"]
    text = stack.agentctl("vdpa/devices")
    assert nic.handle in text and "vm1" in text and names[0] in text
